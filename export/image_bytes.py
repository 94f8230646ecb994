"""Encoded image files to model inputs, inside the graph: what is refused, and why, is decided before decoding."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.data import Preprocessing
from tfcontrastive.data.images import decode
from tfcontrastive.export.checks import checked_batch, require

MAX_PIXELS = 2**26
"""An image of more pixels is refused by its header, before memory is taken for it (67 million, 8192 x 8192)."""

_HEADER_BYTES = 32
_GIF_BLOCKS = 2**16


@tf.autograph.experimental.do_not_convert
def decode_images(
    contents: tf.Tensor,
    *,
    size: int,
    channels: int = 3,
    max_pixels: int = MAX_PIXELS,
    preprocessing: Preprocessing | None = None,
) -> tf.Tensor:
    """Decodes, crops and resizes image files as evaluation does, to `[B, size, size, channels]` in [0, 1].

    JPEG (CMYK too), PNG (16 bits are cut to 8, transparency is dropped), GIF (the first frame) and BMP (24 bits) are
    read; the format is told from the content. The orientation that EXIF data may state is ignored, as in training.

    Args:
        contents: `[B]` strings, B >= 1, each a whole file.
        size: height and width of the result, in pixels.
        channels: 1 (luma), 3 (RGB) or 4 (RGBA, PNG only).
        max_pixels: the largest height x width that is decoded.
        preprocessing: the encoder's rule, of which crop and resize are done here; None takes SimCLR's.

    Returns:
        `[B, size, size, channels]` float32 in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: if the batch is empty or any file is empty, of another format, larger than
            `max_pixels`, or damaged. The message names the file's position for all but the last.

    Example:

    >>> png = tf.io.encode_png(tf.fill([40, 60, 3], tf.constant(255, tf.uint8)))
    >>> decode_images(png[None], size=32).shape
    TensorShape([1, 32, 32, 3])
    """
    contents = checked_batch(contents, "image_bytes")
    rule = preprocessing or Preprocessing()

    def image(element):
        return rule.crop_and_resize(_decode(*element, channels, max_pixels), size)

    # Few at a time: an image at the pixel limit takes about a gigabyte while it is resized.
    return tf.map_fn(image, (tf.range(tf.size(contents)), contents), parallel_iterations=4,
                     fn_output_signature=tf.TensorSpec([size, size, channels], tf.float32))


def _decode(position: tf.Tensor, data: tf.Tensor, channels: int, max_pixels: int) -> tf.Tensor:
    """One file to uint8 `[H, W, channels]`."""
    header = _bytes(tf.strings.substr(data, 0, _HEADER_BYTES))
    jpeg, png = _starts(header, b"\xff\xd8\xff"), _starts(header, b"\x89PNG\r\n\x1a\n")
    gif, bmp = _starts(header, b"GIF8"), _starts(header, b"BM")
    data = require(tf.strings.length(data) > 0, data, "`image_bytes` [{}] is empty: it has no bytes", position)
    data = require(jpeg | png | gif | bmp, data, "`image_bytes` [{}] is not a JPEG, PNG, GIF or BMP image", position)

    data, gif_height, gif_width = tf.cond(gif, lambda: _first_gif_frame(data), lambda: (data, 0, 0))
    jpeg_shape = tf.cond(jpeg, lambda: tf.image.extract_jpeg_shape(data), lambda: tf.zeros([3], tf.int32))
    height = tf.where(png, _big_endian(header[20:24]), tf.where(bmp, tf.abs(_little_endian(header[22:26])), 0))
    width = tf.where(png, _big_endian(header[16:20]), tf.where(bmp, tf.abs(_little_endian(header[18:22])), 0))
    height += tf.cast(jpeg_shape[0] + gif_height, tf.int64)
    width += tf.cast(jpeg_shape[1] + gif_width, tf.int64)
    data = require((height > 0) & (width > 0), data, "`image_bytes` [{}] has a damaged header: no pixels", position)
    # By division, since the product of two 32-bit sides may overflow.
    data = require(height <= max_pixels // tf.maximum(width, 1), data,
                   f"`image_bytes` [{{}}] is {{}} x {{}} pixels, more than the {max_pixels} that are decoded",
                   position, width, height)
    # Of fewer bits, the decoder would take the indices of a palette for shades of gray.
    data = require(~bmp | ((header[28] == 24) & (header[30] == 0)), data,
                   "`image_bytes` [{}] is a BMP of another kind than uncompressed RGB of 24 bits", position)
    return decode(data, channels)


def _first_gif_frame(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cuts a GIF after its first frame, and reads that frame's height and width.

    The decoder would unpack all frames, however large, only to drop them.
    """
    content = _bytes(data)
    last = tf.strings.length(data)

    def byte(position):
        return content[tf.minimum(position, last)]  # one zero past the end ends every block

    def color_table(flags):
        return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)

    def after_blocks(position):
        return 1 + tf.while_loop(lambda p: byte(p) > 0, lambda p: [p + 1 + byte(p)], [position],
                                 maximum_iterations=_GIF_BLOCKS)[0]

    start = 13 + color_table(byte(10))
    frame, = tf.while_loop(lambda p: byte(p) == 0x21, lambda p: [after_blocks(p + 2)], [start],
                           maximum_iterations=_GIF_BLOCKS)
    end = after_blocks(frame + 11 + color_table(byte(frame + 9)))
    is_frame = tf.cast(byte(frame) == 0x2C, tf.int32)
    width = is_frame * (byte(frame + 5) + 256 * byte(frame + 6))
    height = is_frame * (byte(frame + 7) + 256 * byte(frame + 8))
    return tf.strings.join([tf.strings.substr(data, 0, end), b";"]), height, width


def _bytes(data: tf.Tensor) -> tf.Tensor:
    """The bytes as int32, with zeros after them."""
    return tf.cast(tf.io.decode_raw(tf.strings.join([data, bytes(_HEADER_BYTES)]), tf.uint8), tf.int32)


def _starts(header: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.reduce_all(header[:len(magic)] == list(magic))


def _big_endian(header: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(header, tf.int64) * [1 << 24, 1 << 16, 1 << 8, 1])


def _little_endian(header: tf.Tensor) -> tf.Tensor:
    value = _big_endian(header[::-1])
    return tf.where(value < 1 << 31, value, value - (1 << 32))
