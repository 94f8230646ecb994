"""EfficientNet-Lite: inverted residual blocks without gates, which quantise and serve well."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import keras
from keras import layers

from tfcontrastive.config import InputError
from tfcontrastive.encoders.batch_norm import BatchNorm
from tfcontrastive.encoders.functional import FunctionalEncoder, checked_settings, feature_dtype
from tfcontrastive.encoders.registry import register_encoder

# name: (width, depth), both of the network's body
SIZES = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
    "efficientnet_lite3": (1.2, 1.4),
    "efficientnet_lite4": (1.4, 1.8),
}

# (blocks, kernel, stride of the first, expansion, filters) of each group
_GROUPS = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
           (1, 3, 1, 6, 320))  # fmt: skip
_STEM, _HEAD = 32, 1280  # filters, whatever the size


class Block(NamedTuple):
    """One block: its name, its depthwise kernel and stride, how much it widens its input, and its filters."""

    name: str
    kernel: int
    stride: int
    expansion: int
    filters: int


def blocks_of(width: float, depth: float) -> list[Block]:
    """The blocks of `EfficientNetLite(width, depth)`, in order; the first and the last group keep their depth."""
    found = []
    for group, (count, kernel, stride, expansion, filters) in enumerate(_GROUPS, 1):
        repeats = count if group in (1, len(_GROUPS)) else math.ceil(depth * count)
        for block in range(1, repeats + 1):
            name = f"block_group{group}_block{block}"
            found.append(Block(name, kernel, stride if block == 1 else 1, expansion, _rounded(filters * width)))
    return found


def _rounded(filters: float) -> int:
    """The multiple of 8 next to a number of filters, never a tenth less than it."""
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * filters else nearest


@keras.saving.register_keras_serializable("tfcontrastive")
class EfficientNetLite(FunctionalEncoder):
    """EfficientNet-Lite `[B, H, W, C]` -> `[B, 1280]`: convolutions and ReLU6 alone, as small devices have them.

    Each of the blocks widens its input, convolves every channel on its own and narrows the result, which is not activated:

        y = norm(project(relu6(norm(depthwise(relu6(norm(expand(x))))))),    x + y where the two are of one shape

    The first block does not expand. There are no gates (squeeze and excitation) and no swish: that is what "Lite" means.
    Strides pad as TensorFlow's "same" does, by the image's size, as published weights need it.

    The layers, in order: `initial_conv`, `initial_norm`, `initial_relu`; for block j of group i from 1, under
    `block_group{i}_block{j}_`: `expand_conv`, `expand_norm`, `expand_relu`, `depthwise_conv`, `depthwise_norm`,
    `depthwise_relu`, `project_conv`, `project_norm` and `add`; `final_conv`, `final_norm`, `final_relu` and
    `final_avg_pool`. `layer_order` names those that hold weights.

    Args:
        width: of the body's channels, > 0; they are rounded to multiples of 8. 1 means 16 to 320.
        depth: of each group between the first and the last, > 0; blocks are rounded up.
        input_shape: (height, width, channels); height and width may be None.
        global_bn: take the statistics of batch normalisation over all replicas.
        batch_norm_decay: momentum of the moving statistics; the published networks had 0.99.
        dtype: a Keras dtype policy, the global one if None. Features are at least float32 under each.
        name: of the model.

    Returns:
        A `keras.Model` with features `[B, 1280]`, all in [0, 6].

    Raises:
        InputError: a value outside its range.

    Examples:
        >>> encoder = EfficientNetLite(width=0.25, input_shape=(32, 32, 3))
        >>> encoder(tf.zeros([2, 32, 32, 3])).shape
        TensorShape([2, 1280])

    Source: Tan and Le, arXiv 1905.11946; Lite: tensorflow/tpu, models/official/efficientnet/lite. Without the dropping of
    blocks and of features that its supervised training had.
    """

    def __init__(
        self,
        width: float = 1.0,
        depth: float = 1.0,
        input_shape: tuple = (None, None, 3),
        global_bn: bool = True,
        batch_norm_decay: float = 0.9,
        dtype=None,
        name: str = "efficientnet_lite",
    ):
        config = checked_settings(
            width=width,
            depth=depth,
            input_shape=input_shape,
            global_bn=global_bn,
            batch_norm_decay=batch_norm_decay,
            dtype=dtype,
            name=name,
        )
        _check(config)
        super().__init__(config, _Builder(config).network)


class _Builder:
    """Lays the layers of one network, and notes those with weights in their order."""

    def __init__(self, config):
        self.config = config
        self.order = []

    def network(self, x):
        x = self.convolved(x, "initial", layers.Conv2D, _STEM, 3, 2)
        for block in blocks_of(self.config["width"], self.config["depth"]):
            x = self.block(x, block)
        x = self.convolved(x, "final", layers.Conv2D, _HEAD, 1, 1)
        x = layers.GlobalAveragePooling2D(dtype=feature_dtype(self.config), name="final_avg_pool")(x)
        return x, self.order

    def block(self, x, block):
        inputs, channels = x, x.shape[-1]
        if block.expansion > 1:
            x = self.convolved(x, f"{block.name}_expand", layers.Conv2D, block.expansion * channels, 1, 1)
        x = self.convolved(x, f"{block.name}_depthwise", layers.DepthwiseConv2D, block.kernel, block.stride)
        x = self.convolved(x, f"{block.name}_project", layers.Conv2D, block.filters, 1, 1, activate=False)
        if block.stride > 1 or block.filters != channels:
            return x
        return layers.Add(name=f"{block.name}_add", dtype=self.config["dtype"])([x, inputs])

    def convolved(self, x, name, layer_class, *sizes, activate=True):
        dtype = self.config["dtype"]
        kernel = "depthwise" if layer_class is layers.DepthwiseConv2D else "kernel"
        start = {f"{kernel}_initializer": keras.initializers.VarianceScaling(2.0, "fan_out")}
        x = self.weighted(
            layer_class(*sizes, padding="same", use_bias=False, name=f"{name}_conv", dtype=dtype, **start)
        )(x)
        decay, synchronized = self.config["batch_norm_decay"], self.config["global_bn"]
        norm = BatchNorm(decay, epsilon=1e-3, synchronized=synchronized, name=f"{name}_norm", dtype=dtype)
        x = self.weighted(norm)(x)
        return layers.ReLU(6.0, name=f"{name}_relu", dtype=dtype)(x) if activate else x

    def weighted(self, layer):
        self.order.append(layer.name)
        return layer


def _check(config):
    for key in ("width", "depth"):
        if not config[key] > 0:
            raise InputError(f"`{key}` must be > 0. Received: {key}={config[key]}.")
    if not 0 <= config["batch_norm_decay"] <= 1:
        raise InputError(f"`batch_norm_decay` must be in [0, 1]. Received: {config['batch_norm_decay']}.")


def _of_size(size: str, width_multiplier: float = 1.0, **options: Any) -> EfficientNetLite:
    """A network of a published size, its body wider or narrower."""
    width, depth = SIZES[size]
    return EfficientNetLite(**{"name": size, "width": width * width_multiplier, "depth": depth, **options})


for _size in SIZES:
    register_encoder(_size, takes=("width_multiplier", "global_bn", "batch_norm_decay"))(
        functools.partial(_of_size, _size)
    )
