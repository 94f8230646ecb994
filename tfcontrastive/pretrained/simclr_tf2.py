"""google-research/simclr, training checkpoints of TensorFlow 2, where variables are named by their place in the model.

model/resnet_model/block_groups/1/layers/0/conv_relu_dropblock_layers/3/conv2d/kernel
"""

from __future__ import annotations

import keras

from tfcontrastive.encoders import ProjectionHead, ResNet
from tfcontrastive.pretrained.mapping import Recognised
from tfcontrastive.pretrained.resnet import is_norm, natural, place, recognise
from tfcontrastive.pretrained.simclr import networks, stem_and_rest
from tfcontrastive.pretrained.variables import Variables

FAMILY = "google-research/simclr, training checkpoint of TensorFlow 2"
BASE = "model/resnet_model/"
HEAD = "model/_projection_head/linear_layers/"
SUPERVISED = "model/supervised_head/linear_layer/dense/"
_UNUSED = {
    r"/\.OPTIMIZER_SLOT/": "optimizer slots",
    r"^(save_counter|global_step|optimizer/.*)$": "the optimizer's counters and settings",
}

# Places in the original's lists of layers, which count what has no weights too.
_STEM = {"conv": 0, "norm": 2}
_STEM_D = {"conv1": 0, "norm1": 1, "conv2": 2, "norm2": 3, "conv": 4, "norm": 6}
_BASIC = {
    "conv1": "conv2d_bn_layers/0", "norm1": "conv2d_bn_layers/1", "conv2": "conv2d_bn_layers/2",
    "norm2": "conv2d_bn_layers/3", "se_reduce": "se_layer/se_reduce", "se_expand": "se_layer/se_expand",
}  # fmt: skip
_BOTTLENECK = {"conv1": 0, "norm1": 1, "conv2": 3, "norm2": 4, "conv3": 6, "norm3": 7}
_SELECTIVE = {"conv1": 0, "norm1": 1, "conv3": 5, "norm3": 6}
_KERNELS = {
    "sk_conv": "3/conv2d_fixed_padding/conv2d", "sk_norm": "3/batch_norm_relu/bn", "sk_mix1": "3/conv2d_0",
    "sk_mix_norm": "3/batch_norm_relu_1/bn", "sk_mix2": "3/conv2d_1",
}  # fmt: skip


def recognise_checkpoint(
    variables: Variables, image_size: int | None = None, ft_proj_selector: int | None = None
) -> Recognised | None:
    """The networks of such a checkpoint, None where it is another's."""
    weights = {name: shape for name, shape in variables.starting_with(BASE).items() if "/.OPTIMIZER_SLOT/" not in name}
    biased = {name.removesuffix("bias") for name in weights if name.endswith("/bias")}
    kernels = (name for name in weights if name.endswith("/kernel") and name.removesuffix("kernel") not in biased)
    names = sorted(kernels, key=natural)
    names.sort(key=lambda name: not name.startswith("initial_"))
    if not names:
        return None
    biases = [shape[0] for name, shape in weights.items() if name.endswith("/bias")]
    layers = len({name.partition("/")[0] for name in variables.starting_with(HEAD)})
    return networks(
        FAMILY,
        variables,
        recognise(*stem_and_rest([weights[name] for name in names]), biases),
        encoder_names=encoder_names,
        head=head_names(layers),
        linear_head=False,
        supervised=SUPERVISED if f"{SUPERVISED}kernel" in variables.shapes else None,
        unused=_UNUSED,
        image_size=image_size,
        ft_proj_selector=ft_proj_selector,
    )


def encoder_names(encoder: ResNet) -> list[tuple[keras.layers.Layer, str]]:
    """Each layer with weights, and what its weights' names start with in the original."""
    config = encoder.get_config()
    return [(encoder.get_layer(name), f"{BASE}{_key(name, encoder, config)}/") for name in encoder.layer_order]


def head_names(layers: int) -> list[tuple[str, str]]:
    """(prefix of Dense, prefix of batch norm) of each layer of the projection head."""
    return [(f"{HEAD}{index}/dense/", f"{HEAD}{index}/bn_relu/bn/") for index in range(layers)]


def projection_names(head: ProjectionHead) -> list[tuple[keras.layers.Layer, str]]:
    """As `encoder_names`, of the projection head."""
    prefixes = head_names(head.num_layers)
    return [pair for dense, norm, (one, other) in zip(head.denses, head.norms, prefixes, strict=True)
            for pair in ((dense, one), (norm, other))]  # fmt: skip


def _key(layer: str, encoder: ResNet, config: dict) -> str:
    group, block, part = place(layer)
    inner = "bn" if is_norm(layer) else "conv2d"
    resnet_d = config["sk_ratio"] > 0
    if group is None:
        deep = "initial_conv1" in encoder.layer_order
        return f"initial_conv_relu_max_pool/{(_STEM_D if deep else _STEM)[part]}/{inner}"
    home = f"block_groups/{group - 1}/layers/{block - 1}"
    bottleneck = f"block_group{group}_block1_conv3" in encoder.layer_order
    if part.startswith("shortcut"):
        before = (2 if group > 1 else 1) if resnet_d else 0  # padding and pooling
        name = "projection_layers" if bottleneck else "shortcut_layers"
        return f"{home}/{name}/{before + (part == 'shortcut_norm')}/{inner}"
    if not bottleneck:
        return f"{home}/{_BASIC[part]}" + ("" if part.startswith("se_") else f"/{inner}")
    home = f"{home}/conv_relu_dropblock_layers"
    if part in _KERNELS:
        return f"{home}/{_KERNELS[part]}"
    if part.startswith("se_"):
        return f"{home}/{8 if resnet_d else 9}/{part}"
    return f"{home}/{(_SELECTIVE if resnet_d else _BOTTLENECK)[part]}/{inner}"
