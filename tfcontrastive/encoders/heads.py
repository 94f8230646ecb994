"""The projection head between the encoder's features and the contrastive objective."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from tfcontrastive.config import InputError, unknown
from tfcontrastive.encoders.batch_norm import BatchNorm

MODES = ("none", "linear", "nonlinear")


@keras.saving.register_keras_serializable("tfcontrastive")
class ProjectionHead(layers.Layer):
    """Projection head `[B, F]` -> `[B, out_dim]`, as in SimCLR.

    Layers of [Dense without bias, batch normalisation], ReLU between them. The hidden layers are as wide as the input
    (or `hidden_dim`); the last one has `out_dim` units, no ReLU, and its normalisation has no beta.

    Args:
        mode: "nonlinear" (`num_layers` layers), "linear" (one layer) or "none" (the features themselves).
        num_layers: of the nonlinear head, >= 1: 2 in SimCLR, 3 in SimCLRv2.
        out_dim: width of the output, >= 1.
        hidden_dim: width of the hidden layers, that of the input if None.
        global_bn: take the statistics of batch normalisation over all replicas.
        batch_norm_decay: momentum of the moving statistics.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: features `[B, F]`.

    Raises:
        InputError: an unknown mode, or a number below 1.

    Examples:
        >>> head = ProjectionHead(num_layers=2)
        >>> [hidden.shape[-1] for hidden in head.hiddens(tf.zeros([4, 512]))]
        [512, 512, 128]

    Source: SimCLR v1 and v2, arXiv 2002.05709 and 2006.10029.
    """

    built: bool

    def __init__(
        self,
        mode: str = "nonlinear",
        num_layers: int = 3,
        out_dim: int = 128,
        hidden_dim: int | None = None,
        global_bn: bool = True,
        batch_norm_decay: float = 0.9,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if mode not in MODES:
            raise InputError(f"`mode` {unknown(mode, MODES)}")
        for key, value in {"num_layers": num_layers, "out_dim": out_dim, "hidden_dim": hidden_dim or 1}.items():
            if value < 1:
                raise InputError(f"`{key}` must be >= 1. Received: {key}={value}.")
        self.mode = mode
        self.num_layers = num_layers
        self.out_dim = out_dim
        self.hidden_dim = hidden_dim
        self.global_bn = global_bn
        self.batch_norm_decay = batch_norm_decay
        self.denses: list[layers.Layer] = []
        self.norms: list[layers.Layer] = []

    def build(self, input_shape):
        width = self.hidden_dim or input_shape[-1]
        hidden = {"none": 0, "linear": 0, "nonlinear": self.num_layers - 1}[self.mode]
        widths = [] if self.mode == "none" else [width] * hidden + [self.out_dim]
        for index, units in enumerate(widths):
            dense = layers.Dense(
                units,
                use_bias=False,
                kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
                name=f"dense_{index}",
                dtype=self.dtype_policy,
            )
            norm = BatchNorm(
                self.batch_norm_decay,
                synchronized=self.global_bn,
                center=index < hidden,
                name=f"norm_{index}",
                dtype=self.dtype_policy,
            )
            dense.build((None, input_shape[-1] if index == 0 else widths[index - 1]))
            norm.build((None, units))
            self.denses.append(dense)
            self.norms.append(norm)

    def hiddens(self, inputs: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        """The features and every layer's output: `[B, F]` -> list of `[B, width]`, N + 1 long for N layers.

        Fine-tuning starts from one of them: `ft_proj_selector` 0 is the features, 1 the first layer (SimCLRv2), ...
        """
        if not self.built:
            self.build(inputs.shape)
            self.built = True
        outputs = [inputs]
        for dense, norm in zip(self.denses, self.norms, strict=True):
            x = norm(dense(outputs[-1]), training=training)
            outputs.append(x if dense is self.denses[-1] else tf.nn.relu(x))
        return outputs

    def call(self, inputs, training=False):
        return self.hiddens(inputs, training)[-1]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] if self.mode == "none" else self.out_dim)

    def get_config(self):
        own = ("mode", "num_layers", "out_dim", "hidden_dim", "global_bn", "batch_norm_decay")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
