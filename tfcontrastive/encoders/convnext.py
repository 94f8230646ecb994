"""ConvNeXt: convolutional networks laid out as transformers are, as DINOv3 distils them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfcontrastive.config import InputError
from tfcontrastive.encoders.feed_forward import LayerScale
from tfcontrastive.encoders.functional import FunctionalEncoder, checked_settings, feature_dtype
from tfcontrastive.encoders.registry import register_encoder

# name: (blocks in each stage, channels of the first stage, which double from stage to stage)
SIZES = {
    "convnext_tiny": ((3, 3, 9, 3), 96),
    "convnext_small": ((3, 3, 27, 3), 96),
    "convnext_base": ((3, 3, 27, 3), 128),
    "convnext_large": ((3, 3, 27, 3), 192),
}


@keras.saving.register_keras_serializable("tfcontrastive")
class ConvNeXt(FunctionalEncoder):
    """ConvNeXt `[B, H, W, C]` -> `[B, F]`: the normalised mean of the last map.

    Patches of 4 pixels, then stages of blocks, each stage on maps of half the size and twice the channels:

        x = x + scale(fc2(gelu(fc1(norm(depthwise(x))))))    with kernels of 7 and fc1 four times as wide as x

    The layers, in order: `initial_conv`, `initial_norm`; from the second stage on `stage{i}_norm` and `stage{i}_conv`, which
    halve; for block j of stage i, under `block_group{i}_block{j}_`: `depthwise_conv`, `norm`, `fc1`, `gelu`, `fc2`, `scale`
    and `add`; `final_avg_pool`, `final_norm` and `features`. `layer_order` names those that hold weights.

    Args:
        width: channels of the first stage, >= 1; F is eight times as many with four stages.
        depths: the number of blocks of each stage, each >= 1.
        layer_scale: first values of the learned scale of each branch, > 0.
        input_shape: (height, width, channels); height and width may be None. Both are at least 32 with four stages; what
            exceeds a multiple of 4 is not seen.
        dtype: a Keras dtype policy, the global one if None. Features are at least float32 under each.
        name: of the model.

    Returns:
        A `keras.Model` with features `[B, F]`.

    Raises:
        InputError: a value outside its range.

    Examples:
        >>> encoder = ConvNeXt(width=8, depths=(1, 1), input_shape=(32, 32, 3))
        >>> encoder(tf.zeros([2, 32, 32, 3])).shape
        TensorShape([2, 16])

    Source: Liu et al., arXiv 2201.03545; Simeoni et al. (DINOv3), arXiv 2508.10104. Without the dropping of branches that
    its training had.
    """

    def __init__(
        self,
        width: int = 96,
        depths: Sequence[int] = (3, 3, 9, 3),
        layer_scale: float = 1e-6,
        input_shape: tuple = (None, None, 3),
        dtype=None,
        name: str = "convnext",
    ):
        config = checked_settings(
            width=width,
            depths=tuple(depths),
            layer_scale=layer_scale,
            input_shape=input_shape,
            dtype=dtype,
            name=name,
        )
        _check(config)
        super().__init__(config, functools.partial(_network, config))


def _network(config, x):
    dtype, final = config["dtype"], feature_dtype(config)
    order: list[str] = []
    start = {"kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.02)}

    def weighted(layer_class, *args, name, **kwargs):
        order.append(name)
        return layer_class(*args, **{"name": name, "dtype": dtype, **kwargs})

    def norm(name, **kwargs):
        return weighted(layers.LayerNormalization, epsilon=1e-6, name=name, **kwargs)

    for stage, depth in enumerate(config["depths"], 1):
        width = config["width"] * 2 ** (stage - 1)
        if stage == 1:
            x = weighted(layers.Conv2D, width, 4, 4, name="initial_conv", **start)(x)
            x = norm("initial_norm")(x)
        else:
            x = norm(f"stage{stage}_norm")(x)
            x = weighted(layers.Conv2D, width, 2, 2, name=f"stage{stage}_conv", **start)(x)
        for index in range(depth):
            name = f"block_group{stage}_block{index + 1}"
            first = {"depthwise_initializer": keras.initializers.TruncatedNormal(stddev=0.02), "padding": "same"}
            y = weighted(layers.DepthwiseConv2D, 7, name=f"{name}_depthwise_conv", **first)(x)
            y = weighted(layers.Dense, 4 * width, name=f"{name}_fc1", **start)(norm(f"{name}_norm")(y))
            y = layers.Activation("gelu", name=f"{name}_gelu", dtype=dtype)(y)
            y = weighted(layers.Dense, width, name=f"{name}_fc2", **start)(y)
            y = weighted(LayerScale, config["layer_scale"], name=f"{name}_scale")(y)
            x = layers.Add(name=f"{name}_add", dtype=dtype)([x, y])
    x = layers.GlobalAveragePooling2D(name="final_avg_pool", dtype=final)(x)
    x = norm("final_norm", dtype=final)(x)
    return layers.Activation("linear", name="features", dtype=final)(x), order


def _check(config):
    if not config["width"] >= 1:
        raise InputError(f"`width` must be >= 1. Received: width={config['width']}.")
    if not config["depths"] or not all(depth >= 1 for depth in config["depths"]):
        raise InputError(f"`depths` must be >= 1 for each stage. Received: depths={config['depths']}.")
    if not config["layer_scale"] > 0:
        raise InputError(f"`layer_scale` must be > 0. Received: layer_scale={config['layer_scale']}.")
    shape = config["input_shape"]
    least = 4 * 2 ** (len(config["depths"]) - 1)
    if any(side is not None and side < least for side in shape[:2]):
        raise InputError(f"`input_shape` must be at least {least} x {least} pixels. Received: {shape}.")


def _of_size(size: str, width_multiplier: float = 1.0, **options: Any) -> ConvNeXt:
    """A network of a published size, or wider or narrower than one."""
    depths, width = SIZES[size]
    return ConvNeXt(**{"name": size, "width": max(1, round(width * width_multiplier)), "depths": depths, **options})


for _size in SIZES:
    register_encoder(_size, takes=("width_multiplier",))(functools.partial(_of_size, _size))
