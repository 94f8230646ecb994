"""Image files to tensors, by TensorFlow's ops alone: decoding, and decoding no more than the random crops need.

This is the one decoder: of folders and records, of evaluation, of `embed`, of galleries, and of the signature
`image_bytes` of exported models. What TensorFlow cannot read, `transcode` has made a PNG before.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from tfcontrastive.augment import Geometry, ops
from tfcontrastive.data import bmp
from tfcontrastive.data.bmp import opaque
from tfcontrastive.data.gif import first_frame
from tfcontrastive.data.rendering import Rendering

HEADER_BYTES = 70
KINDS = ("another kind", "JPEG", "PNG", "GIF", "BMP", "WebP")
"""What `kind_number` counts. A BMP or WebP that TensorFlow cannot read is of another kind."""

_END_OF_JPEG = b"\xff\xd9"
_FILLER = b"\xaa\x55" * 2**10  # bytes that would change the pixels of a JPEG that still misses some
_HAS_WEBP = hasattr(tf.io, "decode_webp")  # TensorFlow 2.21


class Facts(NamedTuple):
    """What is known of an image once it is decoded; scalars.

    Attributes:
        transparent: bool, whether any of it is.
        low, high: int32, the lowest and the highest value of a 16-bit image; 0 and -1 of others.
    """

    transparent: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor


def decode(encoded: tf.Tensor, channels: int, rendering: Rendering | None = None) -> tf.Tensor:
    """A JPEG, PNG, GIF (its first frame), BMP or still WebP as uint8 `[H, W, C]`. EXIF orientation is not applied.

    The kind is told by the content. A JPEG that lacks nothing but its end marker is whole.

    Args:
        encoded: the file's bytes, a scalar string.
        channels: 1 (gray), 3 (RGB) or 4 (RGBA). Colours are converted, CMYK too; of 1 and 3 channels, what is
            transparent is composited on a colour.
        rendering: that colour, and the range of 16-bit images; None is white, and their high 8 bits.

    Returns:
        uint8 `[H, W, channels]` in 0..255.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are not such an image.
    """
    return decode_with_facts(encoded, channels, rendering)[0]


@tf.autograph.experimental.do_not_convert
def decode_with_facts(encoded: tf.Tensor, channels: int, rendering: Rendering | None = None) -> tuple[tf.Tensor, Facts]:
    """As `decode`, with what was found on the way."""
    rendering = rendering or Rendering()
    if tf.executing_eagerly():
        return _decoded(encoded, channels, rendering)
    image, transparent, low, high = _decoder(channels, rendering)(encoded)
    return image, Facts(transparent, low, high)


@functools.cache
def _decoder(channels: int, rendering: Rendering) -> Callable[[tf.Tensor], tuple]:
    """Decoding in a graph. All pipelines of a process share one, which takes most of a second to build."""

    def decoder(encoded):
        image, facts = _decoded(encoded, channels, rendering)
        return image, *facts

    return tf.function(decoder, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def _decoded(encoded: tf.Tensor, channels: int, rendering: Rendering) -> tuple[tf.Tensor, Facts]:
    header = header_of(encoded)

    def of_another_kind():
        check = tf.debugging.Assert(False, ["not a JPEG, PNG, GIF, BMP or still WebP image"])
        with tf.control_dependencies([check]):
            return tf.zeros([0, 0, channels], tf.uint8), *_plain()

    def of_jpeg():
        return _whole_jpeg(encoded, lambda data: _jpeg(data, channels)), *_plain()

    def of_png():
        return tf.cond(header[24] == 16, of_deep_png, lambda: finish(_png(encoded, header[24])))

    def of_deep_png():
        deep = tf.io.decode_png(encoded, 4, tf.uint16)
        values = tf.cast(deep, tf.int32)
        image, transparent, _, _ = finish(_shallow(values, rendering))
        return image, transparent, tf.reduce_min(values[..., :3]), tf.reduce_max(values[..., :3])

    def of_gif():
        return finish(_gif(encoded))

    def of_bmp():
        return finish(bmp.rgba(encoded, header))

    def of_webp():
        return finish(_webp(encoded))

    def finish(rgba):
        return _without_alpha(rgba, channels, rendering.background), *_plain(tf.reduce_any(rgba[..., 3] < 255))

    branches = [of_another_kind, of_jpeg, of_png, of_gif, of_bmp, of_webp]
    image, transparent, low, high = tf.switch_case(kind_number(header), branches[: len(branches) - (not _HAS_WEBP)])
    return tf.ensure_shape(image, [None, None, channels]), Facts(transparent, low, high)


def header_of(encoded: tf.Tensor) -> tf.Tensor:
    """The first `HEADER_BYTES` of a file, int32, with zeros after its end."""
    head = tf.strings.join([tf.strings.substr(encoded, 0, HEADER_BYTES), bytes(HEADER_BYTES)])
    return tf.cast(tf.io.decode_raw(head, tf.uint8)[:HEADER_BYTES], tf.int32)


def kind_number(header: tf.Tensor) -> tf.Tensor:
    """Which of `KINDS` a file is, by its first bytes; int32."""

    def starts(magic, at=0):
        return tf.reduce_all(header[at : at + len(magic)] == list(magic))

    webp = starts(b"RIFF") & starts(b"WEBP", 8) & starts(b"VP8", 12) & _HAS_WEBP
    # TensorFlow 2.21 writes past the end of its memory for some animations, so that none is given to it.
    moving = starts(b"VP8X", 12) & (header[20] // 2 % 2 == 1)
    kinds = tf.stack(
        [
            starts(b"\xff\xd8\xff"),
            starts(b"\x89PNG\r\n\x1a\n"),
            starts(b"GIF8"),
            starts(b"BM") & bmp.is_readable(header),
            webp & ~moving,
        ]
    )
    return tf.reduce_sum(tf.cast(kinds, tf.int32) * tf.range(1, len(KINDS)))


def decode_crops(
    encoded: tf.Tensor,
    seeds: tf.Tensor,
    *,
    channels: int,
    geometries: Sequence[Geometry],
    size: int,
    rendering: Rendering | None = None,
) -> tuple[tf.Tensor, ...]:
    """Random crops of one encoded image, resized and maybe mirrored: one for each seed.

    The same views as `augment.random_view_geometry` makes of the decoded image, but of a JPEG only the smallest
    rectangle that holds all the crops is decoded, once; its place is known from the header alone.

    Args:
        encoded: the file's bytes, a scalar string.
        seeds: int32 `[V, 2]`, with static V.
        channels, rendering: as in `decode`.
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
        window = tf.concat([begin, end - begin], axis=0)
        pixels = _whole_jpeg(encoded, lambda data: tf.image.decode_and_crop_jpeg(data, window, channels))
        return pixels, boxes - tf.concat([begin, [0, 0]], axis=0)

    def from_other():
        pixels = decode(encoded, channels, rendering)
        return pixels, boxes_within(tf.shape(pixels))

    pixels, boxes = tf.cond(_is_simple_jpeg(encoded, channels), from_jpeg, from_other)
    mirrored = tf.concat([ops.sample_flips(rows, geometry.flip) for geometry, rows in alike], axis=0)
    return tuple(
        _view(pixels, boxes[v], mirrored[v], channels, geometry.pixels(size)) for v, geometry in enumerate(geometries)
    )


def reason(error: tf.errors.OpError) -> str:
    """What TensorFlow said of an image, on one line and without the names of its ops."""
    said = error.message.partition("assertion failed:")[2]
    if said:  # one of our own: the sentence in brackets
        return " ".join(re.split(r"\]\s*(?:\[\[|\[Op:|$)", said.strip().removeprefix("["))[0].split())
    return " ".join(re.sub(r"\{\{.*?\}\}|\[.*?\]| name:\s*$", " ", error.message).split())


def _jpeg(data: tf.Tensor, channels: int) -> tf.Tensor:
    if channels == 4:
        return opaque(tf.io.decode_jpeg(data, 3))
    return tf.cond(
        _is_simple_jpeg(data, channels),
        lambda: tf.io.decode_jpeg(data, channels),
        lambda: tf.image.rgb_to_grayscale(tf.io.decode_jpeg(data, 3)),  # the decoder cannot make CMYK gray
    )


def _whole_jpeg(data: tf.Tensor, decoded: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The pixels of a JPEG, also of one without its end marker, which is whole if no more bytes would change them."""

    def without_end():
        # Zeros after the end are no part of an image, but the last byte of one may be a zero; 255 begins a marker.
        content = tf.io.decode_raw(data, tf.uint8)
        last = tf.cast(tf.reduce_max(tf.where(content > 0)), tf.int32)
        half_a_marker = (content[last] == 255) & (last == tf.size(content) - 1)
        kept = tf.strings.substr(data, 0, tf.where(half_a_marker, last, last + 2))
        pixels = decoded(tf.strings.join([kept, _END_OF_JPEG]))
        longer = decoded(tf.strings.join([kept, _FILLER, _END_OF_JPEG]))
        check = tf.debugging.Assert(tf.reduce_all(pixels == longer), ["Invalid JPEG data: it is cut short"])
        with tf.control_dependencies([check] if check is not None else []):
            return tf.identity(pixels)

    ends = tf.strings.substr(data, -2, 2) == _END_OF_JPEG
    return tf.cond(ends, lambda: decoded(data), without_end)


def _is_simple_jpeg(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Whether it is a JPEG whose decoder gives so many channels; it cannot make CMYK gray, nor opacity."""
    is_jpeg = tf.io.is_jpeg(encoded)
    if channels == 4:
        return tf.zeros_like(is_jpeg)
    if channels != 1:
        return is_jpeg
    return tf.cond(is_jpeg, lambda: tf.image.extract_jpeg_shape(encoded)[2] < 4, lambda: False)


def _gif(encoded: tf.Tensor) -> tf.Tensor:
    """The first frame of a GIF, uint8 `[H, W, 4]`: transparent is what changes with the transparent colour."""
    frame = first_frame(encoded)

    def of(data):
        return tf.image.decode_gif(data)[0]

    def with_opacity():
        white, black = of(frame.filled(255, 255, 255)), of(frame.filled(0, 0, 0))
        opaque = tf.reduce_all(white == black, axis=-1, keepdims=True)
        return tf.concat([white, tf.where(opaque, tf.constant(255, tf.uint8), tf.constant(0, tf.uint8))], axis=-1)

    def without():
        return opaque(of(frame.data))

    return tf.cond(frame.transparent, with_opacity, without)


def _webp(encoded: tf.Tensor) -> tf.Tensor:
    """A still WebP as uint8 `[H, W, 4]`. Of `decode_image`, so that an older server loads the graph all the same."""
    pixels = tf.io.decode_image(encoded, 0, expand_animations=False)
    pixels = tf.ensure_shape(pixels, [None, None, None])
    return tf.cond(tf.shape(pixels)[2] == 4, lambda: pixels, lambda: opaque(pixels))


def _shallow(values: tf.Tensor, rendering: Rendering) -> tf.Tensor:
    """16-bit values, int32 `[H, W, 4]`, as uint8."""
    high_bits = tf.bitwise.right_shift(values, 8)
    if rendering.bounds is None:
        return tf.cast(high_bits, tf.uint8)
    low, high = rendering.bounds
    inside = tf.cast(tf.clip_by_value(values[..., :3], low, high) - low, tf.float32)
    stretched = tf.cast(tf.round(inside * (255 / (high - low))), tf.int32)
    return tf.cast(tf.concat([stretched, high_bits[..., 3:]], axis=-1), tf.uint8)


def _png(encoded: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """A PNG of at most 8 bits as RGBA.

    TensorFlow gives images of 1, 2 and 4 bits that say nothing of transparency an opacity of 2**bits - 1, not 255.
    """
    rgba = tf.io.decode_png(encoded, 4)

    def without_what_it_adds():
        before_pixels = tf.strings.split([encoded], b"IDAT").values[0]
        says = tf.size(tf.strings.split([before_pixels], b"tRNS").values) > 1
        opaque = tf.fill(tf.shape(rgba[..., 3:]), tf.constant(255, tf.uint8))
        return tf.cond(says, lambda: rgba, lambda: tf.concat([rgba[..., :3], opaque], axis=-1))

    return tf.cond(bits < 8, without_what_it_adds, lambda: rgba)


def _without_alpha(rgba: tf.Tensor, channels: int, background: tuple[int, int, int]) -> tf.Tensor:
    """uint8 `[H, W, 4]` on a colour, as uint8 `[H, W, channels]`; as it is for 4 channels."""
    if channels == 4:
        return rgba

    def composited():
        values = tf.cast(rgba, tf.int32)
        opacity = values[..., 3:]
        return tf.cast((values[..., :3] * opacity + list(background) * (255 - opacity) + 127) // 255, tf.uint8)

    rgb = tf.cond(tf.reduce_any(rgba[..., 3] < 255), composited, lambda: rgba[..., :3])
    return tf.image.rgb_to_grayscale(rgb) if channels == 1 else rgb


def _plain(transparent: tf.Tensor | bool = False) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The facts of an image of 8 bits."""
    return tf.convert_to_tensor(transparent), tf.constant(0), tf.constant(-1)


def _view(pixels: tf.Tensor, box: tf.Tensor, mirrored: tf.Tensor, channels: int, size: int) -> tf.Tensor:
    """One crop of one image, uint8 `[H, W, C]`, as `ops.crop_and_resize` makes it for a batch."""
    crop = tf.slice(pixels, [box[0], box[1], 0], [box[2], box[3], channels])
    view = tf.image.resize(crop, [size, size], "bicubic")
    view = tf.clip_by_value(view / 255.0, 0.0, 1.0)
    return tf.ensure_shape(tf.cond(mirrored, lambda: tf.reverse(view, [1]), lambda: view), [size, size, channels])
