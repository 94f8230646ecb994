"""State dicts of torchvision's ResNet, bare or inside the models of MoCo, lightly and solo-learn.

layer2.0.downsample.1.running_mean    after a prefix: module.encoder_q., backbone., ...
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import keras

from tfcontrastive.config import EncoderConfig
from tfcontrastive.encoders import MLP
from tfcontrastive.pretrained.mapping import Link, Recognised, links
from tfcontrastive.pretrained.resnet import natural, place, recognise
from tfcontrastive.pretrained.variables import Variables, to_tensorflow_shape
from tfcontrastive.runs.builders import build_network

WEIGHTS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias", "moving_mean": "running_mean",
           "moving_variance": "running_var"}  # fmt: skip
"""What torch calls Keras' weights."""

COUNTER = {r"(^|\.)num_batches_tracked$": "a counter that batch norm does not need here",
            r"^/": "state of the training, beside the network's"}  # fmt: skip
_REST = {"": "not of the encoder or its heads"}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where one family keeps the parts of its models.

    Attributes:
        family: who publishes such files.
        encoder: prefix of the ResNet.
        projection: prefixes that a projection head may have.
        supervised: prefixes that a classifier may have.
        unused: `{pattern: reason}` for what else such files hold.
        marks: prefixes of which one must occur, where another family has the same prefix of the encoder.
        small_stem: what the family's stem for small images is.
    """

    family: str
    encoder: str
    projection: tuple[str, ...] = ()
    supervised: tuple[str, ...] = ()
    unused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    marks: tuple[str, ...] = ("",)
    small_stem: str = "small"


_SOLO_LEARN = tuple(
    Layout(
        "solo-learn",
        prefix,
        projection=("projector.",),
        supervised=("classifier.",),
        unused=_REST,
        marks=("projector.", "classifier."),
        small_stem="padded",
    )
    for prefix in ("backbone.", "encoder.")
)
LAYOUTS = (
    Layout(
        "facebookresearch/moco",
        "module.encoder_q.",
        projection=("module.encoder_q.fc.",),
        unused={r"^module\.encoder_k\.": "the momentum encoder", r"^module\.queue": "the queue of keys"},
    ),
    Layout(
        "facebookresearch/moco-v3",
        "module.base_encoder.",
        projection=("module.base_encoder.fc.",),
        unused={r"^module\.momentum_encoder\.": "the momentum encoder", r"^module\.predictor\.": "the predictor"},
    ),
    *_SOLO_LEARN,
    Layout(
        "lightly",
        "backbone.",
        projection=("projection_head.layers.",),
        supervised=("classification_head.",),
        unused=_REST,
    ),
    Layout("torchvision, as DistributedDataParallel saves it", "module.", supervised=("module.fc.",)),
    Layout("torchvision", "", supervised=("fc.",)),
)

# lightly keeps the layers in a Sequential: torchvision's seven first children, or those of its own small ResNet.
_NUMBERED = (
    {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"},
    {"conv1": "0", "bn1": "1", "layer1": "2", "layer2": "3", "layer3": "4", "layer4": "5"},
)
_SHORTCUTS = ("downsample", "shortcut")


def recognise_torchvision(
    variables: Variables, image_size: int | None = None, ft_proj_selector: int | None = None
) -> Recognised | None:
    """The networks of such a file, None where it is another's."""
    if not variables.is_torch:
        return None
    for layout in LAYOUTS:
        names = _names_under(variables, layout.encoder)
        if names is not None and any(variables.starting_with(mark) for mark in layout.marks):
            break
    else:
        return None
    held = variables.starting_with(layout.encoder)
    kernels = {name: to_tensorflow_shape(shape) for name, shape in held.items()
               if len(shape) == 4 and not name.startswith(("fc.", "head."))}  # fmt: skip
    first = names("conv1")
    stem = [kernels.pop(f"{first}.weight")]
    architecture = recognise(stem, kernels.values())
    if architecture["stem"] == "small":
        architecture["stem"] = layout.small_stem
    small_basic = architecture["resnet_depth"] < 50 and f"{names('layer1.0.downsample.0')}.weight" not in held
    config = EncoderConfig(
        **architecture,
        pool_padding="symmetric",
        first_shortcut="identity" if small_basic else "projection",
        preprocessing="imagenet",
    )
    encoder = build_network(config, image_size=image_size, channels=3)
    layers = [(encoder.get_layer(name), f"{layout.encoder}{names(torchvision_name(name))}.")
              for name in encoder.layer_order]  # fmt: skip
    found = links("encoder", layers, WEIGHTS)
    unused = {**COUNTER, **layout.unused}
    heads: dict[str, keras.layers.Layer | None] = {"projection_head": None, "supervised_head": None}
    for owner, prefixes in {"projection_head": layout.projection, "supervised_head": layout.supervised}.items():
        for prefix in prefixes:
            head = mlp_of(variables, prefix, owner)
            if head is not None:
                heads[owner], more = head
                found += more
                break
    return Recognised(layout.family, config, encoder, **heads, links=found, unused=unused)


def torchvision_name(layer: str) -> str:
    """The name of a layer of `ResNet` in torchvision's: block_group2_block1_norm3 -> layer2.0.bn3."""
    group, block, part = place(layer)
    part = part.replace("norm", "bn")
    if group is None:
        return f"{part}1"
    part = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}.get(part, part)
    return f"layer{group}.{block - 1}.{part}"


def mlp_of(variables: Variables, prefix: str, name: str) -> tuple[MLP, list[Link]] | None:
    """A head that is a Linear, or a Sequential of Linear, batch norm and ReLU, in the file; None where it is not.

    Args:
        variables: of the file.
        prefix: of the head's variables.
        name: of the layer that is made.
    """
    held = variables.starting_with(prefix)
    places = sorted({key.rpartition(".")[0] for key in held}, key=natural)
    layers: list[tuple[str, str | None]] = []  # (prefix of Linear, prefix of the batch norm after it)
    for where in places:
        dot = f"{where}." if where else ""
        if len(held.get(f"{dot}weight", ())) == 2:
            layers.append((dot, None))
        elif f"{dot}running_mean" in held and layers and layers[-1][1] is None:
            layers[-1] = (layers[-1][0], dot)
        else:
            return None
    if not layers:
        return None
    shapes = [to_tensorflow_shape(held[f"{linear}weight"]) for linear, _ in layers]
    hidden = {norm is not None and f"{norm}weight" in held for _, norm in layers[:-1]}
    last = layers[-1][1]
    last_norm = "none" if last is None else "full" if f"{last}weight" in held else "plain"
    plain_biases = {f"{linear}bias" in held for linear, norm in layers if norm is None}
    if len(hidden) > 1 or len(plain_biases) > 1:
        return None
    head = MLP(
        [units for _, units in shapes],
        use_bias=plain_biases != {False},
        hidden_norm=hidden != {False},
        last_norm=last_norm,
        name=name,
    )
    head.build((None, shapes[0][0]))
    head.built = True
    parts = iter(part for part in head.parts if part.weights)
    found = []
    for linear, norm in layers:
        found += links(name, [(next(parts), f"{prefix}{linear}")], WEIGHTS)
        if norm is not None:
            bias = f"{prefix}{linear}bias" if f"{linear}bias" in held else None
            for link in links(name, [(next(parts), f"{prefix}{norm}")], WEIGHTS):
                is_mean = link.source.endswith("running_mean")
                found.append(dataclasses.replace(link, minus=bias if is_mean else None))
    return head, found


def _names_under(variables: Variables, prefix: str):
    """What torchvision's names are in this file under a prefix: a function of the name; None where there are none."""
    held = variables.starting_with(prefix)
    for renamed in ({}, *_NUMBERED):
        for shortcut in _SHORTCUTS:

            def name(torchvision: str, renamed=renamed, shortcut=shortcut) -> str:
                first, dot, rest = torchvision.partition(".")
                return renamed.get(first, first) + dot + re.sub("downsample", shortcut, rest)

            known = (f"{name('conv1')}.weight", f"{name('layer1.0.conv1')}.weight",
                     f"{name('layer2.0.downsample.0')}.weight")  # fmt: skip
            if all(len(held.get(key, ())) == 4 for key in known):
                return name
    return None
