"""Encoded image files to model inputs, inside the graph: what is refused, and why, is decided before decoding."""

from __future__ import annotations

import functools

import tensorflow as tf

from tfcontrastive.data import Preprocessing
from tfcontrastive.data.gif import first_frame
from tfcontrastive.data.images import KINDS, decode, header_of, kind_number
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.export.checks import checked_batch, require

MAX_PIXELS = 2**26
"""An image of more pixels is refused by its header, before memory is taken for it (67 million, 8192 x 8192)."""

_OTHER_WEBP = "a WebP that moves, is damaged, or needs TensorFlow 2.21"


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

    JPEG (CMYK too), PNG, GIF (the first frame), BMP (uncompressed) and, from TensorFlow 2.21 on, still WebP are read; the
    format is told from the content. Transparency and 16 bits are treated as `preprocessing` says, by the decoder of
    training. The orientation that EXIF data may state is ignored, as there.

    Args:
        contents: `[B]` strings, B >= 1, each a whole file.
        size: height and width of the result, in pixels.
        channels: 1 (luma), 3 (RGB) or 4 (RGBA).
        max_pixels: the largest height x width that is decoded.
        preprocessing: the encoder's rule, of which decoding, crop and resize are done here; None takes SimCLR's.

    Returns:
        `[B, size, size, channels]` float32 in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: if the batch is empty or any file is empty, of another format, larger than
            `max_pixels`, or damaged. The message names the file's position for all but the last.

    Examples:
        >>> png = tf.io.encode_png(tf.fill([40, 60, 3], tf.constant(255, tf.uint8)))
        >>> decode_images(png[None], size=32).shape
        TensorShape([1, 32, 32, 3])
    """
    contents = checked_batch(contents, "image_bytes")
    decoder = _decoder(size, channels, max_pixels, preprocessing or Preprocessing())
    return decoder.python_function(contents) if tf.executing_eagerly() else decoder(contents)


@functools.lru_cache
def _decoder(
    size: int, channels: int, max_pixels: int, rule: Preprocessing
) -> tf.types.experimental.PolymorphicFunction:
    """Decoding in a graph: one trace for all exports of a process, which takes as long as the rest of a small one."""

    def decoder(contents):
        def image(element):
            position, data = element
            decoded = decode_image(data, channels, rule.rendering(), max_pixels=max_pixels, position=position)
            return rule.crop_and_resize(decoded, size)

        # Few at a time: an image at the pixel limit takes about a gigabyte while it is resized.
        return tf.map_fn(
            image,
            (tf.range(tf.size(contents)), contents),
            parallel_iterations=4,
            fn_output_signature=tf.TensorSpec([size, size, channels], tf.float32),
        )

    return tf.function(decoder, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)


@tf.autograph.experimental.do_not_convert
def decode_image(
    data: tf.Tensor,
    channels: int,
    rendering: Rendering | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    position: tf.Tensor | int = 0,
) -> tf.Tensor:
    """One file to uint8 `[H, W, channels]`: `data.images.decode`, once its header is found to be sound.

    Args:
        data: the file's bytes, a scalar string.
        channels, rendering: as in `decode`.
        max_pixels: the largest height x width that is decoded.
        position: of the file in its batch, for the message.

    Raises:
        tf.errors.InvalidArgumentError: as `decode_images`.
    """
    header = header_of(data)
    kind = kind_number(header)
    jpeg, png, gif, bmp, webp = (kind == number for number in range(1, len(KINDS)))
    data = require(tf.strings.length(data) > 0, data, "`image_bytes` [{}] is empty: it has no bytes", position)
    # Of fewer bits or with compression, the decoder would give other pixels.
    data = require(
        ~_starts(header, b"BM") | (header[14] > 0), data, "`image_bytes` [{}] has a damaged header: no pixels", position
    )
    data = require(
        (kind > 0) | ~_starts(header, b"BM"),
        data,
        "`image_bytes` [{}] is a BMP of another kind than uncompressed, of 1, 4, 8, 24 or 32 bits",
        position,
    )
    data = require(
        (kind > 0) | ~(_starts(header, b"RIFF") & _starts(header[8:], b"WEBP")),
        data,
        f"`image_bytes` [{{}}] is {_OTHER_WEBP}",
        position,
    )
    data = require(
        kind > 0, data, f"`image_bytes` [{{}}] is not a {', '.join(KINDS[1:-1])} or {KINDS[-1]} image", position
    )

    def of_gif():
        frame = first_frame(data)
        return frame.data, frame.height, frame.width

    data, gif_height, gif_width = tf.cond(gif, of_gif, lambda: (data, 0, 0))
    jpeg_shape = tf.cond(jpeg, lambda: tf.image.extract_jpeg_shape(data), lambda: tf.zeros([3], tf.int32))
    webp_height, webp_width = _webp_size(header)
    by_kind = (
        (png, _big_endian(header[20:24]), _big_endian(header[16:20])),
        (bmp, tf.abs(_little_endian(header[22:26])), tf.abs(_little_endian(header[18:22]))),
        (webp, webp_height, webp_width),
    )
    height, width = tf.cast(jpeg_shape[0] + gif_height, tf.int64), tf.cast(jpeg_shape[1] + gif_width, tf.int64)
    for is_kind, its_height, its_width in by_kind:
        height, width = tf.where(is_kind, its_height, height), tf.where(is_kind, its_width, width)
    data = require((height > 0) & (width > 0), data, "`image_bytes` [{}] has a damaged header: no pixels", position)
    # By division, since the product of two 32-bit sides may overflow.
    data = require(
        height <= max_pixels // tf.maximum(width, 1),
        data,
        f"`image_bytes` [{{}}] is {{}} x {{}} pixels, more than the {max_pixels} that are decoded",
        position,
        width,
        height,
    )
    return decode(data, channels, rendering)


def _webp_size(header: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width of a WebP, int64, by its first chunk: lossy, lossless or extended."""

    def number(at, count):
        return tf.reduce_sum(tf.cast(header[at : at + count], tf.int64) * [256**i for i in range(count)])

    bits = number(21, 4)
    lossless, extended = _starts(header[12:], b"VP8L"), _starts(header[12:], b"VP8X")
    height = tf.where(lossless, bits // 2**14 % 2**14 + 1, tf.where(extended, number(27, 3) + 1, number(28, 2) % 2**14))
    width = tf.where(lossless, bits % 2**14 + 1, tf.where(extended, number(24, 3) + 1, number(26, 2) % 2**14))
    return height, width


def _starts(header: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.reduce_all(header[: len(magic)] == list(magic))


def _big_endian(header: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(header, tf.int64) * [1 << 24, 1 << 16, 1 << 8, 1])


def _little_endian(header: tf.Tensor) -> tf.Tensor:
    value = _big_endian(header[::-1])
    return tf.where(value < 1 << 31, value, value - (1 << 32))
