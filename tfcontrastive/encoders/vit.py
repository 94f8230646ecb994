"""The vision transformer as MoCo v3 trains it."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import keras
from keras import layers

from tfcontrastive.config import InputError, unknown
from tfcontrastive.encoders.attention import BIASES, AttentionPool, SelfAttention
from tfcontrastive.encoders.feed_forward import ACTIVATIONS, LayerScale, SwiGLU
from tfcontrastive.encoders.functional import FunctionalEncoder, checked_settings, feature_dtype
from tfcontrastive.encoders.positions import INTERPOLATIONS, RotaryAngles
from tfcontrastive.encoders.registry import register_encoder
from tfcontrastive.encoders.tokens import Tokens

# name: (width, blocks, heads)
SIZES = {
    "vit_small": (384, 12, 12),
    "vit_base": (768, 12, 12),
    "vit_large": (1024, 24, 16),
    "vit_huge": (1280, 32, 16),
}

POSITIONS = ("sin_cos", "learned", "rotary")
POOLS = ("token", "mean", "attention")

OPTIONS: dict[str, Any] = {
    "positions": "sin_cos",
    "position_grid": None,
    "interpolation": "bicubic",
    "class_token": True,
    "registers": 0,
    "patch_bias": True,
    "pre_norm": False,
    "qkv_bias": "all",
    "layer_scale": None,
    "activation": "gelu",
    "mlp_width": None,
    "epsilon": 1e-6,
    "pool": "token",
    "projection": None,
}
"""What families of published networks differ in, as MoCo v3 has it; only what is otherwise is part of a config."""


@keras.saving.register_keras_serializable("tfcontrastive")
class ViT(FunctionalEncoder):
    """Vision transformer `[B, H, W, C]` -> `[B, D]`: the class token after the last normalisation.

    Each of the blocks, on 1 + (H / patch_size) (W / patch_size) tokens:

        x = x + attention(norm1(x)),    x = x + fc2(gelu(fc1(norm2(x)))),    fc1 four times as wide as x

    As MoCo v3 has it, the patch embedding is random and stays so, which keeps its training stable, and places are fixed
    sines and cosines. The options make of it the encoders of DINO, DINOv2, DINOv3, MAE, CLIP and SigLIP. One network takes
    images of any size that the patch divides, with each kind of positions.

    The layers, in order: `patch_embed`, `tokens`, `pre_norm`, then for block i from 1: `block{i}_norm1`,
    `block{i}_attention` (its parts `qkv` and `proj`), `block{i}_scale1`, `block{i}_norm2`, `block{i}_fc1`, `block{i}_fc2`,
    `block{i}_scale2` and its output `block{i}`; `norm`, `pool`, `pool_norm`, `pool_fc1`, `pool_fc2`, `projection`, and
    `features`; those of options that are off are left out. `layer_order` names those that hold weights.

    Args:
        width: D, a multiple of 4 and of `num_heads`; 384 for ViT-S, 768 for ViT-B.
        depth: the number of blocks, >= 1.
        num_heads: of the attention; 12 in MoCo v3, ViT-S included.
        patch_size: height and width of a patch in pixels, >= 1; it divides the image's.
        stop_grad_conv1: keep the patch embedding as it is initialised.
        input_shape: (height, width, channels); height and width may be None.
        dtype: a Keras dtype policy, the global one if None. Features are at least float32 under each.
        name: of the model.
        positions: of the patches: "sin_cos", fixed; "learned", a table; or "rotary", turned queries and keys.
        position_grid: (height, width) in patches of the learned table; None with the other kinds.
        interpolation: of the learned table for images of another size, see `positions.INTERPOLATIONS`.
        class_token: whether there is one; without it, `pool` is "mean" or "attention".
        registers: learned tokens between it and the patches, >= 0.
        patch_bias: whether the patch embedding has a bias.
        pre_norm: whether the tokens are normalised before the first block, as in CLIP.
        qkv_bias: which of queries, keys and values have a bias, see `SelfAttention`.
        layer_scale: first values of learned scales of each branch, > 0; None: no scales.
        activation: "gelu", "gelu_tanh", "quick_gelu", or "swiglu", a gate: fc1 is twice as wide then.
        mlp_width: of the hidden layer; None: 4 D.
        epsilon: of the normalisations, > 0.
        pool: what becomes the feature, after the last normalisation: "token", the class token; "mean" of the patches; or
            "attention", as SigLIP has it.
        projection: width of a last linear map, as CLIP has it; None: none.

    Returns:
        A `keras.Model` with features `[B, D]`, or `[B, projection]`.

    Raises:
        InputError: a value outside its range, or an image that the patch does not divide.

    Examples:
        >>> encoder = ViT(width=384, patch_size=16, input_shape=(224, 224, 3))
        >>> encoder(tf.zeros([2, 224, 224, 3])).shape
        TensorShape([2, 384])

    Source: Dosovitskiy et al., arXiv 2010.11929; Chen, Xie and He (MoCo v3), arXiv 2104.02057; the options: DINOv2, arXiv
    2304.07193; DINOv3, arXiv 2508.10104; CLIP, arXiv 2103.00020; SigLIP, arXiv 2303.15343. Without dropout.
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
        **options: Any,
    ):
        for option in options:
            if option not in OPTIONS:
                raise InputError(f"an option of `ViT` {unknown(option, OPTIONS)}")
        if options.get("position_grid") is not None:
            options["position_grid"] = tuple(options["position_grid"])
        config = checked_settings(
            width=width,
            depth=depth,
            num_heads=num_heads,
            patch_size=patch_size,
            stop_grad_conv1=stop_grad_conv1,
            input_shape=input_shape,
            dtype=dtype,
            name=name,
        )
        told = {**config, **{key: value for key, value in options.items() if value != OPTIONS[key]}}
        config = {**OPTIONS, **config, **options}
        _check(config)
        super().__init__(told, functools.partial(_network, config))


def _network(config, images):
    width, dtype = config["width"], config["dtype"]
    order: list[str] = []
    hidden = config["mlp_width"] or 4 * width
    gated = config["activation"] == "swiglu"

    def weighted(layer_class, *args, name, **kwargs):
        order.append(name)
        return layer_class(*args, **{"name": name, "dtype": dtype, **kwargs})

    def norm(name):
        return weighted(layers.LayerNormalization, epsilon=config["epsilon"], name=name)

    def mlp(x, name):
        y = weighted(layers.Dense, 2 * hidden if gated else hidden, name=f"{name}_fc1")(x)
        if gated:
            y = SwiGLU(name=f"{name}_swiglu", dtype=dtype)(y)
        else:
            y = layers.Activation(ACTIVATIONS[config["activation"]], name=f"{name}_gelu", dtype=dtype)(y)
        return weighted(layers.Dense, width, name=f"{name}_fc2")(y)

    def scaled(y, name):
        return y if config["layer_scale"] is None else weighted(LayerScale, config["layer_scale"], name=name)(y)

    patch = config["patch_size"]
    # Xavier-uniform of a patch as one vector, as the published networks are.
    limit = math.sqrt(6 / (config["input_shape"][-1] * patch**2 + width))
    embedded = weighted(
        layers.Conv2D,
        width,
        patch,
        strides=patch,
        use_bias=config["patch_bias"],
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        trainable=not config["stop_grad_conv1"],
        name="patch_embed",
    )(images)
    rotary = config["positions"] == "rotary"
    angles = (RotaryAngles(width // config["num_heads"], name="angles", dtype=dtype)(embedded),) if rotary else ()
    tokens = {
        "class_token": config["class_token"],
        "registers": config["registers"],
        "positions": "none" if rotary else config["positions"],
        "grid": config["position_grid"],
        "interpolation": config["interpolation"],
    }
    x = weighted(Tokens, name="tokens", **tokens)(embedded)
    if config["pre_norm"]:
        x = norm("pre_norm")(x)
    for index in range(config["depth"]):
        block = f"block{index + 1}"
        y = norm(f"{block}_norm1")(x)
        y = weighted(SelfAttention, config["num_heads"], bias=config["qkv_bias"], name=f"{block}_attention")(y, *angles)
        x = layers.Add(name=f"{block}_mid", dtype=dtype)([x, scaled(y, f"{block}_scale1")])
        y = mlp(norm(f"{block}_norm2")(x), block)
        x = layers.Add(name=block, dtype=dtype)([x, scaled(y, f"{block}_scale2")])
    if config["pool"] == "token":
        x = norm("norm")(x[:, 0])  # token by token, so only the one that is needed
    elif config["pool"] == "mean":
        first = int(config["class_token"]) + config["registers"]
        x = layers.GlobalAveragePooling1D(name="pool", dtype=dtype)(norm("norm")(x[:, first:]))
    else:
        x = weighted(AttentionPool, config["num_heads"], name="pool")(norm("norm")(x))
        x = layers.Add(name="pool_out", dtype=dtype)([x, mlp(norm("pool_norm")(x), "pool")])
    if config["projection"] is not None:
        x = weighted(layers.Dense, config["projection"], use_bias=False, name="projection")(x)
    return layers.Activation("linear", name="features", dtype=feature_dtype(config))(x), order


def _check(config):
    for key in ("width", "depth", "num_heads", "patch_size"):
        if not config[key] >= 1:
            raise InputError(f"`{key}` must be >= 1. Received: {key}={config[key]}.")
    width, heads, patch, shape = (config[key] for key in ("width", "num_heads", "patch_size", "input_shape"))
    if width % 4 or width % heads:
        raise InputError(f"`width` must be a multiple of 4 and of num_heads, {heads}. Received: width={width}.")
    if any(size is not None and size % patch for size in shape[:2]):
        raise InputError(f"`patch_size` must divide the image, {shape[0]} x {shape[1]}. Received: patch_size={patch}.")
    _check_options(config)


def _check_options(config):
    known = {"positions": POSITIONS, "interpolation": INTERPOLATIONS, "qkv_bias": BIASES, "pool": POOLS,
             "activation": (*ACTIVATIONS, "swiglu")}  # fmt: skip
    for key, names in known.items():
        if config[key] not in names:
            raise InputError(f"`{key}` {unknown(config[key], names)}")
    if (config["position_grid"] is None) == (config["positions"] == "learned"):
        raise InputError(
            f"`position_grid` must be given with positions=learned, and only then. Received: {config['position_grid']}."
        )
    if config["pool"] == "token" and not config["class_token"]:
        raise InputError("`pool` must be mean or attention without a class token. Received: pool='token'.")
    if config["positions"] == "rotary" and config["width"] // config["num_heads"] % 4:
        raise InputError(
            f"`width` must be a multiple of 4 num_heads with positions=rotary. Received: width={config['width']}."
        )
    if config["registers"] < 0:
        raise InputError(f"`registers` must be >= 0. Received: registers={config['registers']}.")
    for key in ("layer_scale", "mlp_width", "epsilon", "projection"):
        if config[key] is not None and not config[key] > 0:
            raise InputError(f"`{key}` must be > 0. Received: {key}={config[key]}.")


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


@register_encoder("vit", takes=("vit_options",))
def _of_options(vit_options: str | None = None, **options: Any) -> ViT:
    """A ViT of any settings, which are JSON: those of published weights come so."""
    try:
        told = json.loads(vit_options) if vit_options else {}
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise InputError(f"`vit_options` must be JSON, {{setting: value}}. Received: {vit_options!r}.")
    return ViT(**{**told, **options})
