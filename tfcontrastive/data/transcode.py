"""Image files that TensorFlow cannot read, made PNGs without loss: TIFF, AVIF, HEIC, PNM, JPEG 2000 and rare others.

A PNG holds gray or RGB, with or without opacity, of 8 or 16 bits; so whatever follows knows one decoder only.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError, features

from tfcontrastive.config.values import DEEPEST
from tfcontrastive.data.images import decode, header_of, kind_number
from tfcontrastive.data.rendering import Rendering

SNIFFED_BYTES = 256
_EXTRA = "pip install 'tfcontrastive[images]'"
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
}
_PREMULTIPLIED, _OPACITY = 1, 2  # what TIFF says of a channel beyond the colours
_UNREADABLE = {"JPEG XL", "Photoshop", "OpenEXR", "Radiance HDR"}
_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def kind_of(head: bytes) -> str | None:
    """The kind of an image file by its first bytes (`SNIFFED_BYTES` are enough); None of what is no image.

    Examples:
        >>> kind_of(b"II*\\0"), kind_of(b"hello")
        ('TIFF', None)
    """
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if (
        head[:2] == b"BM"
        and len(head) >= 18
        and struct.unpack_from("<I", head, 14)[0] in (12, 40, 52, 56, 64, 108, 124)
    ):
        return "BMP"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4], "big"), len(head))
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
        return "AVIF" if any(b in _AVIF for b in brands) else "HEIC" if any(b in _HEIC for b in brands) else None
    return "PNM" if re.match(rb"P[1-6]\s+(#|\d)", head) else None


def why_not(kind: str) -> str | None:
    """Why files of a kind cannot be read here, and what to do; None where they can."""
    if kind in _UNREADABLE:
        return "convert them"
    if kind == "AVIF" and not features.check("avif"):
        return f"they need Pillow with AVIF: {_EXTRA}"
    if kind == "HEIC" and not _has_heif():
        return f"they need pillow-heif: {_EXTRA}"
    return None


def as_native(content: bytes) -> bytes:
    """The bytes of a file that `decode` reads: those given, or a PNG of the same pixels.

    Raises:
        ValueError: it is no image, or of a kind that cannot be read; says why.
    """
    return content if int(kind_number(header_of(tf.constant(content)))) else as_png(content)


def with_8_bits(content: bytes, rendering: Rendering) -> bytes:
    """A file that `decode` reads, stretched to a PNG of 8 bits if it is of 16 and the rendering has a range."""
    if rendering.bounds is None or not content.startswith(b"\x89PNG") or content[24:25] != b"\x10":
        return content
    try:
        return _png_of(decode(tf.constant(content), 4, rendering).numpy())
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"a damaged PNG file: {error.message}") from error


@tf.autograph.experimental.do_not_convert
def native(encoded: tf.Tensor) -> tf.Tensor:
    """`as_native` in a graph that runs where Python is. A scalar string in, a scalar string out.

    Raises:
        tf.errors.InvalidArgumentError: as `as_native`.
    """

    def converted():
        png, problem = tf.numpy_function(_png_or_problem, [encoded], [tf.string, tf.string], stateful=False)
        png, problem = tf.ensure_shape(png, []), tf.ensure_shape(problem, [])
        check = tf.debugging.Assert(problem == "", [problem])
        with tf.control_dependencies([check] if check is not None else []):
            return tf.identity(png)

    return tf.cond(kind_number(header_of(encoded)) > 0, lambda: tf.identity(encoded), converted)


def as_png(content: bytes) -> bytes:
    """A PNG of an image file of any kind that Pillow or tifffile reads; of several images, the first.

    Raises:
        ValueError: it cannot be read; says why.
    """
    kind = kind_of(content[:SNIFFED_BYTES])
    if kind is None:
        raise ValueError("it is empty" if not content else "it is no image")
    reason = why_not(kind)
    if reason:
        raise ValueError(f"{kind} files are not read: {reason}")
    if kind == "TIFF" and (pixels := _deep_tiff(content)) is not None:
        return _png_of(pixels)
    try:
        image = Image.open(io.BytesIO(content))
        image.seek(0)
        image.load()
    except UnidentifiedImageError as error:
        if kind != "TIFF":
            raise ValueError(f"a damaged {kind} file, or one of a rare form") from error
        return _png_of(_by_tifffile(content))
    except Exception as error:  # Pillow's plugins raise whatever a damaged file leads them to
        raise ValueError(f"a damaged {kind} file: {error}") from error
    if image.mode in ("I", "F"):
        return _png_of(_whole_numbers(np.asarray(image)))
    if image.mode.startswith("I;16"):
        return _png_of(np.asarray(image).astype(np.uint16))
    transparent = "A" in image.mode or "a" in image.mode or "transparency" in image.info
    gray = image.mode in ("1", "L", "LA")
    return _png_of(np.asarray(image.convert(("LA" if gray else "RGBA") if transparent else ("L" if gray else "RGB"))))


def _png_or_problem(content: bytes | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    png = problem = b""
    try:
        png = as_png(np.asarray(content, object).item())
    except ValueError as error:
        problem = str(error).encode(errors="replace")
    return np.array(png, object), np.array(problem, object)


def _deep_tiff(content: bytes) -> np.ndarray | None:
    """The pixels of a TIFF that Pillow would change; None of one that it reads as it is."""
    try:
        image: Any = Image.open(io.BytesIO(content))
        tags = image.tag_v2
    except Exception:  # whatever a form that it does not know leads it to
        return _by_tifffile(content)
    bits, samples, photometric = tags.get(258, (1,)), tags.get(277, 1), tags.get(262, 1)
    bits = bits if isinstance(bits, tuple) else (bits,)
    if max(bits) <= 8 and tags.get(339, (1,))[0] == 1 and not (photometric <= 2 and samples not in (1, 3, 4)):
        return None
    return _by_tifffile(content)


def _by_tifffile(content: bytes) -> np.ndarray:
    """The first page `[H, W]` or `[H, W, C]`, uint8 or uint16."""
    try:
        import tifffile
    except ImportError:
        raise ValueError(f"TIFF files of this form need tifffile: {_EXTRA}") from None
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page: Any = file.pages[0]
            pixels, inverted = page.asarray(), page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
            planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3
            is_rgb, extra = page.photometric == tifffile.PHOTOMETRIC.RGB, tuple(map(int, page.extrasamples))
    except Exception as error:  # tifffile and its codecs raise whatever a damaged file leads them to
        raise ValueError(f"a damaged TIFF file, or one of a rare form: {error}") from error
    pixels = np.moveaxis(pixels, 0, -1) if planar else pixels
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    pixels = _whole_numbers(pixels)
    if inverted:
        pixels = np.iinfo(pixels.dtype).max - pixels
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if channels in (2, 4) and extra in ((_PREMULTIPLIED,), (_OPACITY,)):
        return _unmultiplied(pixels) if extra == (_PREMULTIPLIED,) else pixels
    if channels == 4 and is_rgb and len(extra) <= 1:
        return pixels[..., :3]  # the fourth is said to be something else, as Pillow takes it
    if channels not in (1, 3):
        shape = list(pixels.shape)
        raise ValueError(f"its pixels are {shape}: gray and RGB are read, with opacity or not; give others as npz:FILE")
    return pixels


def _unmultiplied(pixels: np.ndarray) -> np.ndarray:
    """Colours that were multiplied by their opacity, divided by it."""
    most, opacity = np.iinfo(pixels.dtype).max, np.maximum(pixels[..., -1:].astype(np.int64), 1)
    colors = np.minimum((pixels[..., :-1].astype(np.int64) * most + opacity // 2) // opacity, most)
    return np.concatenate([colors.astype(pixels.dtype), pixels[..., -1:]], axis=-1)


def _whole_numbers(pixels: np.ndarray) -> np.ndarray:
    """The values as uint8 or uint16; others have no range that everybody agrees on."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if np.issubdtype(pixels.dtype, np.integer) and pixels.size and pixels.min() >= 0 and pixels.max() <= DEEPEST:
        return pixels.astype(np.uint16)
    raise ValueError(f"its pixels are {pixels.dtype}, not of 8 or 16 bits: convert it")


def _png_of(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 or uint16 `[H, W]` or `[H, W, C]`, C = 1..4. Pillow cannot write colours of 16 bits."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"its pixels are {list(pixels.shape)}, not one image of 1 to 4 channels")
    height, width, channels = pixels.shape
    big_endian = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">")))
    rows = big_endian.view(np.uint8).reshape(height, -1)
    lines = np.concatenate([np.zeros([height, 1], np.uint8), rows], axis=1)  # each row says: not filtered

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, color, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _has_heif() -> bool:
    """Whether Pillow reads HEIC; registers the plugin that does."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
