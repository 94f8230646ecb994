"""google-research/simclr where layers are counted in order of creation: TensorFlow 1, and SavedModels of TensorFlow 2.

base_model/conv2d_7/kernel                                                   checkpoints and hub modules
resnet/block_group1/bottleneck_block/conv2d_fixed_padding_7/conv2d_7/kernel  SavedModels
"""

from __future__ import annotations

import re

from tfcontrastive.encoders import ResNet
from tfcontrastive.pretrained.mapping import Recognised
from tfcontrastive.pretrained.resnet import is_norm, natural, recognise
from tfcontrastive.pretrained.simclr import networks, stem_and_rest
from tfcontrastive.pretrained.variables import Variables

# What the encoder, the projection head and the supervised head are called.
_LAYOUTS = {
    "google-research/simclr, TensorFlow 1": ("base_model/", "head_contrastive/", "head_supervised/"),
    "google-research/simclr, SavedModel of TensorFlow 2": ("resnet/", "projection_head/", "head_supervised/"),
}
_UNUSED = {
    r"(^|/)(Momentum|LARSOptimizer|Adam|Adam_1|Nesterov)(_\d+)?$": "optimizer slots",
    r"(^|/)ema_model/|/ExponentialMovingAverage$": "a moving average of the weights",
    r"^(global_step|beta[12]_power)$": "the optimizer's counters",
}
_COUNTED = re.compile(r"(.*?/|)(conv2d|dense|(?:sync_)?batch_normalization)(?:_(\d+))?/(?:kernel|gamma)$")


def recognise_counted(
    variables: Variables, image_size: int | None = None, ft_proj_selector: int | None = None
) -> Recognised | None:
    """The networks of such a file, None where it is another's."""
    family = next((name for name, (base, *_) in _LAYOUTS.items() if "conv2d" in _layers(variables, base)), None)
    if family is None:
        return None
    base, contrastive, supervised = _LAYOUTS[family]
    layers = _layers(variables, base)
    kernels = [variables.shapes[f"{prefix}kernel"] for prefix in layers["conv2d"].values()
               if f"{prefix}bias" not in variables.shapes]  # fmt: skip
    biases = [variables.shapes[name][0] for prefix in layers["conv2d"].values()
              if (name := f"{prefix}bias") in variables.shapes]  # fmt: skip
    head = _head(variables, contrastive)
    top = list(_layers(variables, supervised).get("dense", {}).values())

    def names(encoder: ResNet):
        counts = {"conv2d": 0, "batch_normalization": 0}
        for name in encoder.layer_order:
            layer_type = "batch_normalization" if is_norm(name) else "conv2d"
            place = counts[layer_type]
            counts[layer_type] += 1
            missing = f"{base}.../{layer_type}_{place}/"  # a name to report: the file has no such layer
            yield encoder.get_layer(name), layers.get(layer_type, {}).get(place, missing)

    return networks(
        family,
        variables,
        recognise(*stem_and_rest(kernels), biases),
        encoder_names=lambda encoder: list(names(encoder)),
        head=head,
        linear_head=any(re.match(r"l_0/", name) for name in variables.starting_with(contrastive)),
        supervised=top[0] if top else None,
        unused=_UNUSED,
        image_size=image_size,
        ft_proj_selector=ft_proj_selector,
    )


def _layers(variables: Variables, prefix: str) -> dict[str, dict[int, str]]:
    """`{kind: {place in the order of creation: prefix of the layer's weights}}` under a prefix."""
    found: dict[str, dict[int, str]] = {}
    for name in sorted(variables.starting_with(prefix), key=natural):
        match = _COUNTED.fullmatch(name)
        if match:
            _, layer_type, count = match.groups()
            layer = f"{prefix}{name.rpartition('/')[0]}/"
            found.setdefault(layer_type.removeprefix("sync_"), {})[int(count or 0)] = layer
    return {name: {count - min(layers): layers[count] for count in sorted(layers)} for name, layers in found.items()}


def _head(variables: Variables, prefix: str) -> list[tuple[str, str]]:
    """(prefix of Dense, prefix of batch norm) of each layer `nl_0`, `nl_1`, ... of the projection head, or of `l_0`."""
    scopes = sorted({name.partition("/")[0] for name in variables.starting_with(prefix)}, key=natural)
    parts = [_layers(variables, f"{prefix}{scope}/") for scope in scopes]
    return [(next(iter(part["dense"].values())), next(iter(part["batch_normalization"].values()))) for part in parts
            if {"dense", "batch_normalization"} <= set(part)]  # fmt: skip
