"""Hostile and unusual files: each gives a defined image, or INVALID_ARGUMENT with a message that names the problem."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfcontrastive.augment import ops
from tfcontrastive.data import Preprocessing
from tfcontrastive.export import CppError, decode_images

SIZE = 16


def encode(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photo(width=40, height=30, mode="RGB"):
    """A smooth picture, so that lossy formats keep it."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([x, y, (x + y) / 2], axis=-1) * 200 + 20
    return Image.fromarray(pixels.astype("uint8")).convert(mode)


def png_header(width, height):
    """A PNG of a few bytes that claims a size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_with_size(width, height):
    data = bytearray(encode(photo(), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif_with_frame(width, height, frames=1):
    screen = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00"
    return screen + frame * frames + b";"


def bmp_with_size(width, height):
    data = bytearray(encode(photo(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def webp_with_size(width, height):
    data = bytearray(encode(photo(), "WEBP", lossless=True))
    data[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(data)


@pytest.fixture(scope="module")
def decode():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decoded(contents):
        return decode_images(contents, size=SIZE)

    return lambda *files: decoded(tf.constant(files)).numpy()


@pytest.fixture(scope="module")
def decode_gray():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decoded(contents):
        return decode_images(contents, size=SIZE, channels=1)

    return lambda *files: decoded(tf.constant(files)).numpy()


def expected(image, size=SIZE):
    pixels = np.asarray(image.convert("RGB"), "float32")[None] / 255
    return ops.center_crop_resize(tf.constant(pixels), size).numpy()[0]


@pytest.mark.parametrize(
    ("mode", "format", "options"),
    [
        ("RGB", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {}),
        ("L", "PNG", {}),
        ("LA", "PNG", {}),
        ("1", "PNG", {}),
        ("RGB", "BMP", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("P", "GIF", {}),
        ("L", "GIF", {}),
        ("1", "GIF", {}),
        ("RGB", "JPEG", {}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
    ],
    ids=str,
)
def test_formats(decode, mode, format, options):
    image = photo(mode=mode)
    if format == "JPEG":
        options = {**options, "quality": 95, "subsampling": 0}
    result = decode(encode(image, format, **options))
    assert result.shape == (1, SIZE, SIZE, 3)
    np.testing.assert_allclose(result[0], expected(image), atol=0.05 if format == "JPEG" else 1e-6)


@pytest.mark.parametrize("mode", ["1", "P", "L", "RGBA"])
def test_bmps_of_every_depth_are_those_of_training(decode, mode):
    image = photo(mode=mode)
    np.testing.assert_allclose(decode(encode(image, "BMP"))[0], expected(image), atol=1e-6)


def test_a_compressed_bmp_is_refused(decode):
    file = bytearray(encode(photo(mode="P"), "BMP"))
    file[30] = 1
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0\] is a BMP of another kind than"):
        decode(bytes(file))


def cut_out():
    """A picture whose right half is transparent, with green hidden there."""
    pixels = np.array(photo(mode="RGBA"))
    pixels[:, 20:] = 0, 200, 0, 0
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True, "exact": True}),
        ("BMP", {}),
        ("GIF", {}),
    ],
)
@pytest.mark.parametrize("background", ["white", "#000080"])
def test_transparent_images_lie_on_the_colour_of_training(format, options, background):
    file = encode(cut_out(), format, **options)
    image = Image.open(io.BytesIO(file)).convert("RGBA") if format == "GIF" else cut_out()
    whole = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    rule = Preprocessing(background_color=None if background == "white" else background)
    result = decode_images(tf.constant([file]), size=SIZE, preprocessing=rule)
    np.testing.assert_allclose(result[0], expected(whole), atol=0.005)


def test_16_bits_are_stretched_as_in_training():
    twelve = np.asarray(photo(mode="L"), np.uint16) * 16
    rule = Preprocessing(intensity_range="0,4080")
    result = decode_images(tf.constant([encode(Image.fromarray(twelve))]), size=SIZE, preprocessing=rule)
    np.testing.assert_allclose(result[0], expected(photo(mode="L")), atol=1e-6)


def test_a_webp_that_moves_is_refused(decode):
    """TensorFlow 2.21 writes past the end of its memory for some of them."""
    file = encode(photo(), "WEBP", save_all=True, append_images=[photo(mode="L").convert("RGB")], lossless=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0\] is a WebP that moves"):
        decode(file)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_colour_files_in_a_gray_model(decode_gray, format):
    gray = expected(photo(mode="L"))[..., :1]
    file = encode(photo(mode="P" if format == "GIF" else "RGB"), format)
    np.testing.assert_allclose(decode_gray(file)[0], gray, atol=0.1)


def test_a_16_bit_png_keeps_its_high_bits(decode):
    pixels = (np.asarray(photo(mode="L"), np.uint16) << 8) + 77
    np.testing.assert_allclose(decode(encode(Image.fromarray(pixels)))[0], expected(photo(mode="L")), atol=1e-6)


def test_an_animated_gif_gives_its_first_frame(decode):
    turns = Image.Transpose.ROTATE_180, Image.Transpose.FLIP_LEFT_RIGHT
    frames = [photo().transpose(turn).convert("P") for turn in turns]
    file = encode(photo(mode="P"), "GIF", save_all=True, append_images=frames, comment=b"x" * 700)
    np.testing.assert_allclose(decode(file)[0], expected(photo(mode="P").convert("RGB")), atol=0.02)


def test_exif_rotation_is_ignored(decode):
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(decode(encode(photo(), "JPEG", exif=exif)), decode(encode(photo(), "JPEG")))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (20_000, 1), (20_000, 40)])
def test_extreme_shapes_have_a_defined_result(decode, size):
    result = decode(encode(photo(*size)))
    assert result.shape == (1, SIZE, SIZE, 3)
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", r"\[1\] is empty"),
        (b"\xff", r"\[1\] is not a JPEG, PNG, GIF, BMP or WebP image"),
        (b"<html>404</html>", r"\[1\] is not a JPEG, PNG, GIF, BMP or WebP image"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", r"\[1\] has a damaged header"),
        (encode(photo(), "JPEG")[:100], "Invalid JPEG data"),
        (encode(photo(), "JPEG")[:-100], "Invalid JPEG data"),
        (encode(photo())[:100], "Invalid PNG data"),
        (b"\x89PNG\r\n\x1a\n", r"\[1\] has a damaged header"),
        (encode(photo(mode="P"), "GIF")[:14], r"\[1\] has a damaged header"),
        (encode(photo(mode="P"), "GIF")[:1000], "GIF|gif"),
        (encode(photo(), "BMP")[:100], "Input size should match"),
        (b"BM", r"\[1\] has a damaged header"),
    ],
    ids=[
        "empty",
        "one-byte",
        "html",
        "webp",
        "jpeg-header",
        "jpeg-cut",
        "png-cut",
        "png-magic",
        "gif-header",
        "gif-cut",
        "bmp-cut",
        "bmp-magic",
    ],
)
def test_damage_is_named(decode, file, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(encode(photo()), file)


@pytest.mark.parametrize(
    "file",
    [
        png_header(20_000, 20_000),
        png_header(2**31 - 1, 2**31 - 1),
        jpeg_with_size(65_500, 65_500),
        gif_with_frame(65_535, 65_535),
        bmp_with_size(20_000, -20_000),
        bmp_with_size(-(2**31), -(2**31)),
        webp_with_size(16_383, 16_383),
    ],
    ids=["png", "png-overflow", "jpeg", "gif", "bmp", "bmp-overflow", "webp"],
)
def test_a_decompression_bomb_is_refused_by_its_header(decode, file):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[0\] is \d+ x \d+ pixels, more than the 67108864"):
        decode(file)


def test_later_gif_frames_are_never_unpacked(decode):
    first = encode(photo(mode="P"), "GIF")
    bomb = first[:-1] + gif_with_frame(60_000, 60_000)[19:]
    np.testing.assert_array_equal(decode(bomb), decode(first))


def mutate(file, random):
    """A file with bytes changed, cut, repeated or taken out."""
    data = bytearray(file)
    for _ in range(random.randint(1, 6)):
        start = random.randint(0, max(1, len(data) - 1))
        length = min(random.choice([1, 1, 2, 4, 16, 64]), len(data) - start)
        kind = random.randint(0, 5)
        if kind == 0:
            data[start : start + length] = random.bytes(length)
        elif kind == 1 and data:
            data[start % len(data)] ^= 1 << random.randint(0, 8)
        elif kind == 2:
            del data[start : start + length]
        elif kind == 3:
            data[start:start] = data[start : start + length]
        else:  # the header is where the decisions are
            data[start % 64 : start % 64 + 1] = random.bytes(1)
    return bytes(data[: random.randint(0, len(data) + 1)] if random.rand() < 0.1 else data)


def test_fuzz_the_signature(cpp):
    """Thousands of mutated files through the C++ session: a vector or INVALID_ARGUMENT, and the session survives."""
    seeds = [
        encode(photo()),
        encode(photo(mode="L")),
        encode(photo(), "JPEG"),
        encode(photo(), "JPEG", progressive=True),
        encode(photo(mode="CMYK"), "JPEG"),
        encode(photo(), "BMP"),
        encode(photo(mode="P"), "GIF"),
        encode(cut_out(), "GIF"),
        encode(cut_out()),
        encode(photo(mode="P"), "BMP"),
        encode(photo(), "WEBP"),
        encode(cut_out(), "WEBP", lossless=True),
        encode(photo(mode="P"), "GIF", save_all=True, append_images=[photo(30, 30, "P")]),
    ]
    random = np.random.RandomState(2026)
    vectors, refused = 0, set()
    deadline = time.monotonic() + 30
    good = cpp.run("image_bytes", image_bytes=seeds)["embedding"]
    for round_ in range(3000):
        if time.monotonic() > deadline:
            break
        file = mutate(seeds[round_ % len(seeds)], random)
        try:
            vector = cpp.run("image_bytes", image_bytes=[file])["embedding"]
        except CppError as error:
            refused.add((error.code, error.message.partition("\n")[0]))
            continue
        assert vector.shape == (1, good.shape[1])
        assert np.isfinite(vector).all()
        vectors += 1
    np.testing.assert_array_equal(cpp.run("image_bytes", image_bytes=seeds)["embedding"], good)
    assert {code for code, _ in refused} == {"INVALID_ARGUMENT"}
    assert vectors > 50
    assert len(refused) > 10
