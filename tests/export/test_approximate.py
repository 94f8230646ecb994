"""An approximate index beside a set: what it finds, and that it is never another set's."""

import os

import faiss
import numpy as np
import pytest

from tfcontrastive import export
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.export import ApproximateIndex, EmbeddingWriter, index_memory, nearest

ROWS, DIM, GROUPS = 1500, 8, 30


def made_vectors(seed):
    """In groups, as embeddings are."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((GROUPS, DIM))
    return np.float32(centres[random.integers(0, GROUPS, ROWS)] + 0.3 * random.standard_normal((ROWS, DIM)))


def write(path, vectors, format="npy", dtype="float32"):
    facts = {"model": {"digest": "d" * 32}, "source": "folder:/photos"}
    writer = EmbeddingWriter(path, DIM, format=format, dtype=dtype, shard_rows=400, facts=facts)
    for row, vector in enumerate(vectors):
        writer.add(f"{row} é.png", vector)
    writer.finish()
    return path


@pytest.fixture
def index(tmp_path):
    return write(tmp_path / "vectors", made_vectors(0))


def recall(found, expected):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, expected, strict=True)])


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_it_finds_what_the_exact_search_finds_and_is_mapped(index, kind):
    queries = made_vectors(0)[:40] + 0.01
    told = []
    ids, similarities = nearest(index, queries, k=10)
    for _ in range(2):
        approximate = ApproximateIndex(index, kind, building=told.append)
        found, values = approximate.nearest(queries, k=10, effort=64)
        assert recall(found, ids) > 0.97
        np.testing.assert_allclose(values[:, 0], similarities[:, 0], atol=1e-3)
    assert len(told) == 1, "it is built once"
    with open("/proc/self/maps", encoding="utf-8") as maps:
        assert approximate.path in maps.read()


@pytest.mark.parametrize(("format", "dtype"), [("parquet", "int8"), ("tfrecord", "float16")])
def test_any_set_and_a_query_without_itself(tmp_path, format, dtype):
    vectors = made_vectors(1)
    path = write(tmp_path / "vectors", vectors, format, dtype)
    ids, _ = ApproximateIndex(path).nearest(vectors[:5], k=3, exclude=[f"{row} é.png" for row in range(4)] + [None])
    assert ids[4][0] == "4 é.png"
    assert not any(f"{row} é.png" in ids[row] for row in range(4))
    (saved,) = (name for name in os.listdir(path) if name.endswith(".faiss"))
    assert saved.startswith(
        "_approximate" if format == "parquet" else "approximate"
    )  # readers of Parquet pass over `_`


def test_few_lists_are_looked_at_until_there_are_enough(index):
    ids, _ = ApproximateIndex(index).nearest(made_vectors(0)[:2], k=ROWS, effort=1)
    assert [len(set(row)) for row in ids] == [ROWS, ROWS]


def test_that_of_another_state_of_the_set_is_not_used_and_goes(index):
    old = ApproximateIndex(index)
    for path in index.iterdir():
        if path != old.path and "faiss" not in path.name:
            path.unlink()
    vectors = made_vectors(5)
    write(index, vectors)
    new = ApproximateIndex(index)
    assert new.nearest(vectors[:1], k=1)[0] == [["0 é.png"]]
    assert [path for path in os.listdir(index) if "faiss" in path] == [os.path.basename(new.path)]
    assert new.path != old.path


def test_a_set_larger_than_memory_is_told_of_before_the_work(index, monkeypatch):
    monkeypatch.setattr(index_memory, "machine_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"`index` must fit in memory.*Leave out --approximate"):
        ApproximateIndex(index)


def test_a_file_that_is_not_whole_is_one_line(index):
    approximate = ApproximateIndex(index)
    path, whole = approximate.path, os.path.getsize(approximate.path)
    del approximate
    for size in (0, 10, whole // 2):
        os.truncate(path, size)
        with pytest.raises(InputError, match=r"whole approximate index.*Delete that file") as caught:
            ApproximateIndex(index)
        assert "\n" not in str(caught.value)
    faiss.write_index(faiss.IndexFlatIP(DIM), path)
    with pytest.raises(InputError, match="with 0 x 8 numbers"):
        ApproximateIndex(index)


def test_the_command(index, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "latest_version", str, raising=False)
    monkeypatch.setattr(export, "model_digest", lambda path: "d" * 32, raising=False)
    monkeypatch.setattr(export, "embed_files", lambda model, images: made_vectors(0)[:1], raising=False)
    given = ["search", f"--index={index}", "--saved_model=model", "--k=2", "cat.jpg"]
    assert main([*given, "--approximate"]) == 0
    output = capsys.readouterr()
    assert "0 é.png" in output.out
    assert "of 1,500 vectors, once" in output.err
    for wrong in (["--effort=3"], ["--approximate", "--effort=0"], ["--approximate", "--backend=numpy"]):
        assert main([*given, *wrong]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
