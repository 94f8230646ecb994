"""Files of vectors: whole, resumable, quantized, searchable."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfcontrastive.config import InputError
from tfcontrastive.export import (
    EmbeddingFiles,
    EmbeddingWriter,
    dataset_items,
    embed_files,
    embed_images,
    folder_items,
    near_duplicates,
    nearest,
    write_gallery,
)
from tfcontrastive.export.quantize import dequantize, quantize


def write_photos(folder, count, seed=0):
    random = np.random.RandomState(seed)
    for i in range(count):
        path = folder / ("cats" if i % 2 else "dogs") / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.randint(0, 255, (20, 24, 3), np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    write_photos(tmp_path / "photos", 11)
    return tmp_path / "photos"


def test_a_folder_of_any_kinds_by_any_path(exported, tmp_path, monkeypatch):
    """What only Python reads is embedded as what TensorFlow reads, and counted where it cannot be."""
    monkeypatch.setenv("HOME", str(tmp_path))
    picture = Image.fromarray(np.random.RandomState(0).randint(0, 255, (20, 24, 3), np.uint8))
    folder = tmp_path / "x[10:5]"
    for name, kind in (("train/a.png", "PNG"), ("train/b.tif", "TIFF"), ("test/c", "PPM"), ("test/d.webp", "WEBP")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name, kind, **({"lossless": True} if kind == "WEBP" else {}))
    (folder / "train" / "e.tiff").write_bytes(b"II*\0 and no more")
    done = embed_images(exported, folder_items("~/x[10:5]"), tmp_path / "out")
    files = EmbeddingFiles(tmp_path / "out")
    assert files.ids == ["test/c", "test/d.webp", "train/a.png", "train/b.tif"]
    assert [name for name, _ in done.skipped] == ["train/e.tiff"]
    np.testing.assert_allclose(files.load(), np.repeat(files.load()[:1], 4, axis=0), rtol=1e-5)
    assert [name for name, *_ in folder_items(folder, "test")(0)] == ["test/c", "test/d.webp"]
    query = embed_files(exported, [folder / "train" / "b.tif"])
    np.testing.assert_allclose(query[0], files.load()[0], rtol=1e-5)


def expected_vectors(exported, folder):
    names = sorted(os.path.relpath(path, folder) for path in folder.rglob("*.png"))
    contents = [(folder / name).read_bytes() for name in names]
    return names, tf.saved_model.load(exported).signatures["image_bytes"](tf.constant(contents))["embedding"].numpy()


def test_the_vectors_are_the_models(exported, photos, tmp_path):
    names, vectors = expected_vectors(exported, photos)
    done = embed_images(
        exported, folder_items(photos), tmp_path / "out", format="parquet", dtype="int8", batch_size=3, shard_rows=4
    )
    files = EmbeddingFiles(tmp_path / "out")
    assert done.rows == len(files) == 11
    assert files.complete
    assert files.ids == names
    np.testing.assert_allclose(files.load(), vectors, atol=np.abs(vectors).max() / 253)


@pytest.mark.parametrize("format", ["npy", "parquet", "tfrecord"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 1e-3), ("int8", 1 / 253)])
def test_every_format_keeps_ids_and_vectors(vectors, tmp_path, format, dtype, tolerance):
    writer = EmbeddingWriter(tmp_path / "out", dim=8, format=format, dtype=dtype, shard_rows=7)
    for i, vector in enumerate(vectors):
        writer.add(f"photos/{i} é.png", vector)
    writer.finish()
    files = EmbeddingFiles(tmp_path / "out")
    assert files.ids == [f"photos/{i} é.png" for i in range(40)]
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    assert (np.abs(files.load() - vectors) <= tolerance * largest).all()


def test_npy_shards_are_plain_arrays(index, vectors):
    shard = np.load(index / "vectors-00001.npy", mmap_mode="r")
    np.testing.assert_array_equal(shard, vectors[7:14])
    assert shard.dtype == np.float32


def test_bad_images_are_skipped_and_listed(exported, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much")
    (photos / "empty.png").write_bytes(b"")
    (photos / "page.png").write_text("<html>")
    done = embed_images(exported, folder_items(photos), tmp_path / "out", batch_size=5)
    assert done.rows == 11
    assert [name for name, _ in done.skipped] == ["broken.jpg", "empty.png", "page.png"]
    listed = (tmp_path / "out" / "bad_files.txt").read_text().splitlines()
    assert listed[1].startswith("empty.png\t")
    assert "is empty" in listed[1]
    assert "is not a JPEG" in listed[2]


def test_a_data_set_of_batches(encoder, exported, tmp_path):
    images = np.random.RandomState(0).rand(10, 16, 16, 3).astype("float32")

    def batches():
        return tf.data.Dataset.from_tensor_slices({"image": images}).batch(4)

    embed_images(exported, dataset_items(batches, "test/"), tmp_path / "out", batch_size=3, shard_rows=3)
    files = EmbeddingFiles(tmp_path / "out")
    assert files.ids == [f"test/{i}" for i in range(10)]
    np.testing.assert_allclose(files.load(), encoder(images), atol=1e-6)


def test_unit_length(exported, photos, tmp_path):
    embed_images(exported, folder_items(photos), tmp_path / "out", normalize=True)
    np.testing.assert_allclose(np.linalg.norm(EmbeddingFiles(tmp_path / "out").load(), axis=1), 1, atol=1e-5)


def test_a_killed_run_goes_on_without_loss_or_doubling(exported, tmp_path):
    folder, output = tmp_path / "photos", tmp_path / "out"
    write_photos(folder, 60)
    (folder / "dogs" / "005b.png").write_bytes(b"bad")
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import time
        from tfcontrastive.export import embed_images, folder_items
        embed_images({exported!r}, folder_items({str(folder)!r}), {str(output)!r}, batch_size=4, shard_rows=8,
                     progress=lambda rows, bad: time.sleep(0.1))
    """)
    )
    process = subprocess.Popen([sys.executable, str(program)], env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    while not (output / "vectors-00002.npy").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not EmbeddingFiles(output).complete
    assert 0 < len(EmbeddingFiles(output)) < 60
    read = []

    def counted(start):
        for item in folder_items(folder)(start):
            read.append(item[0])
            yield item

    counted.fingerprint = folder_items(folder).fingerprint
    embed_images(exported, counted, output, batch_size=4, shard_rows=8)
    files = EmbeddingFiles(output)
    good = [name for name in sorted(os.path.relpath(p, folder) for p in folder.rglob("*.png")) if "005b" not in name]
    assert files.complete
    assert files.ids == good
    assert len(read) < 61, "shards that were complete are not made again"
    assert (output / "bad_files.txt").read_text().count("005b") == 1


def test_memory_does_not_grow_with_the_number_of_images(exported, tmp_path):
    """What Python and numpy hold at the peak: ten times the images."""
    noise = np.random.RandomState(0).rand(64, 4, 4, 3).astype("float32")

    def peak(count):
        def items(start):
            for i in range(start, count):
                yield f"image/{i:06d}", noise[i % 64]

        output = tmp_path / str(count)
        tracemalloc.start()
        try:
            assert embed_images(exported, items, output, batch_size=128, shard_rows=256).rows == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(300)  # what is loaded and traced once
    few, many = peak(500), peak(5000)
    assert many - few < 300_000, "the ids alone are 280 kB, the vectors 600 kB"


def test_a_complete_set_is_left_alone(exported, photos, tmp_path):
    items = folder_items(photos)
    embed_images(exported, items, tmp_path / "out")
    (photos / "cats" / "001.png").unlink()
    assert embed_images(exported, items, tmp_path / "out").rows == 11
    assert not (tmp_path / "out" / "bad_files.txt").exists(), "nothing is read again"


def test_a_set_made_otherwise_is_refused(exported, photos, tmp_path):
    embed_images(exported, folder_items(photos), tmp_path / "out")
    with pytest.raises(InputError, match=r"made alike.*dtype 'float32', now 'int8'"):
        embed_images(exported, folder_items(photos), tmp_path / "out", dtype="int8")


def test_nothing_to_embed(exported, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="`folder` must hold images"):
        folder_items(tmp_path / "in")
    (tmp_path / "in" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"readable image. Received: 1 unreadable; the first: a.png"):
        embed_images(exported, folder_items(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(InputError, match="`saved_model` must be"):
        embed_images(tmp_path, folder_items(tmp_path / "in"), tmp_path / "out2")


def test_the_base_of_versions_means_the_highest(exported, photos, tmp_path):
    embed_images(os.path.dirname(exported), folder_items(photos), tmp_path / "out")
    assert EmbeddingFiles(tmp_path / "out").facts["model"]["version"] == "1"


def test_int8_error_is_at_most_half_a_step():
    sizes = np.logspace(-6, 6, 50, dtype="float32")
    vectors = np.random.RandomState(0).randn(50, 32).astype("float32") * sizes[:, None]
    stored, scale = quantize(vectors, "int8")
    assert (np.abs(dequantize(stored, scale) - vectors).max(axis=1) <= np.abs(vectors).max(axis=1) / 253).all()


def test_quantize_keeps_zeros_and_large_values_and_refuses_nan():
    vectors = np.array([[0, 0], [1e6, 3]], np.float32)
    for dtype in ("float16", "int8"):
        restored = dequantize(*quantize(vectors, dtype))
        assert not restored[0].any()
        np.testing.assert_allclose(restored[1, 0], 1e6, rtol=1e-2)
    with pytest.raises(InputError, match="infinity in row 1"):
        quantize(np.array([[0.0], [np.nan]], np.float32), "float32")


@pytest.fixture
def vectors():
    return np.random.RandomState(3).randn(40, 8).astype("float32")


@pytest.fixture
def index(vectors, tmp_path):
    writer = EmbeddingWriter(tmp_path / "index", dim=8, shard_rows=7)
    for i, vector in enumerate(vectors):
        writer.add(f"image {i}", vector)
    writer.finish()
    return tmp_path / "index"


@pytest.mark.parametrize("backend", ["numpy", "faiss"])
def test_nearest_equals_a_full_sort(index, vectors, backend):
    queries = np.random.RandomState(4).randn(5, 8)
    ids, similarities = nearest(index, queries, k=9, backend=backend)
    for query, names, values in zip(queries, ids, similarities, strict=True):
        full = np.array([query @ v / np.linalg.norm(query) / np.linalg.norm(v) for v in vectors])
        assert names == [f"image {i}" for i in np.argsort(-full)[:9]]
        np.testing.assert_allclose(values, np.sort(full)[::-1][:9], atol=1e-5)


def test_nearest_refuses_what_does_not_fit(index):
    with pytest.raises(InputError, match=r"`queries` must be \[Q, 8\]"):
        nearest(index, np.zeros([2, 7]))
    with pytest.raises(InputError, match="`k` must be between 1 and the 40"):
        nearest(index, np.zeros([2, 8]), k=41)
    with pytest.raises(InputError, match="Did you mean 'faiss'"):
        nearest(index, np.zeros([2, 8]), k=1, backend="fais")


def test_near_duplicates_are_all_pairs_once(vectors, tmp_path):
    vectors[30] = 2 * vectors[3]
    vectors[5] = vectors[4] + 1e-3
    writer = EmbeddingWriter(tmp_path / "index", dim=8, shard_rows=7)
    for i, vector in enumerate(vectors):
        writer.add(str(i), vector)
    writer.finish()
    pairs = {(a, b) for a, b, _ in near_duplicates(tmp_path / "index", 0.999)}
    assert pairs == {("3", "30"), ("4", "5")}
    assert ("3", "30") in {(a, b) for a, b, _ in near_duplicates(tmp_path / "index", 1.0)}


def test_gallery_is_self_contained(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(buffer, "PNG")
    write_gallery(
        tmp_path / "page.html",
        ["<q>"],
        [["a", "b"]],
        np.array([[0.9, 0.5]]),
        lambda name: buffer.getvalue() if name == "a" else None,
    )
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 1
    assert "&lt;q&gt;" in page
    assert "<q>" not in page
    assert "http://" not in page
    assert "https://" not in page
