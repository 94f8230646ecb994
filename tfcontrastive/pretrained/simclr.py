"""What the files of google-research/simclr have in common, whichever TensorFlow wrote them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfcontrastive.config import EncoderConfig
from tfcontrastive.encoders import MLP, ProjectionHead, ResNet
from tfcontrastive.pretrained.mapping import Recognised, links
from tfcontrastive.pretrained.resnet import Shape
from tfcontrastive.pretrained.variables import Variables
from tfcontrastive.runs.builders import build_network

SUPERVISED_NOTE = (
    "the supervised head is on the encoder's features (ft_proj_selector=0): no optimizer slots tell otherwise. The "
    "fine-tuned and distilled models of SimCLRv2 have theirs on the first layer of the projection head: "
    "ft_proj_selector=1"
)


def networks(
    family: str,
    variables: Variables,
    architecture: dict[str, Any],
    *,
    encoder_names: Callable[[ResNet], Sequence[tuple[keras.layers.Layer, str]]],
    head: Sequence[tuple[str, str]],
    linear_head: bool,
    supervised: str | None,
    unused: dict[str, str],
    image_size: int | None,
    ft_proj_selector: int | None,
) -> Recognised:
    """The encoder, the projection head and the supervised head, linked to their variables in the file.

    Args:
        family: who publishes such files.
        variables: of the file.
        architecture: of the ResNet.
        encoder_names: the encoder -> its layers, and the prefixes of their weights in the file.
        head: (prefix of Dense, prefix of batch norm) of each layer of the projection head.
        linear_head: whether the only layer there is all of the head (`proj_head_mode=linear`).
        supervised: prefix of the supervised head's Dense.
        unused: `{pattern: reason}` for the rest.
        image_size: that the encoder is built for.
        ft_proj_selector: the layer of the projection head that the supervised one is on; None: told from the file.
    """
    config = EncoderConfig(**architecture, preprocessing="simclr")
    encoder = build_network(config, image_size=image_size, channels=3)
    width = encoder.output_shape[-1]
    found = links("encoder", encoder_names(encoder))
    projection_head = supervised_head = None
    notes: tuple[str, ...] = ()
    if head:
        kernels = [variables.shapes[f"{dense}kernel"] for dense, _ in head]
        projection_head = ProjectionHead(
            "linear" if linear_head else "nonlinear",
            num_layers=len(kernels),
            out_dim=kernels[-1][1],
            hidden_dim=kernels[0][1] if len(kernels) > 1 else None,
            name="projection_head",
        )
        projection_head.build((None, width))
        projection_head.built = True
        pairs = zip(projection_head.denses, projection_head.norms, head, strict=True)
        for dense, norm, (dense_prefix, norm_prefix) in pairs:
            found += links("projection_head", [(dense, dense_prefix), (norm, norm_prefix)])
    if supervised is not None:
        if ft_proj_selector is None:
            ft_proj_selector, notes = _selector(variables, head, supervised)
        classes = variables.shapes[f"{supervised}kernel"][1]
        below = head[:ft_proj_selector]
        widths = [variables.shapes[f"{dense}kernel"][1] for dense, _ in below]
        supervised_head = MLP((*widths, classes), name="supervised_head")
        supervised_head.build((None, width))
        supervised_head.built = True
        prefixes = [prefix for layer in below for prefix in layer] + [supervised]
        weighted = [part for part in supervised_head.parts if part.weights]
        found += links("supervised_head", zip(weighted, prefixes, strict=True))
    return Recognised(family, config, encoder, projection_head, supervised_head, found, unused, notes)


def stem_and_rest(kernels: Sequence[Shape]) -> tuple[list[Shape], list[Shape]]:
    """Splits kernels in order of the network: ResNet-D's stem has three, 3x3 each, the last twice as wide."""
    kernels = list(kernels)
    deep = len(kernels) > 3 and [k[0] for k in kernels[:3]] == [3, 3, 3] and kernels[2][3] == 2 * kernels[1][3]
    return kernels[: 3 if deep else 1], kernels[3 if deep else 1 :]


def _selector(variables: Variables, head: Sequence[tuple[str, str]], supervised: str) -> tuple[int, tuple[str, ...]]:
    """How many layers of the projection head the supervised one is on, told from what was trained along with it.

    The optimizer keeps slots for what it moves. Pre-training moves the whole projection head; fine-tuning from its k-th
    layer moves k layers.
    """

    def moved(prefix: str) -> bool:
        return any(name.startswith(f"{prefix}kernel/") for name in variables.shapes)

    if not head:
        return 0, ()
    if not moved(supervised):
        return 0, (SUPERVISED_NOTE,)
    layers = [moved(dense) for dense, _ in head]
    return (0 if all(layers) else layers.index(False)), ()
