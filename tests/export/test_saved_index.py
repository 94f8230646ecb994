"""A set of embeddings inside the SavedModel: what it finds, where it runs, and what is refused."""

import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.export.serving_stub import ServingStub
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.export import (
    CppSession,
    EmbeddingClient,
    EmbeddingWriter,
    SavedIndex,
    ServingError,
    add_index,
    index_memory,
    model_digest,
    model_facts,
    nearest,
    read_card,
    save_model,
    saved_index,
    serve_check,
)
from tfcontrastive.export.model_card import meta_graph

ROWS, DIM = 30, 6
FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"


def write(path, vectors, *, dtype="float32", model=None, labels=None, shard_rows=7):
    writer = EmbeddingWriter(
        path,
        vectors.shape[1],
        dtype=dtype,
        shard_rows=shard_rows,
        labels=labels and "name",
        facts={"model": model or {}},
    )
    for row, vector in enumerate(vectors):
        writer.add(f"image {row} é", vector, labels[row] if labels else None)
    writer.finish()
    return path


@pytest.fixture(scope="module")
def vectors():
    return np.random.RandomState(0).randn(ROWS, DIM).astype(np.float32)


@pytest.fixture(scope="module")
def index(vectors, exported, tmp_path_factory):
    labels = [f"class {row % 3}" if row else None for row in range(ROWS)]
    return write(tmp_path_factory.mktemp("set") / "vectors", vectors, model=model_facts(exported), labels=labels)


@pytest.fixture(scope="module")
def searchable(exported, index, tmp_path_factory):
    return add_index(exported, index, tmp_path_factory.mktemp("searchable"))


@pytest.fixture(scope="module")
def session(searchable):
    with CppSession(searchable) as session:
        yield session


def found_by_numpy(index, queries, k):
    ids, similarities = nearest(index, queries, k=k, backend="numpy")
    return np.array(ids, object), similarities


def as_text(values):
    return np.vectorize(lambda value: value.decode(), otypes=[object])(values)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_the_order_is_numpys_at_any_scale_and_in_blocks(dtype, vectors, tmp_path, monkeypatch):
    scaled = vectors * np.logspace(-12, 12, ROWS, dtype=np.float32)[:, None]
    path = write(tmp_path / "set", scaled, dtype=dtype)
    monkeypatch.setattr(saved_index, "_BLOCK_BYTES", 4 * DIM * 8)  # blocks of 8 rows, shards of 7
    held = SavedIndex(path)
    assert [block.shape[0] for block in held.blocks] == [8, 8, 8, 6]
    assert held.blocks[0].dtype == dtype
    queries = np.random.RandomState(1).randn(4, DIM).astype(np.float32)
    for k in (1, 9, ROWS):
        found = held.nearest(tf.constant(queries), tf.constant(k))
        ids, similarities = found_by_numpy(path, queries, k)
        np.testing.assert_array_equal(as_text(found["ids"].numpy()), ids)
        np.testing.assert_allclose(found["similarities"], similarities, atol=2e-3 if dtype == "float16" else 1e-6)


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.integers(0, 3), min_size=2, max_size=24), block=st.integers(1, 9), k=st.integers(1, 24))
def test_of_equals_the_first_rows_come_first(rows, block, k):
    directions = np.concatenate([np.eye(3, dtype=np.float32), np.zeros([1, 3], np.float32)])  # 3: similar to nothing
    held = SavedIndex.__new__(SavedIndex)
    stored = directions[rows]
    held.rows, held.dim, held.blocks, held.inverse_lengths = len(rows), 3, [], []
    for start in range(0, len(rows), block):
        part, inverse = saved_index._as_stored(stored[start : start + block], "float32")
        held.blocks.append(tf.constant(part))
        held.inverse_lengths.append(tf.constant(inverse))
    held.ids, held.labels = tf.constant([str(row) for row in range(len(rows))]), tf.constant([""] * len(rows))
    k = min(k, len(rows))
    found = held.nearest(tf.constant([[1.0, 0.0, 0.0]]), tf.constant([k]))
    expected = np.argsort(-(stored @ [1.0, 0.0, 0.0]), kind="stable")[:k]
    assert as_text(found["ids"].numpy())[0].tolist() == [str(row) for row in expected]


def test_every_consumer_finds_the_same(searchable, session, exported, index, images):
    embed = tf.saved_model.load(exported).signatures
    ids, similarities = found_by_numpy(index, embed["serving_default"](images=images)["embedding"].numpy(), 4)
    loaded = tf.saved_model.load(searchable)
    layer = keras.layers.TFSMLayer(searchable, call_endpoint="nearest")
    answers = {
        "signature": loaded.signatures["nearest"](images=tf.constant(images), k=tf.constant(4)),
        "layer": layer(images, k=4),
        "C++": session.run("nearest", images=images, k=np.int32(4)),
        "one k for each image": session.run("nearest", images=images, k=np.full(3, 4, np.int32)),
    }
    for name, answer in answers.items():
        np.testing.assert_array_equal(as_text(np.asarray(answer["ids"])), ids, err_msg=name)
        np.testing.assert_allclose(answer["similarities"], similarities, atol=1e-5, err_msg=name)
    labels = as_text(np.asarray(answers["C++"]["labels"]))
    assert labels[0].tolist() == ["" if row == "image 0 é" else f"class {int(row.split()[1]) % 3}" for row in ids[0]]
    seen = serve_check._Export(searchable, None, "encoder")
    assert "nearest_bytes" in serve_check._signatures(seen)
    assert serve_check._no_side_effect(seen)


def test_an_export_stays_what_it_was(searchable, exported):
    assert model_digest(searchable) == model_digest(exported)
    card, before = read_card(searchable), read_card(exported)
    assert card["index"] == {"rows": ROWS, "dim": DIM, "dtype": "float32"}
    assert card["signatures"]["nearest"]["inputs"]["k"] == {"dtype": "int32", "shape": None}
    assert {key: card[key] for key in before if key != "signatures"} == {
        key: before[key] for key in before if key != "signatures"
    }


def test_no_op_is_newer_than_tensorflow_2_20(searchable):
    """Of all signatures: those of the export, and the search beside them. `tests/fixtures/make_ops.py` made the list."""
    graph = meta_graph(searchable).graph_def
    functions = {function.signature.name for function in graph.library.function}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    used = {node.op for node in nodes} - functions
    assert used - set((FIXTURES / "tensorflow_2.20_ops.txt").read_text().split()) == set()
    assert {"MatMul", "TopKV2", "DecodeImage"} <= used, "the list is compared with all graphs"


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_the_client_asks_for_neighbours(protocol, searchable, session, index, images):
    files = [tf.io.encode_png(tf.image.convert_image_dtype(image, tf.uint8)).numpy() for image in images]
    expected = session.run("nearest_bytes", image_bytes=files, k=np.int32(2))
    stub = ServingStub(searchable, session)
    try:
        with EmbeddingClient(getattr(stub, f"{protocol}_address"), protocol=protocol, batch_size=2) as client:
            found = client.nearest(files, k=2)
            np.testing.assert_array_equal(found.ids, as_text(expected["ids"]))
            np.testing.assert_allclose(found.similarities, expected["similarities"], atol=1e-6)
            np.testing.assert_array_equal(found.labels, as_text(expected["labels"]))
            with pytest.raises(
                ServingError, match=rf"batch 1 .*`k` must be one whole number from 1 to the {ROWS} rows"
            ):
                client.nearest(images, k=ROWS + 1)
    finally:
        stub.close()
    with pytest.raises(InputError, match=r"`k` must be a whole number >= 1\. Received: k=0"):
        client.nearest(images, k=0)


def test_an_index_of_another_model_is_refused_and_nothing_is_left(encoder, exported, vectors, tmp_path):
    other = write(tmp_path / "other", vectors, model={"digest": "0" * 32})
    for build in (
        lambda: add_index(exported, other, tmp_path / "base"),
        lambda: save_model(encoder, tmp_path / "base", image_size=16, index=other),
    ):
        with pytest.raises(InputError, match=r"`index` must be a set of embeddings of this very model.*0{32}"):
            build()
        assert not list(tmp_path.glob("base/*"))


def test_what_cannot_be_an_index(exported, searchable, index, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="`saved_model` must have no index yet"):
        add_index(searchable, index, tmp_path)
    monkeypatch.setattr(saved_index, "MOST_BYTES", 100)
    with pytest.raises(InputError, match=r"`index` must be of at most .* --dtype=int8"):
        SavedIndex(index)
    monkeypatch.undo()
    monkeypatch.setattr(index_memory, "machine_memory", lambda: ROWS * DIM * 4 - 1)
    assert main(["export", f"--saved_model={exported}", f"--index={index}", f"--export_dir={tmp_path / 'base'}"]) == 2
    assert not list(tmp_path.glob("base/*"))
    monkeypatch.setattr(index_memory, "machine_memory", lambda: ROWS * DIM * 4)
    assert SavedIndex(index).rows == ROWS


def of_other_preprocessing(index, exported, encoder):
    """Vectors of the very weights, of images of another size."""
    other = save_model(encoder, index.parent / "larger", image_size=24)
    write(index, np.ones([3, DIM], np.float32), model=model_facts(other))


def half_written(index, exported, encoder):
    write(index, np.ones([9, DIM], np.float32), model=model_facts(exported))
    os.truncate(index / "vectors-00001.npy", 100)


def unfinished(index, exported, encoder):
    writer = EmbeddingWriter(index, DIM, shard_rows=2, facts={"model": model_facts(exported)})
    for row in range(5):
        writer.add(str(row), np.ones(DIM))


def of_another_width(index, exported, encoder):
    write(index, np.ones([3, DIM + 1], np.float32), model=model_facts(exported))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (of_other_preprocessing, "`index` must be a set of embeddings of this very model"),
        (half_written, "bytes in place of"),
        (unfinished, "`index` must be a finished set"),
        (of_another_width, "`index` must have vectors of 6 numbers, as the model gives"),
    ],
)
def test_a_set_that_cannot_be_searched_in_the_model_is_one_line(fault, message, exported, encoder, tmp_path, capsys):
    fault(tmp_path / "vectors", exported, encoder)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    given = [f"--saved_model={exported}", f"--index={tmp_path / 'vectors'}"]
    assert main(["export", *given, f"--export_dir={tmp_path / 'base'}"]) == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert len(told.splitlines()) == 1
    assert sorted(str(path) for path in tmp_path.rglob("*") if path.name != "base") == before


def test_the_command(exported, index, tmp_path, capsys):
    given = [f"--saved_model={exported}", f"--export_dir={tmp_path / 'base'}"]
    assert main(["export", *given, f"--index={index}"]) == 0
    assert f"SavedModel with {ROWS} vectors to search in: {tmp_path / 'base' / '1'}" in capsys.readouterr().out
    for more in ([], [f"--index={index}", "--optimize"], [f"--index={index}", "--format=onnx"]):
        assert main(["export", *given, *more]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
