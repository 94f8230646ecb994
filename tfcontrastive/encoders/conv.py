"""The convolution of our networks: padding that does not depend on the image's size, and a fast gradient in bfloat16."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfcontrastive.system.custom_gradient import custom_gradient

_SMALL_MAP = 64  # positions of the output


@keras.saving.register_keras_serializable("tfcontrastive")
class FixedPaddingConv2D(keras.layers.Conv2D):
    """A convolution that pads by its kernel alone: (k-1)//2 before and k//2 after, whatever the size of the image.

    The "same" padding of a strided convolution depends on the image's size instead, so that a network would see odd and
    even sizes shifted against each other. Without strides the two are equal.

    Args: those of `keras.layers.Conv2D`; the padding is always this one.

    Call arguments:
        inputs: `[B, H, W, C]` -> `[B, ceil(H / stride), ceil(W / stride), filters]`.

    Examples:
        >>> FixedPaddingConv2D(8, 3, strides=2)(tf.zeros([1, 7, 8, 3])).shape
        TensorShape([1, 4, 4, 8])
    """

    def __init__(self, filters: int, kernel_size, strides=1, **kwargs):
        super().__init__(filters, kernel_size, strides, **{**kwargs, "padding": "same"})

    def convolution_op(self, inputs, kernel):
        kernel = tf.convert_to_tensor(kernel)
        if _products_are_faster(inputs, kernel, self.strides[0]):
            return _convolve_with_products(inputs, kernel, self.strides[0])
        return _convolve(inputs, kernel, self.strides[0])

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        size = [None if length is None else -(-length // self.strides[0]) for length in size]
        return (batch, *size, self.filters)


def _convolve(images, kernel, stride):
    if stride == 1 or kernel.shape[0] == 1:
        return tf.nn.conv2d(images, kernel, stride, "SAME")
    # Padded by an op of its own: with padding in its attributes oneDNN does not take the convolution's gradient.
    pads = [[(size - 1) // 2, size // 2] for size in kernel.shape[:2]]
    return tf.nn.conv2d(tf.pad(images, [[0, 0], *pads, [0, 0]]), kernel, stride, "VALID")


def _products_are_faster(images, kernel, stride):
    """On CPUs in bfloat16 oneDNN is slow at the kernel's gradient of small maps, up to three times so."""
    _, height, width, _ = images.shape
    if images.dtype != tf.bfloat16 or kernel.shape[0] == 1 or height is None or width is None:
        return False
    small = -(-height // stride) * -(-width // stride) <= _SMALL_MAP
    return small and all(device.device_type == "CPU" for device in tf.config.list_logical_devices())


def _convolve_with_products(images, kernel, stride):
    """`_convolve`, but the kernel's gradient is one matrix product for each of its positions."""

    @custom_gradient
    def convolve(images, kernel):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = _convolve(images, kernel, stride)

        def gradient(upstream):
            return tape.gradient(outputs, images, upstream), _kernel_gradient(images, upstream, kernel.shape, stride)

        return outputs, gradient

    return convolve(images, kernel)


def _kernel_gradient(images, upstream, kernel_shape, stride):
    rows, columns, channels, filters = kernel_shape
    _, height, width, _ = upstream.shape
    # Phase (i, j) holds every stride-th pixel from (i, j) on, so that what a kernel's position sees is one slice.
    phase = [height + (rows - 1) // stride, width + (columns - 1) // stride]
    pads = [[0, 0]]
    for size, length, length_in_phase in zip((rows, columns), images.shape[1:3], phase, strict=True):
        before = (size - 1) // 2
        pads.append([before, length_in_phase * stride - length - before])
    phases = tf.reshape(tf.pad(images, [*pads, [0, 0]]), [-1, phase[0], stride, phase[1], stride, channels])
    phases = tf.transpose(phases, [2, 4, 0, 1, 3, 5])
    upstream = tf.reshape(upstream, [-1, filters])
    products = []
    for row in range(rows):
        for column in range(columns):
            top, left = row // stride, column // stride
            seen = phases[row % stride, column % stride, :, top : top + height, left : left + width]
            products.append(tf.matmul(tf.reshape(seen, [-1, channels]), upstream, transpose_a=True))
    return tf.reshape(tf.stack(products), kernel_shape)
