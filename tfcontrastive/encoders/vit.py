"""The vision transformer as MoCo v3 trains it."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
from keras import layers

from tfcontrastive.config import InputError
from tfcontrastive.encoders.attention import SelfAttention
from tfcontrastive.encoders.registry import register_encoder
from tfcontrastive.encoders.tokens import Tokens

# name: (width, blocks, heads)
SIZES = {
    "vit_small": (384, 12, 12),
    "vit_base": (768, 12, 12),
    "vit_large": (1024, 24, 16),
    "vit_huge": (1280, 32, 16),
}


@keras.saving.register_keras_serializable("tfcontrastive")
class ViT(keras.Model):
    """Vision transformer `[B, H, W, C]` -> `[B, D]`: the class token after the last normalisation.

    Each of the blocks, on 1 + (H / patch_size) (W / patch_size) tokens:

        x = x + attention(norm1(x)),    x = x + fc2(gelu(fc1(norm2(x)))),    fc1 four times as wide as x

    The patch embedding is random and stays so, which is what keeps MoCo v3's training stable; places are fixed sines and
    cosines, so that one network takes images of any size that the patch divides.

    The layers, in order: `patch_embed`, `tokens`, then for block i from 1: `block{i}_norm1`, `block{i}_attention` (its
    parts `qkv` and `proj`), `block{i}_norm2`, `block{i}_fc1`, `block{i}_fc2` and its output `block{i}`; `norm`, and
    `features`. `layer_order` names those that hold weights.

    Args:
        width: D, a multiple of 4 and of `num_heads`; 384 for ViT-S, 768 for ViT-B.
        depth: the number of blocks, >= 1.
        num_heads: of the attention; 12 in MoCo v3, ViT-S included.
        patch_size: height and width of a patch in pixels, >= 1; it divides the image's.
        stop_grad_conv1: keep the patch embedding as it is initialised.
        input_shape: (height, width, channels); height and width may be None.
        dtype: a Keras dtype policy, the global one if None. Features are at least float32 under each.
        name: of the model.

    Returns:
        A `keras.Model` with features `[B, D]`.

    Raises:
        InputError: a value outside its range, or an image that the patch does not divide.

    Examples:
        >>> encoder = ViT(width=384, patch_size=16, input_shape=(224, 224, 3))
        >>> encoder(tf.zeros([2, 224, 224, 3])).shape
        TensorShape([2, 384])

    Source: Dosovitskiy et al., arXiv 2010.11929; Chen, Xie and He (MoCo v3), arXiv 2104.02057. Without dropout.
    """

    def __init__(
        self,
        width: int = 384,
        depth: int = 12,
        num_heads: int = 12,
        patch_size: int = 16,
        stop_grad_conv1: bool = True,
        input_shape: tuple = (None, None, 3),
        dtype=None,
        name: str = "vit",
    ):
        config = {
            "width": width,
            "depth": depth,
            "num_heads": num_heads,
            "patch_size": patch_size,
            "stop_grad_conv1": stop_grad_conv1,
            "input_shape": tuple(input_shape),
            "dtype": keras.dtype_policies.get(dtype or keras.config.dtype_policy()).name,
            "name": name,
        }
        _check(config)
        order: list[str] = []
        double = "float64" if config["dtype"] == "float64" else None  # else Keras rounds the images
        images = keras.Input(config["input_shape"], name="images", dtype=double)
        super().__init__(inputs=images, outputs=_network(images, config, order), name=name)
        self._config = config
        self.layer_order = tuple(order)

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def _network(images, config, order):
    width, dtype = config["width"], config["dtype"]

    def weighted(kind, *args, name, **kwargs):
        order.append(name)
        return kind(*args, **{"name": name, "dtype": dtype, **kwargs})

    def norm(name):
        return weighted(layers.LayerNormalization, epsilon=1e-6, name=name)

    patch = config["patch_size"]
    # Xavier-uniform of a patch as one vector, as the published networks are.
    limit = math.sqrt(6 / (config["input_shape"][-1] * patch**2 + width))
    embed = weighted(
        layers.Conv2D,
        width,
        patch,
        strides=patch,
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        trainable=not config["stop_grad_conv1"],
        name="patch_embed",
    )
    x = weighted(Tokens, name="tokens")(embed(images))
    for index in range(config["depth"]):
        block = f"block{index + 1}"
        y = norm(f"{block}_norm1")(x)
        y = weighted(SelfAttention, config["num_heads"], name=f"{block}_attention")(y)
        x = layers.Add(name=f"{block}_mid", dtype=dtype)([x, y])
        y = norm(f"{block}_norm2")(x)
        y = weighted(layers.Dense, 4 * width, name=f"{block}_fc1")(y)
        y = layers.Activation("gelu", name=f"{block}_gelu", dtype=dtype)(y)  # the exact one
        y = weighted(layers.Dense, width, name=f"{block}_fc2")(y)
        x = layers.Add(name=block, dtype=dtype)([x, y])
    features = norm("norm")(x[:, 0])  # token by token, so only the one that is needed
    final = "float64" if dtype == "float64" else "float32"
    return layers.Activation("linear", name="features", dtype=final)(features)


def _check(config):
    for key in ("width", "depth", "num_heads", "patch_size"):
        if not config[key] >= 1:
            raise InputError(f"`{key}` must be >= 1. Received: {key}={config[key]}.")
    width, heads, patch, shape = (config[key] for key in ("width", "num_heads", "patch_size", "input_shape"))
    if width % 4 or width % heads:
        raise InputError(f"`width` must be a multiple of 4 and of num_heads, {heads}. Received: width={width}.")
    if len(shape) != 3 or shape[2] is None:
        raise InputError(f"`input_shape` must be (height, width, channels), channels given. Received: {shape}.")
    if any(size is not None and size % patch for size in shape[:2]):
        raise InputError(f"`patch_size` must divide the image, {shape[0]} x {shape[1]}. Received: patch_size={patch}.")


def _of_size(size: str, width_multiplier: float = 1.0, vit_depth: int | None = None, **options: Any) -> ViT:
    """A ViT of a published size; a multiplier takes more or fewer heads, each as wide as it was."""
    width, depth, heads = SIZES[size]
    chosen = max(1, round(heads * width_multiplier))
    shape = {"width": chosen * width // heads, "depth": vit_depth or depth, "num_heads": chosen}
    return ViT(**{"name": size, **shape, **options})


for _size in SIZES:
    register_encoder(_size, takes=("width_multiplier", "vit_depth", "patch_size", "stop_grad_conv1"))(
        functools.partial(_of_size, _size)
    )
