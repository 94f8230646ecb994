"""Batch normalisation that is one fused op on one replica and exact over the global batch on several."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfcontrastive import distribute

_FUSED_DTYPES = (tf.float32, tf.bfloat16, tf.float16)
_DTYPES = (*_FUSED_DTYPES, tf.float64)


@keras.saving.register_keras_serializable("tfcontrastive")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation, fused and synchronized.

        y = gamma * (x - mean) / sqrt(variance + epsilon) + beta

    With `training` the mean and the (biased) variance are those of the batch, over every axis but the last, and the
    moving statistics follow them: `moving = momentum * moving + (1 - momentum) * batch`. The batch is the global one of
    all replicas if `synchronized`, else each replica's own, and then the moving statistics are averaged over replicas.
    Otherwise, and always when the layer is frozen (`trainable = False`), the moving statistics are used.

    One set of weights and the same numbers whichever way they are computed; all statistics are float32 in mixed
    precision, and float64 of float64 inputs, which no op fuses. It is Keras' layer of the same meaning, which saves and
    loads as such, only faster.

    Args:
        momentum: of the moving statistics, in [0, 1].
        epsilon: added to the variance, > 0.
        synchronized: take the statistics over all replicas (which must hold equally many rows).
        **kwargs: of `keras.layers.BatchNormalization`.

    Call arguments:
        inputs: `[B, ..., C]`.
        training: whether to normalise with the statistics of this batch.

    Examples:
        >>> layer = BatchNorm()
        >>> y = layer(tf.random.normal([8, 4, 4, 3]), training=True)

    Source: Ioffe and Szegedy, arXiv 1502.03167; the defaults are those of SimCLR, arXiv 2002.05709.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, synchronized: bool = True, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, synchronized=synchronized, **kwargs)

    def add_weight(self, *args, **kwargs):
        # Statistics of each replica's own must be averaged to stay one set of weights; synchronized ones agree already.
        if not kwargs.get("trainable", True) and not self.synchronized:
            kwargs["aggregation"] = "mean"
        return super().add_weight(*args, **kwargs)

    def call(self, inputs, training=None, mask=None):
        last_axis = self.axis in (-1, len(inputs.shape) - 1)
        if not last_axis or mask is not None or self.renorm or inputs.dtype not in _DTYPES:
            return super().call(inputs, training=training, mask=mask)
        fused = inputs.dtype in _FUSED_DTYPES
        if not (training and self.trainable):
            return self._with_moving_statistics(inputs)
        if self.synchronized and distribute.replica_count() > 1:
            outputs, mean, variance = self._of_moments(inputs, distribute.all_gather)
        elif not fused:
            outputs, mean, variance = self._of_moments(inputs, lambda own: own)
        else:
            outputs, mean, variance = self._fused(inputs, training=True)
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance)
        return outputs

    def _follow(self, moving, value):
        value = tf.cast(tf.stop_gradient(value), moving.dtype)
        moving.assign(moving + (1.0 - self.momentum) * (value - moving))

    def _scale_and_offset(self, channels, dtype=tf.float32):
        gamma = tf.ones([channels], dtype) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        beta = tf.zeros([channels], dtype) if self.beta is None else tf.convert_to_tensor(self.beta)
        return tf.cast(gamma, dtype), tf.cast(beta, dtype)

    def _with_moving_statistics(self, inputs):
        if inputs.dtype in (tf.bfloat16, tf.float16):  # the fused op computes in float32 and rounds once
            return self._fused(inputs, self.moving_mean, self.moving_variance, training=False)[0]
        # As one factor and one offset a channel, not as the fused op: TensorFlow merges that one into the convolution
        # before it, which oneDNN at batch size 1 and without AVX-512 computes by its reference code, 15 times slower.
        gamma, beta = self._scale_and_offset(inputs.shape[-1], inputs.dtype)
        mean, variance = (tf.cast(moving, inputs.dtype) for moving in (self.moving_mean, self.moving_variance))
        factor = gamma * tf.math.rsqrt(variance + self.epsilon)
        return tf.nn.bias_add(inputs * factor, beta - mean * factor)

    def _fused(self, inputs, mean=(), variance=(), training=False):
        shape = tf.shape(inputs)
        channels = inputs.shape[-1]
        images = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, [-1, 1, 1, channels])
        gamma, beta = self._scale_and_offset(channels)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=self.epsilon, is_training=training
        )
        if training:
            # The op returns the unbiased variance; ours is the biased one, as in Keras and over replicas.
            rows = tf.cast(tf.size(images) // channels, tf.float32)
            variance *= tf.maximum(rows - 1.0, 1.0) / rows
        return tf.reshape(outputs, shape) if images is not inputs else outputs, mean, variance

    def _of_moments(self, inputs, gather):
        """As `_fused`, over the parts of the batch whose moments `gather` brings together."""
        x = inputs if inputs.dtype == tf.float64 else tf.cast(inputs, tf.float32)
        mean, variance = tf.nn.moments(x, axes=list(range(len(x.shape) - 1)))
        moments = gather(tf.stack([mean, variance])[None])
        means, variances = moments[:, 0], moments[:, 1]
        mean = tf.ensure_shape(tf.reduce_mean(means, axis=0), mean.shape)
        variance = tf.reduce_mean(variances + tf.square(means - mean), axis=0)
        return tf.cast(self._normalized(x, mean, variance), inputs.dtype), mean, variance

    def _normalized(self, x, mean, variance):
        gamma, beta = self._scale_and_offset(x.shape[-1], x.dtype)
        return tf.nn.batch_normalization(
            x, tf.cast(mean, x.dtype), tf.cast(variance, x.dtype), beta, gamma, self.epsilon
        )
