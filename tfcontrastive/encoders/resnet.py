"""Residual networks as SimCLR trains them: any width, selective kernels, squeeze and excitation."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
from keras import layers, ops

from tfcontrastive.config import InputError, unknown
from tfcontrastive.config.values import parse_grids
from tfcontrastive.encoders.batch_norm import BatchNorm
from tfcontrastive.encoders.conv import FixedPaddingConv2D
from tfcontrastive.encoders.functional import FunctionalEncoder, checked_settings, feature_dtype
from tfcontrastive.encoders.grid_pool import GridPool
from tfcontrastive.encoders.registry import register_encoder
from tfcontrastive.encoders.whitening import Whitening

# depth: (blocks have a bottleneck, blocks in each group)
DEPTHS = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
    200: (True, (3, 24, 36, 3)),
}
SMALL_IMAGE = 32


@keras.saving.register_keras_serializable("tfcontrastive")
class ResNet(FunctionalEncoder):
    """Residual network `[B, H, W, C]` -> `[B, F]`: the encoder of SimCLR, and of most contrastive methods.

    Post-activation blocks with the stride in the 3x3 convolution, a projection shortcut at the head of every group.
    F is 512 (depth 18 and 34) or 2048 times `width_multiplier`; with `feature_grids` it is the sum over the groups g of
    n_g * n_g * C_g, C_g the channels of group g.

    The layers `initial_conv`, `initial_max_pool`, `block_group1` to `block_group4` and `final_avg_pool` are the salient
    points: `keras.Model(encoder.inputs, {name: encoder.get_layer(name).output})`. `layer_order` names the layers that
    hold weights in the order in which the published networks count theirs.

    The mean of the last group tells what an image shows, and hardly where. In a short run, and of things that fill their
    small images alike, earlier groups and their places tell more: `feature_grids=(4, 2, 2, 1)` makes the features of all
    groups' means over 4x4, 2x2, 2x2 and 1x1 cells, normalised so that each counts alike.

    Args:
        depth: 18, 34, 50, 101, 152 or 200.
        width_multiplier: of the channels, > 0; 1 means 64 at the stem.
        sk_ratio: selective kernels: width of the mixing layer as a fraction of the block's; 0 is off, .0625 the usual.
            It also brings the stem and the shortcuts of ResNet-D; the blocks of depth 18 and 34 have no such kernels.
        se_ratio: squeeze and excitation at the end of each block, in [0, 1]; 0 is off.
        input_shape: (height, width, channels); height and width may be None.
        stem: "large" (7x7 stride 2, max pool stride 2), "small" (3x3, no pool), "padded" (small, on images with a pixel
            more on every side, as solo-learn's on CIFAR), "strided" (3x3 stride 2, no pool: a quarter of small's
            operations, so that short runs can take twice its width) or "auto": small up to 32 pixels.
        norm: "batch" or "group" (32 groups, fewer where the channels do not divide so or would be one in each).
        global_bn: take the statistics of batch normalisation over all replicas.
        batch_norm_decay: momentum of the moving statistics.
        pool_padding: "same", or "symmetric" as in torchvision's networks, whose weights need it.
        first_shortcut: "projection" at the head of every group, or "identity" in the first one where the shapes allow
            it, as in torchvision's networks of depth 18 and 34.
        zero_init_residual: start gamma of each block's last normalisation at zero, so that every block begins as its
            shortcut (SimCLR, BYOL, MoCo v3, Barlow Twins), or at one (MoCo v1 and v2, SupCon). A gamma moves by about the
            learning rate a step: where there are few, or small, start at one, or the branches stay almost shut.
        feature_grids: cells along each side over which the maps of the four groups are averaged, see `GridPool`, 0 for a
            group that gives none; their means, one after the other, are the features, batch-normalised without scale and
            offset. Groups after the last that gives some are left out. None: the global mean of the last, as published.
        whiten_features: end in a `Whitening`, which gives the features as they are until it is fitted: by a run at its end,
            or by `evaluate.settle_whitening`. What a method trains on top, its heads and its probe, sees what enters it.
        dtype: a Keras dtype policy, the global one if None. Features are at least float32 under each.
        name: of the model.

    Returns:
        A `keras.Model` with features `[B, F]`, all >= 0 without `feature_grids` and `whiten_features`.

    Raises:
        InputError: a value outside its range.

    Examples:
        >>> encoder = ResNet(18, width_multiplier=0.25, input_shape=(32, 32, 3))
        >>> encoder(tf.zeros([2, 32, 32, 3])).shape
        TensorShape([2, 128])

    Source: He et al., arXiv 1512.03385; SimCLR v1 and v2, arXiv 2002.05709 and 2006.10029; selective kernels, arXiv
    1903.06586; ResNet-D, arXiv 1812.01187; squeeze and excitation, arXiv 1709.01507; gammas of zero, arXiv 1706.02677;
    features of all layers: Evci et al., "Head2Toe", arXiv 2201.03529.
    """

    def __init__(
        self,
        depth: int = 50,
        width_multiplier: float = 1.0,
        sk_ratio: float = 0.0,
        se_ratio: float = 0.0,
        input_shape: tuple = (None, None, 3),
        stem: str = "auto",
        norm: str = "batch",
        global_bn: bool = True,
        batch_norm_decay: float = 0.9,
        pool_padding: str = "same",
        first_shortcut: str = "projection",
        zero_init_residual: bool = True,
        feature_grids: tuple[int, int, int, int] | None = None,
        whiten_features: bool = False,
        dtype=None,
        name: str = "resnet",
    ):
        config = checked_settings(
            depth=depth,
            width_multiplier=width_multiplier,
            sk_ratio=sk_ratio,
            se_ratio=se_ratio,
            input_shape=input_shape,
            stem=stem,
            norm=norm,
            global_bn=global_bn,
            batch_norm_decay=batch_norm_decay,
            pool_padding=pool_padding,
            first_shortcut=first_shortcut,
            zero_init_residual=zero_init_residual,
            feature_grids=None if feature_grids is None else tuple(feature_grids),
            whiten_features=whiten_features,
            dtype=dtype,
            name=name,
        )
        _check(config)
        super().__init__(config, _Builder(config).network)


class _Builder:
    """Lays the layers of one network, and notes those with weights in their order."""

    def __init__(self, config):
        self.config = config
        self.bottleneck, self.blocks = DEPTHS[config["depth"]]
        self.resnet_d = config["sk_ratio"] > 0
        self.order = []

    def width(self, filters):
        return max(1, int(filters * self.config["width_multiplier"]))

    def network(self, x):
        x, maps = self.stem(x), []
        grids = self.config["feature_grids"] or (0, 0, 0, 1)
        seen = max(group for group, cells in enumerate(grids) if cells) + 1  # later groups would change nothing
        for group, blocks in enumerate(self.blocks[:seen]):
            filters = self.width(64 * 2**group)
            for block in range(blocks):
                stride = 2 if group > 0 and block == 0 else 1
                name = f"block_group{group + 1}"
                out = name if block == blocks - 1 else f"{name}_block{block + 1}_out"
                x = self.block(x, filters, stride, block == 0 and self.projects(group), f"{name}_block{block + 1}", out)
            maps.append(x)
        features = self.features(maps)
        if self.config["whiten_features"]:
            whitening = Whitening(dtype=feature_dtype(self.config), name="feature_whitening")
            features = self.weighted(whitening)(features)
        return features, self.order

    def features(self, maps):
        dtype, grids = feature_dtype(self.config), self.config["feature_grids"]
        if grids is None:
            return layers.GlobalAveragePooling2D(dtype=dtype, name="final_avg_pool")(maps[-1])
        means = [
            GridPool(cells, dtype=dtype, name=f"block_group{group + 1}_grid")(x)
            for group, x in enumerate(maps)
            if (cells := grids[group])
        ]
        x = layers.Concatenate(dtype=dtype, name="grids")(means) if len(means) > 1 else means[0]
        norm = BatchNorm(
            momentum=self.config["batch_norm_decay"],
            synchronized=self.config["global_bn"],
            center=False,
            scale=False,
            dtype=dtype,
            name="feature_norm",
        )
        return self.weighted(norm)(x)

    def projects(self, group):
        fits = group == 0 and not self.bottleneck  # as many channels as the stem gives, at the same size
        return not (fits and self.config["first_shortcut"] == "identity")

    def stem(self, x):
        filters = self.width(64)
        height, width, _ = self.config["input_shape"]
        small = height is not None and width is not None and max(height, width) <= SMALL_IMAGE
        if self.config["stem"] == "padded":
            x = self.pad(x, 1, "initial_pad")
        if self.config["stem"] in ("small", "padded", "strided") or (self.config["stem"] == "auto" and small):
            x = self.conv(x, filters, 3, 2 if self.config["stem"] == "strided" else 1, "initial_conv")
            x = self.norm_relu(x, "initial")
            return layers.Identity(name="initial_max_pool", dtype=self.config["dtype"])(x)
        if self.resnet_d:
            half = max(1, filters // 2)
            x = self.norm_relu(self.conv(x, half, 3, 2, "initial_conv1"), "initial", 1)
            x = self.norm_relu(self.conv(x, half, 3, 1, "initial_conv2"), "initial", 2)
            x = self.conv(x, filters, 3, 1, "initial_conv")
        else:
            x = self.conv(x, filters, 7, 2, "initial_conv")
        return self.max_pool(self.norm_relu(x, "initial"))

    def max_pool(self, x):
        padding = self.config["pool_padding"]
        if padding == "symmetric":  # with zeros, which no maximum takes after a ReLU
            x, padding = self.pad(x, 1, "initial_pad"), "valid"
        return layers.MaxPooling2D(3, 2, padding, name="initial_max_pool", dtype=self.config["dtype"])(x)

    def block(self, x, filters, stride, project, name, out):
        out_filters = 4 * filters if self.bottleneck else filters
        shortcut = self.shortcut(x, out_filters, stride, name) if project else x
        if self.bottleneck:
            x = self.norm_relu(self.conv(x, filters, 1, 1, f"{name}_conv1"), name, 1)
            if self.config["sk_ratio"] > 0:
                x = self.selective_kernel(x, filters, stride, f"{name}_sk")
            else:
                x = self.norm_relu(self.conv(x, filters, 3, stride, f"{name}_conv2"), name, 2)
            x = self.conv(x, out_filters, 1, 1, f"{name}_conv3")
        else:
            x = self.norm_relu(self.conv(x, filters, 3, stride, f"{name}_conv1"), name, 1)
            x = self.conv(x, out_filters, 3, 1, f"{name}_conv2")
        gamma = "zeros" if self.config["zero_init_residual"] else "ones"
        x = self.norm(x, f"{name}_norm{3 if self.bottleneck else 2}", gamma)
        if self.config["se_ratio"] > 0:
            x = self.squeeze_excite(x, out_filters, f"{name}_se")
        x = layers.Add(name=f"{name}_add", dtype=self.config["dtype"])([x, shortcut])
        return self.relu(x, out)

    def shortcut(self, x, filters, stride, name):
        if self.resnet_d:
            if stride > 1:
                x = self.pad(x, ((0, 1), (0, 1)), f"{name}_shortcut_pad")
            padding = "same" if stride == 1 else "valid"
            pool = layers.AveragePooling2D(2, stride, padding, name=f"{name}_shortcut_pool", dtype=self.config["dtype"])
            x, stride = pool(x), 1
        return self.norm(self.conv(x, filters, 1, stride, f"{name}_shortcut_conv"), f"{name}_shortcut_norm")

    def selective_kernel(self, x, filters, stride, name):
        """Two streams of a 3x3 convolution, mixed per channel by a softmax over the two."""
        x = self.norm_relu(self.conv(x, 2 * filters, 3, stride, f"{name}_conv"), name)
        first, second = ops.split(x, 2, axis=-1)
        pooled = ops.mean(first + second, axis=(1, 2), keepdims=True)
        hidden = max(int(filters * self.config["sk_ratio"]), 32)
        pooled = self.norm_relu(self.conv(pooled, hidden, 1, 1, f"{name}_mix1"), f"{name}_mix")
        logits = ops.split(self.conv(pooled, 2 * filters, 1, 1, f"{name}_mix2"), 2, axis=-1)
        return second + ops.sigmoid(logits[0] - logits[1]) * (first - second)

    def squeeze_excite(self, x, filters, name):
        """Channels scaled by a gate that sees the whole image."""
        pooled = ops.mean(x, axis=(1, 2), keepdims=True)
        hidden = max(1, int(filters * self.config["se_ratio"]))
        hidden = self.relu(self.conv(pooled, hidden, 1, 1, f"{name}_reduce", use_bias=True), f"{name}_relu")
        return x * ops.sigmoid(self.conv(hidden, filters, 1, 1, f"{name}_expand", use_bias=True))

    def conv(self, x, filters, kernel_size, stride, name, use_bias=False):
        layer = FixedPaddingConv2D(
            filters,
            kernel_size,
            stride,
            use_bias=use_bias,
            kernel_initializer=keras.initializers.VarianceScaling(),
            name=name,
            dtype=self.config["dtype"],
        )
        return self.weighted(layer)(x)

    def norm(self, x, name, gamma="ones"):
        kwargs = {"gamma_initializer": gamma, "name": name, "dtype": self.config["dtype"]}
        if self.config["norm"] == "group":
            # Of a single position only the channels can be normalised over, so they are one group.
            channels = x.shape[-1]
            groups = 1 if x.shape[1] == 1 else min(math.gcd(32, channels), max(1, channels // 2))
            layer = layers.GroupNormalization(groups, epsilon=1e-5, **kwargs)
        else:
            layer = BatchNorm(self.config["batch_norm_decay"], synchronized=self.config["global_bn"], **kwargs)
        return self.weighted(layer)(x)

    def relu(self, x, name):
        return layers.Activation("relu", name=name, dtype=self.config["dtype"])(x)

    def norm_relu(self, x, name, index=""):
        return self.relu(self.norm(x, f"{name}_norm{index}"), f"{name}_relu{index}")

    def pad(self, x, size, name):
        return layers.ZeroPadding2D(size, name=name, dtype=self.config["dtype"])(x)

    def weighted(self, layer):
        self.order.append(layer.name)
        return layer


def _check(config):
    choices = {
        "depth": DEPTHS,
        "stem": ("auto", "small", "padded", "strided", "large"),
        "norm": ("batch", "group"),
        "pool_padding": ("same", "symmetric"),
        "first_shortcut": ("projection", "identity"),
        "zero_init_residual": (True, False),
        "whiten_features": (True, False),
    }
    for key, known in choices.items():
        if config[key] not in known:
            raise InputError(f"`{key}` {unknown(config[key], known)}")
    grids = config["feature_grids"]
    if grids is not None:
        _check_grids(grids, config["norm"])
    if not config["width_multiplier"] > 0:
        raise InputError(f"`width_multiplier` must be > 0. Received: width_multiplier={config['width_multiplier']}.")
    for key in ("sk_ratio", "se_ratio", "batch_norm_decay"):
        if not 0 <= config[key] <= 1:
            raise InputError(f"`{key}` must be in [0, 1]. Received: {key}={config[key]}.")


def _check_grids(grids, norm):
    parse_grids(",".join(map(str, grids)))
    if norm != "batch":
        raise InputError(
            "`feature_grids` needs norm=batch: the features are normalised over the batch, where group normalisation looks "
            f"at one image. Received: norm={norm}."
        )


_SETTINGS = (
    "width_multiplier", "sk_ratio", "se_ratio", "stem", "pool_padding", "first_shortcut", "zero_init_residual", "norm",
    "global_bn", "batch_norm_decay",
)  # fmt: skip
for _depth in DEPTHS:
    register_encoder(f"resnet{_depth}", takes=_SETTINGS)(functools.partial(ResNet, _depth))


@register_encoder("resnet", takes=("resnet_depth", "feature_grids", "whiten_features", *_SETTINGS))
def _of_config(resnet_depth: int = 50, feature_grids: str | None = None, **options: Any) -> ResNet:
    grids = None if feature_grids is None else parse_grids(feature_grids)
    return ResNet(resnet_depth, feature_grids=grids, **options)
