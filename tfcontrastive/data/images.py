"""Image files to tensors: decoding, and decoding no more than the random crops need."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive.augment import Geometry, ops

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """A JPEG, PNG, GIF (its first frame) or BMP as uint8 `[H, W, C]`. EXIF orientation is not applied.

    Args:
        encoded: the file's bytes, a scalar string.
        channels: 1 (gray), 3 (RGB) or 4 (RGBA, PNG only). Colours are converted, CMYK and 16 bits too.

    Returns:
        uint8 `[H, W, channels]` in 0..255.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are not such an image.
    """

    def of_any_channels():
        return tf.io.decode_image(encoded, channels, expand_animations=False)

    def of_three_channels():  # decoders that cannot convert
        is_bmp = tf.strings.substr(encoded, 0, 2) == b"BM"
        image = tf.cond(
            tf.cond(is_bmp, lambda: _has_palette(encoded), lambda: False),
            lambda: _by_palette(encoded),
            lambda: tf.io.decode_image(encoded, 3, expand_animations=False),
        )
        return tf.image.rgb_to_grayscale(image) if channels == 1 else image

    is_png = tf.strings.substr(encoded, 0, 8) == _PNG_SIGNATURE
    image = tf.cond(is_png | _is_simple_jpeg(encoded, channels), of_any_channels, of_three_channels)
    return tf.ensure_shape(image, [None, None, channels])


def decode_crops(
    encoded: tf.Tensor, seeds: tf.Tensor, *, channels: int, geometries: Sequence[Geometry], size: int
) -> tuple[tf.Tensor, ...]:
    """Random crops of one encoded image, resized and maybe mirrored: one for each seed.

    The same views as `augment.random_view_geometry` makes of the decoded image, but of a JPEG only the smallest
    rectangle that holds all the crops is decoded, once; its place is known from the header alone.

    Args:
        encoded: the file's bytes, a scalar string.
        seeds: int32 `[V, 2]`, with static V.
        channels: as in `decode`.
        geometries: of each view: crop area and aspect ratio, flip probability, size.
        size: height and width, in pixels, of a view whose geometry says 1.

    Returns:
        V tensors, float32 `[size, size, channels]` in [0, 1].
    """
    alike, first = [], 0  # neighbours of one geometry are drawn together
    for geometry, group in itertools.groupby(geometries):
        last = first + len(list(group))
        alike.append((geometry, seeds[first:last]))
        first = last

    def boxes_within(shape):
        return tf.concat(
            [ops.sample_crop_boxes(rows, shape[0], shape[1], (one.min_area, one.max_area), (one.min_ratio, one.max_ratio))
             for one, rows in alike],
            axis=0,
        )  # fmt: skip

    def from_jpeg():
        boxes = boxes_within(tf.image.extract_jpeg_shape(encoded))
        begin = tf.reduce_min(boxes[:, :2], axis=0)
        end = tf.reduce_max(boxes[:, :2] + boxes[:, 2:], axis=0)
        pixels = tf.image.decode_and_crop_jpeg(encoded, tf.concat([begin, end - begin], axis=0), channels)
        return pixels, boxes - tf.concat([begin, [0, 0]], axis=0)

    def from_other():
        pixels = decode(encoded, channels)
        return pixels, boxes_within(tf.shape(pixels))

    pixels, boxes = tf.cond(_is_simple_jpeg(encoded, channels), from_jpeg, from_other)
    mirrored = tf.concat([ops.sample_flips(rows, geometry.flip) for geometry, rows in alike], axis=0)
    return tuple(
        _view(pixels, boxes[v], mirrored[v], channels, geometry.pixels(size)) for v, geometry in enumerate(geometries)
    )


def reason(error: tf.errors.OpError) -> str:
    """What TensorFlow said of an image, on one line and without the names of its ops."""
    return " ".join(re.sub(r"\{\{.*?\}\}|\[.*?\]| name:\s*$", " ", error.message).split())


def _is_simple_jpeg(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Whether it is a JPEG whose decoder gives so many channels; it cannot make CMYK gray."""
    is_jpeg = tf.io.is_jpeg(encoded)
    if channels != 1:
        return is_jpeg
    return tf.cond(is_jpeg, lambda: tf.image.extract_jpeg_shape(encoded)[2] < 4, lambda: False)


def _has_palette(bmp: tf.Tensor) -> tf.Tensor:
    """Whether a BMP has 8 bits a pixel."""
    return tf.io.decode_raw(tf.strings.substr(bmp, 28, 1), tf.uint8)[0] == 8


def _by_palette(bmp: tf.Tensor) -> tf.Tensor:
    """uint8 `[H, W, 3]` of a BMP with 8 bits a pixel, of which TensorFlow gives the numbers of the colours."""
    pixels_at, header = (tf.io.decode_raw(tf.strings.substr(bmp, at, 4), tf.int32)[0] for at in (10, 14))
    count = (pixels_at - 14 - header) // 4
    colours = tf.io.decode_raw(tf.strings.substr(bmp, 14 + header, 4 * count), tf.uint8)
    numbers = tf.io.decode_image(bmp, 3, expand_animations=False)[..., 0]
    return tf.gather(tf.reshape(colours, [-1, 4])[:, 2::-1], tf.cast(numbers, tf.int32))  # blue comes first


def _view(pixels: tf.Tensor, box: tf.Tensor, mirrored: tf.Tensor, channels: int, size: int) -> tf.Tensor:
    """One crop of one image, uint8 `[H, W, C]`, as `ops.crop_and_resize` makes it for a batch."""
    crop = tf.slice(pixels, [box[0], box[1], 0], [box[2], box[3], channels])
    view = tf.image.resize(crop, [size, size], "bicubic")
    view = tf.clip_by_value(view / 255.0, 0.0, 1.0)
    return tf.ensure_shape(tf.cond(mirrored, lambda: tf.reverse(view, [1]), lambda: view), [size, size, channels])
