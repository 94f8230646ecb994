"""Sets of embeddings: names of any bytes, labels, damage, and who may continue them."""

import io
import json
import os
import pathlib
import tempfile

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest
import tensorflow as tf
from PIL import Image

from tests.commands.runs import write_images
from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.export import (
    EmbeddingFiles,
    EmbeddingWriter,
    dataset_items,
    embed_images,
    encoded_items,
    folder_items,
    nearest,
    save_model,
)
from tfcontrastive.system.names import unescaped

FORMATS = ["npy", "parquet", "tfrecord"]
ODD_NAMES = [
    b"caf\xe9.png",
    b"two\nlines.png",
    b"tab\t.png",
    b'"quoted".png',
    b"x[/b].png",
    b" space .png",
    b"\x85.png",
    "\u2028.png".encode(),
    "\u202egnp.png".encode(),
    b"\\udce9.png",
]


def png(shade=0, size=8):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (shade, 255 - shade, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write_photos(folder, names):
    for i, name in enumerate(names):
        path = pathlib.Path(folder) / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(20 * i))
    return folder


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos", [f"{i}.png" for i in range(6)])


def write_set(output, count=10, dim=4, **options):
    writer = EmbeddingWriter(output, dim, **{"shard_rows": 4, **options})
    vectors = np.random.RandomState(0).randn(count, dim).astype(np.float32)
    for i, vector in enumerate(vectors):
        writer.add(f"{i}.png", vector, **({"label": ["cat", "dog"][i % 2]} if options.get("labels") else {}))
    writer.finish()
    return vectors


@pytest.mark.parametrize("format", FORMATS)
def test_odd_file_names_are_kept_and_never_lose_the_rest(exported, tmp_path, format):
    folder = write_photos(tmp_path / "photos", ODD_NAMES)
    bad = [b"bad\xe9.png", b"bad\nline.png", b"bad\t.png"]
    for name in bad:
        (folder / os.fsdecode(name)).write_bytes(b"no image")
    done = embed_images(exported, folder_items(folder), tmp_path / "out", format=format, batch_size=3, shard_rows=4)
    files = EmbeddingFiles(tmp_path / "out")
    assert sorted(map(os.fsencode, files.ids)) == sorted(ODD_NAMES)
    assert done.rows == len(ODD_NAMES)
    lines = pathlib.Path(files.beside("bad_files.txt")).read_text(encoding="utf-8").splitlines()
    assert sorted(os.fsencode(unescaped(line.split("\t")[0])) for line in lines) == sorted(bad)
    assert all("is not a JPEG" in line.split("\t")[1] for line in lines)


@hypothesis.settings(max_examples=15)
@hypothesis.given(
    st.lists(st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name), min_size=1, max_size=6),
    st.sampled_from(FORMATS),
    st.sampled_from([None, "name"]),
)
def test_every_format_keeps_every_name_and_label(names, format, labels):
    names = list(map(os.fsdecode, names))
    with tempfile.TemporaryDirectory() as folder:
        writer = EmbeddingWriter(folder, 2, format=format, shard_rows=2, labels=labels)
        for i, name in enumerate(names):
            writer.add(name, np.float32([i, 1]), name if labels else None)
            writer.skip(name, "a\treason\nof two lines")
        writer.finish()
        files = EmbeddingFiles(folder)
        assert files.ids == names
        assert files.labels == (names if labels else None)
        with open(files.beside("bad_files.txt"), encoding="utf-8", newline="") as file:
            rows = [line.split("\t") for line in file.read().split("\n")[:-1]]
        assert [(unescaped(name), reason) for name, reason in rows] == [
            (name, "a reason of two lines") for name in names
        ]


def test_a_name_that_no_file_can_have_is_refused_at_once(tmp_path):
    writer = EmbeddingWriter(tmp_path / "out", 1)
    with pytest.raises(InputError, match="`name` must be text"):
        writer.add("\ud83d.png", np.float32([1]))


@pytest.mark.parametrize("stage", ["stopped", "complete"])
def test_replaced_pictures_are_not_taken_for_the_same(exported, photos, tmp_path, stage):
    class Stopped(Exception):
        pass

    def stop(rows, bad):
        if rows == 4 and stage == "stopped":
            raise Stopped

    try:
        embed_images(exported, folder_items(photos), tmp_path / "out", batch_size=2, shard_rows=2, progress=stop)
    except Stopped:
        assert not EmbeddingFiles(tmp_path / "out").complete
    (photos / "2.png").write_bytes(png(255))
    (photos / "4.png").unlink()
    (photos / "7.png").write_bytes(png())
    message = r"1 changed, such as 2\.png; 1 new, such as 7\.png; 1 gone, such as 4\.png"
    with pytest.raises(InputError, match=message) as caught:
        embed_images(exported, folder_items(photos), tmp_path / "out", batch_size=2, shard_rows=2)
    assert "\n" not in str(caught.value)


def test_the_same_size_with_another_time_counts_as_changed_unless_by_content(exported, photos, tmp_path):
    for name, content_hash in (("stamps", False), ("content", True)):
        embed_images(exported, folder_items(photos, content_hash=content_hash), tmp_path / name)
    os.utime(photos / "0.png", ns=(1, 1))
    with pytest.raises(InputError, match=r"1 changed, such as 0\.png"):
        embed_images(exported, folder_items(photos), tmp_path / "stamps")
    assert embed_images(exported, folder_items(photos, content_hash=True), tmp_path / "content").rows == 6
    content = (photos / "0.png").read_bytes()
    (photos / "0.png").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(photos / "0.png", ns=(1, 1))
    with pytest.raises(InputError, match=r"1 changed, such as 0\.png"):
        embed_images(exported, folder_items(photos, content_hash=True), tmp_path / "content")


def test_records_that_are_written_anew_are_not_taken_for_the_same(exported, tmp_path):
    path = str(tmp_path / "some.tfrecord")

    def write(shade):
        with tf.io.TFRecordWriter(path) as writer:
            value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[png(shade)]))
            writer.write(tf.train.Example(features=tf.train.Features(feature={"image": value})).SerializeToString())
        return encoded_items(data.load(f"tfrecord:{path}"), "train")

    embed_images(exported, write(0), tmp_path / "out")
    with pytest.raises(InputError, match=r"1 changed, such as .*some\.tfrecord"):
        embed_images(exported, write(200), tmp_path / "out")


def test_equal_weights_of_another_version_continue_a_set_and_others_do_not(make_encoder, photos, tmp_path):
    encoder = make_encoder()
    first, second = (save_model(encoder, tmp_path / "models", image_size=16) for _ in range(2))
    assert first != second
    embed_images(first, folder_items(photos), tmp_path / "out")
    assert embed_images(second, folder_items(photos), tmp_path / "out").rows == 6
    encoder.weights[0].assign_add(tf.ones_like(encoder.weights[0]))
    with pytest.raises(InputError, match=r"made alike.*model"):
        embed_images(save_model(encoder, tmp_path / "models", image_size=16), folder_items(photos), tmp_path / "out")


def test_models_in_a_bucket_are_told_apart(make_encoder, photos, tmp_path):
    encoder = make_encoder()
    first = save_model(encoder, "ram://serve/first", image_size=16)
    encoder.weights[0].assign_add(tf.ones_like(encoder.weights[0]))
    second = save_model(encoder, "ram://serve/second", image_size=16)
    embed_images(first, folder_items(photos), tmp_path / "out")
    with pytest.raises(InputError, match=r"made alike.*model"):
        embed_images(second, folder_items(photos), tmp_path / "out")


@pytest.mark.parametrize(
    ("dtype", "columns"),
    [
        ("float32", ["id", "embedding", "label"]),
        ("float16", ["id", "embedding", "label"]),
        ("int8", ["id", "embedding", "label", "scale"]),
    ],
)
def test_a_folder_of_parquet_files_is_one_table(exported, tmp_path, dtype, columns):
    folder = write_photos(tmp_path / "photos", [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(5)])
    (folder / "cat" / "bad.png").write_bytes(b"")
    embed_images(exported, folder_items(folder), tmp_path / "out", format="parquet", dtype=dtype, shard_rows=3)
    table = pyarrow.parquet.read_table(tmp_path / "out")  # as pandas.read_parquet does
    assert table.column_names == columns
    assert pyarrow.dataset.dataset(tmp_path / "out").count_rows() == 10
    assert table["label"].to_pylist() == ["cat"] * 5 + ["dog"] * 5
    assert table["id"].to_pylist() == EmbeddingFiles(tmp_path / "out").ids
    if dtype == "float32":
        np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy()), EmbeddingFiles(tmp_path / "out").load())


@pytest.mark.parametrize("format", FORMATS)
def test_labels_of_arrays_are_numbers(exported, tmp_path, format):
    source = data.load(write_images(tmp_path / "images.npz", count=6, size=16))

    def batches():
        return data.eval_batches(source, "train", batch_size=4, image_size=16)

    embed_images(
        exported, dataset_items(batches, "train/", source=source), tmp_path / "out", format=format, shard_rows=4
    )
    assert EmbeddingFiles(tmp_path / "out").labels == [0, 1, 2, 3, 0, 1]


def test_labels_of_splits_are_their_classes(tmp_path):
    folder = write_photos(tmp_path / "photos", ["train/cat/0.png", "train/dog/1.png", "test/dog/2.png"])
    assert [item[2] for item in folder_items(folder)(0)] == ["dog", "cat", "dog"]
    assert folder_items(write_photos(tmp_path / "flat", ["0.png", "a/1.png"])).labels is None


def test_float16_that_overflows_keeps_its_scale(tmp_path):
    writer = EmbeddingWriter(tmp_path / "out", 2, dtype="float16", format="parquet", shard_rows=1)
    for value in (1.0, 1e6):
        writer.add(str(value), np.float32([value, 0]))
    writer.finish()
    np.testing.assert_allclose(EmbeddingFiles(tmp_path / "out").load()[:, 0], [1, 1e6], rtol=1e-2)


def test_a_vector_that_is_not_finite_is_skipped(exported, tmp_path):
    def items(start):
        yield from [("good", np.zeros([16, 16, 3], np.float32)), ("gone", FileNotFoundError(2, "No such file"))][start:]

    done = embed_images(exported, items, tmp_path / "out")
    assert done.skipped == [["gone", "cannot be read: No such file"]]


def test_a_file_that_is_deleted_meanwhile_is_told_so(exported, photos, tmp_path):
    items = folder_items(photos)
    (photos / "3.png").unlink()
    done = embed_images(exported, items, tmp_path / "out")
    assert done.skipped == [["3.png", "cannot be read: No such file or directory"]]


DAMAGE = {
    "no JSON": lambda path: path.write_text("{"),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "a list": lambda path: path.write_text("[]"),
    "something else": lambda path: path.write_text('{"name": "my app"}'),
    "no shards": lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "shards": None})),
    "other shards": lambda path: path.write_text(path.read_text().replace("vectors-00000.npy", "../secret")),
    "a set of before": lambda path: path.write_text(
        json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "format"})
    ),
    "a set of later": lambda path: path.write_text(path.read_text().replace('"format": 1', '"format": 2')),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_manifest_is_one_line(tmp_path, damage):
    write_set(tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.json"
    DAMAGE[damage](manifest)
    before = manifest.read_bytes()
    expected = "of format 1" if damage.startswith("a set of") else "a whole set of embeddings"
    for call in (lambda: EmbeddingFiles(tmp_path / "out"), lambda: write_set(tmp_path / "out")):
        with pytest.raises(InputError, match=expected) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_shard_that_is_not_whole_is_told_by_both(tmp_path, format, damage):
    write_set(tmp_path / "out", format=format)
    shard = tmp_path / "out" / f"vectors-00001.{format}"
    shard.write_bytes(shard.read_bytes()[:-1]) if damage == "truncated" else shard.unlink()
    for call in (lambda: EmbeddingFiles(tmp_path / "out"), lambda: write_set(tmp_path / "out", format=format)):
        with pytest.raises(InputError, match=rf"vectors-00001\.{format}, which (is missing|has .* bytes in place of)"):
            call()


@hypothesis.settings(max_examples=40)
@hypothesis.given(st.sampled_from(FORMATS), st.data())
def test_flipped_bytes_give_the_vectors_or_one_line(format, draw):
    with tempfile.TemporaryDirectory() as folder:
        write_set(folder, format=format, labels="name", dtype="int8")
        names = sorted(name for name in os.listdir(folder) if not name.startswith("_"))
        path = pathlib.Path(folder, draw.draw(st.sampled_from(names)))
        content = bytearray(path.read_bytes())
        for _ in range(draw.draw(st.integers(1, 4))):
            content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            files = EmbeddingFiles(folder)
            assert files.load().shape == (10, 4)
            assert len(files.ids) == len(files.labels) == 10
        except InputError as error:
            told = str(error)
        else:
            told = "one line"
        assert len(told.splitlines()) == 1


def test_only_own_files_are_deleted_and_none_is_overwritten(tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "notes.tmp").write_text("mine")
    write_set(output)
    (output / "_vectors-00003.npy.tmp").write_bytes(b"half")
    write_set(tmp_path / "other")
    writer = EmbeddingWriter(output, 4, shard_rows=4)
    assert writer.complete
    assert (output / "notes.tmp").read_text() == "mine"
    assert not (output / "_vectors-00003.npy.tmp").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "vectors-00000.npy").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holds vectors-00000\.npy and no manifest"):
        EmbeddingWriter(tmp_path / "mine", 4)


def test_large_and_small_vectors_have_directions(tmp_path):
    writer = EmbeddingWriter(tmp_path / "out", 2)
    for name, vector in {"right": [1e30, 0], "up": [0, 1e-30], "zero": [0, 0]}.items():
        writer.add(name, np.float32(vector))
    writer.finish()
    ids, similarities = nearest(tmp_path / "out", [[2e300, 0], [0, 1e-40]], k=1, backend="numpy")
    assert ids == [["right"], ["up"]]
    np.testing.assert_allclose(similarities, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([[1.0, np.nan, 0, 0]], "NaN or infinity in row 0"),
        ([[1.0, 0, 0, 0], [0, -np.inf, 0, 0]], "infinity in row 1"),
        ([[0.0] * 4], "zeros in row 0"),
        ([["a"] * 4], "must be numbers"),
    ],
)
def test_queries_without_a_direction_are_refused(tmp_path, queries, message):
    write_set(tmp_path / "out")
    with pytest.raises(InputError, match=message):
        nearest(tmp_path / "out", queries, k=1)


@pytest.mark.parametrize("backend", ["numpy", "faiss"])
def test_a_query_may_be_left_out_of_its_own_neighbours(tmp_path, backend):
    vectors = write_set(tmp_path / "out")
    alone, _ = nearest(tmp_path / "out", vectors, k=4, backend=backend)
    others, similarities = nearest(
        tmp_path / "out", vectors, k=3, backend=backend, exclude=[f"{i}.png" for i in range(9)] + [None]
    )
    assert others == [row[1:] for row in alone[:9]] + [alone[9][:3]]
    assert similarities.shape == (10, 3)
    with pytest.raises(InputError, match="`k` must be between 1 and the 9 other"):
        nearest(tmp_path / "out", vectors[:1], k=10, exclude=["0.png"])
    with pytest.raises(InputError, match="`exclude` must have one"):
        nearest(tmp_path / "out", vectors, k=1, exclude=["0.png"])
