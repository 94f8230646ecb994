"""BMP files by TensorFlow's ops: its own decoder takes the numbers of a palette for shades of gray."""

from __future__ import annotations

import tensorflow as tf

PALETTES = (1, 4, 8)  # bits a pixel
_BITS_AND_ZERO_MASKS = 66  # bytes of a header up to its masks


def is_readable(header: tf.Tensor) -> tf.Tensor:
    """Whether it is a BMP that `rgba` reads: uncompressed, of 1, 4, 8, 24 or 32 bits.

    Args:
        header: its first 70 bytes, int32.
    """
    bits, compression, size = header[28] + 256 * header[29], header[30], header[14] + 256 * header[15]
    plain = (compression == 0) & tf.reduce_any(bits == [*PALETTES, 24, 32])
    # Blue, green, red in this order, as uncompressed ones have them, but with masks that say so.
    masks = tf.reduce_all(header[54:_BITS_AND_ZERO_MASKS] == [0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0])
    return (size >= 40) & (plain | ((compression == 3) & (bits == 32) & masks))


def rgba(data: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    """A BMP that `is_readable` as uint8 `[H, W, 4]`.

    The fourth byte of 32 bits is opacity, but where it is 0 everywhere it was never written: the image is opaque.

    Args:
        data: the file's bytes.
        header: its first bytes, int32.
    """
    bits = header[28]

    def of_palette():
        return opaque(_by_palette(data, bits))

    def of_24():
        return opaque(tf.image.decode_bmp(data, 3))

    def of_32():
        pixels = tf.image.decode_bmp(data, 4)
        unwritten = tf.reduce_all(pixels[..., 3] == 0)
        return tf.cond(unwritten, lambda: opaque(pixels[..., :3]), lambda: pixels)

    return tf.cond(bits == 24, of_24, lambda: tf.cond(bits == 32, of_32, of_palette))


def _by_palette(data: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """uint8 `[H, W, 3]`. Rows are padded to 4 bytes and start at the bottom, unless the height is negative."""
    # An int32 of each field; `substr` fails where the file ends before it.
    pixels_at, header, width, height, used = (
        tf.io.decode_raw(tf.strings.substr(data, at, 4), tf.int32)[0] for at in (10, 14, 18, 22, 46)
    )
    rows = tf.abs(tf.cast(height, tf.int64))
    stride = (tf.cast(width, tf.int64) * tf.cast(bits, tf.int64) + 31) // 32 * 4
    there = tf.cast(tf.strings.length(data) - pixels_at, tf.int64)
    checks = [
        tf.debugging.Assert((width > 0) & (rows > 0), ["a damaged header: no pixels"]),
        # By division, since the product of two 32-bit sides may overflow.
        tf.debugging.Assert(
            (pixels_at >= 0) & (rows <= there // tf.maximum(stride, 1)), ["the file ends within its pixels"]
        ),
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        content = tf.strings.substr(data, pixels_at, tf.cast(stride * rows, tf.int32))
    packed = tf.reshape(tf.io.decode_raw(content, tf.uint8), [rows, stride, 1])
    each = tf.range(8 // bits)  # pixels of a byte, the first one in its high bits
    shifts = tf.cast(8 - bits * (each + 1), tf.uint8)
    mask = tf.cast(tf.bitwise.left_shift(1, bits) - 1, tf.uint8)
    numbers = tf.bitwise.bitwise_and(tf.bitwise.right_shift(packed, shifts), mask)
    numbers = tf.reshape(numbers, [rows, -1])[:, :width]
    numbers = tf.cond(height > 0, lambda: tf.reverse(numbers, [0]), lambda: numbers)
    most = tf.bitwise.left_shift(1, bits)
    count = tf.where((used > 0) & (used <= most), used, most)
    count = tf.minimum(count, (pixels_at - 14 - header) // 4)
    table = tf.strings.substr(data, 14 + header, 4 * count)
    colors = tf.reshape(tf.io.decode_raw(table, tf.uint8), [-1, 4])[:, 2::-1]  # blue comes first
    return tf.gather(colors, tf.cast(numbers, tf.int32))


def opaque(rgb: tf.Tensor) -> tf.Tensor:
    """uint8 `[H, W, 3]` as RGBA, `[H, W, 4]`."""
    return tf.concat([rgb, tf.fill(tf.shape(rgb[..., :1]), tf.constant(255, tf.uint8))], axis=-1)
