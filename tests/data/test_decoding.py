"""One decoder: kinds told by content, transparency, depth, damage."""

import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.files import colors, cut_out, encode, on, tiff
from tfcontrastive.data.images import KINDS, decode, decode_crops, decode_with_facts, header_of, kind_number, reason
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.transcode import as_native, kind_of, native

RGB, RGBA = Image.fromarray(colors()), Image.fromarray(cut_out())
DEEP = colors().astype(np.uint16) * 257  # the same picture in 16 bits


def registered_heif(image, **options):
    import pillow_heif

    pillow_heif.register_heif_opener()
    return encode(image, "HEIF", **options)


@pytest.fixture(scope="module")
def decoded():
    """Decodes in a graph, as tf.data does, whatever the kind."""
    functions = {
        channels: tf.function(
            lambda data, channels=channels: decode(native(data), channels),
            input_signature=[tf.TensorSpec([], tf.string)],
        )
        for channels in (1, 3, 4)
    }
    return lambda data, channels=3: functions[channels](tf.constant(data)).numpy().astype(int)


@pytest.mark.parametrize(
    ("kind", "data", "tolerance"),
    [
        ("PNG", encode(RGB), 0),
        ("JPEG", encode(RGB, "JPEG", quality=98, subsampling=0), 6),
        ("JPEG", encode(RGB.convert("CMYK"), "JPEG", quality=98), 12),
        ("BMP", encode(RGB, "BMP"), 0),
        ("WebP", encode(RGB, "WEBP", lossless=True), 0),
        ("WebP", encode(RGB, "WEBP", lossless=True, save_all=True, append_images=[RGB.rotate(180)]), 0),
        ("TIFF", encode(RGB, "TIFF"), 0),
        ("TIFF", encode(RGB, "TIFF", compression="tiff_lzw"), 0),
        ("TIFF", tiff(DEEP, photometric="rgb"), 0),
        ("TIFF", tiff(DEEP, photometric="rgb", compression="lzw"), 0),
        ("TIFF", tiff(np.moveaxis(DEEP, -1, 0), photometric="rgb", planarconfig="separate"), 0),
        ("PNM", encode(RGB, "PPM"), 0),
        ("JPEG 2000", encode(RGB, "JPEG2000"), 2),
        ("AVIF", encode(RGB, "AVIF", quality=100), 6),
        ("HEIC", registered_heif(RGB, quality=100), 8),
    ],
)
def test_every_kind_gives_the_picture(decoded, kind, data, tolerance):
    assert kind_of(data[:256]) == kind
    np.testing.assert_allclose(decoded(data), colors().astype(int), atol=tolerance)
    np.testing.assert_allclose(decoded(as_native(data)), colors().astype(int), atol=tolerance)
    assert decoded(data, 1).shape == (30, 40, 1)
    assert (decoded(data, 4)[..., 3] == 255).all()


@pytest.mark.parametrize("mode", ["1", "P", "L"])
def test_a_bmp_with_a_palette_has_its_colours(decoded, mode):
    image = RGB.convert(mode)
    np.testing.assert_array_equal(decoded(encode(image, "BMP")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("bits", [1, 4])
def test_a_bmp_of_few_bits_from_the_top(decoded, bits):
    """Rows of 5 pixels are padded to 4 bytes; a negative height starts at the top."""
    numbers = np.arange(15).reshape(3, 5) * 7 % 2**bits
    rows = b"".join(int("".join(f"{n:0{bits}b}" for n in row).ljust(32, "0"), 2).to_bytes(4, "big") for row in numbers)
    palette = np.arange(2**bits * 4, dtype=np.uint8).reshape(-1, 4)
    header = struct.pack("<IiiHHIIiiII", 40, 5, -3, 1, bits, 0, len(rows), 0, 0, 0, 0)
    start = 54 + palette.size
    data = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette.tobytes() + rows
    np.testing.assert_array_equal(decoded(data), palette[numbers][..., 2::-1])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "16 bits", "premultiplied"])
def test_transparent_images_lie_on_white(decoded, kind):
    if kind == "16 bits":
        data = tiff(cut_out().astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"])
    elif kind == "premultiplied":
        deep, opacity = cut_out().astype(np.uint16) * 257, cut_out()[..., 3:] / 255
        multiplied = np.concatenate([np.round(deep[..., :3] * opacity).astype(np.uint16), deep[..., 3:]], axis=-1)
        data = tiff(multiplied, photometric="rgb", extrasamples=["assocalpha"])
    else:
        data = encode(RGBA, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    np.testing.assert_allclose(decoded(data), on(cut_out()), atol=1)
    np.testing.assert_array_equal(decoded(data, 4)[..., 3], cut_out()[..., 3])
    if kind != "premultiplied":  # which keeps no colour where nothing is seen
        np.testing.assert_array_equal(decoded(data, 4), cut_out())
    _, facts = decode_with_facts(as_native(data), 3)
    assert bool(facts.transparent)


def test_transparent_gray_palettes_and_gifs_lie_on_white(decoded):
    gray = RGBA.convert("LA")
    np.testing.assert_allclose(decoded(encode(gray)), on(np.asarray(gray.convert("RGBA"))), atol=1)
    keyed = RGB.copy()
    keyed.putpixel((3, 2), (1, 2, 3))
    assert decoded(encode(keyed, transparency=(1, 2, 3)))[2, 3].tolist() == [255, 255, 255]
    gif = encode(RGBA, "GIF")
    shown = decoded(gif, 4)
    assert (decoded(gif)[20:] == 255).all()
    assert (shown[20:, :, 3] == 0).all()
    assert (shown[:10, :, 3] == 255).all()
    palette = RGBA.quantize(16)
    np.testing.assert_allclose(decoded(encode(palette)), on(np.asarray(palette.convert("RGBA"))), atol=1)


def test_another_background(decoded):
    for background in ("black", "#0000ff"):
        image = decode(encode(RGBA), 3, Rendering(background))
        np.testing.assert_allclose(image.numpy().astype(int), on(cut_out(), background), atol=1)
    (view,) = decode_crops(encode(Image.new("RGBA", (8, 8), (0, 255, 0, 0))), tf.constant([[0, 1]]), channels=3,
                           geometries=[plain()], size=4, rendering=Rendering("#ff0000"))  # fmt: skip
    np.testing.assert_allclose(view, np.broadcast_to([1.0, 0, 0], (4, 4, 3)), atol=1e-6)


def plain():
    from tfcontrastive import augment

    return augment.policy("simclr").geometry


def test_a_bmp_whose_opacity_was_never_written_is_opaque(decoded):
    unwritten = cut_out()
    unwritten[..., 3] = 0
    np.testing.assert_array_equal(decoded(encode(Image.fromarray(unwritten), "BMP")), unwritten[..., :3])


def test_a_range_stretches_16_bits_and_nothing_else():
    twelve = encode(Image.fromarray((np.arange(12, dtype=np.uint16) * 390).reshape(3, 4)))
    stretched = decode(twelve, 1, Rendering(intensity_range="390,3900"))[..., 0].numpy().ravel()
    assert stretched.tolist() == [0, 0, 28, 57, 85, 113, 142, 170, 198, 227, 255, 255]
    assert decode(twelve, 1)[..., 0].numpy().max() == 11 * 390 // 256
    _, facts = decode_with_facts(tf.constant(twelve), 3)
    assert (int(facts.low), int(facts.high)) == (0, 11 * 390)
    np.testing.assert_array_equal(decode(encode(RGB), 3, Rendering(intensity_range="0,4095")), colors())


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_without_its_end_marker_is_whole_and_one_cut_short_is_not(decoded, options):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8))
    for image in (RGB, noise):
        data = encode(image, "JPEG", quality=90, **options)
        whole = decoded(data)
        for variant in (data[:-1], data[:-2], data + bytes(100), data[:-2] + bytes(100), data + b"junk"):
            np.testing.assert_array_equal(decoded(variant), whole)
        for variant in (data[:-40], data[: len(data) * 2 // 3], data[:-40] + bytes(4000)):
            with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG"):
                decoded(variant)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"BM is how this text begins, which goes on for a while so that a header could be there. And on.", "no image"),
        (b"<html>404</html>", "it is no image"),
        (b"\xff\x0a" + bytes(50), "JPEG XL files are not read: convert them"),
        (tiff(np.zeros([4, 4], np.float32)), "float32, not of 8 or 16 bits"),
        (
            tiff(np.zeros([4, 4, 5], np.uint8), photometric="minisblack", planarconfig="contig"),
            r"\[4, 4, 5\]: gray and RGB",
        ),
        (tiff(np.zeros([4, 4, 2], np.uint8), photometric="minisblack", planarconfig="contig"), r"\[4, 4, 2\]: gray"),
        (encode(RGB, "TIFF")[:200], "TIFF"),
        (encode(RGB.convert("P"), "BMP")[:-50], "ends within its pixels"),
    ],
)
def test_what_cannot_be_read_says_why(decoded, data, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as error:
        decoded(data)
    assert "\n" not in reason(error.value)
    assert not reason(error.value).endswith("]")


def test_an_animated_webp_never_reaches_tensorflow():
    """TensorFlow 2.21 writes past the end of its memory for animations without opacity."""
    moving = encode(RGB, "WEBP", lossless=True, save_all=True, append_images=[RGB.rotate(180)])
    assert int(kind_number(header_of(tf.constant(moving)))) == 0
    assert KINDS[int(kind_number(header_of(tf.constant(encode(RGB, "WEBP")))))] == "WebP"


def test_records_hold_files_of_any_kind(tmp_path):
    from tfcontrastive import data

    with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
        for content in (encode(RGB), encode(RGB, "TIFF"), encode(RGB, "WEBP", lossless=True), encode(RGB, "PPM")):
            example = tf.train.Example()
            example.features.feature["image"].bytes_list.value.append(content)
            writer.write(example.SerializeToString())
    images, _ = data.load(f"tfrecord:{tmp_path / 'x'}").arrays("train")
    for image in images:
        np.testing.assert_array_equal(image, colors())
