"""Shards of a set, made by many machines: together they are what one run writes."""

import json
import os
import pathlib
import re
import shutil

import pytest

from tests.export.fake_encoder import FakeEncoder
from tfcontrastive import export
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.export import EmbeddingFiles, ItemsShard, embed, embed_images, merge_embeddings
from tfcontrastive.export.merge import shard_path

ITEMS = 23


def items(start):
    for i in range(start, ITEMS):
        yield f"image {i} é.png", str(i).encode(), ["cat", None, "dog"][i % 3]


items.labels, items.fingerprint, items.stamps = "name", "23 files", {f"{i}": "1" for i in range(ITEMS)}


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(embed, "_Encoder", FakeEncoder)
    monkeypatch.setattr(embed, "latest_version", str)


def embed_shard(output, index, count, batch_size=4, source=items, **options):
    shard = ItemsShard(source, index, count, total=ITEMS, batch_size=batch_size)
    return embed_images(
        "model", shard, shard_path(output, index, count), batch_size=batch_size, shard_rows=5, **options
    )


def contents(directory):
    return {path.name: path.read_bytes() for path in pathlib.Path(directory).iterdir()}


@pytest.mark.parametrize("count", [1, 3, 9])  # 9: more than there are batches
@pytest.mark.parametrize(
    ("format", "dtype"), [("npy", "float16"), ("npy", "int8"), ("parquet", "float16"), ("tfrecord", "float32")]
)
def test_merged_shards_are_one_runs_files_byte_for_byte(tmp_path, count, format, dtype):
    options = {"format": format, "dtype": dtype}
    embed_images("model", items, tmp_path / "one", batch_size=4, shard_rows=5, **options)
    for index in reversed(range(count)):
        embed_shard(tmp_path / "many", index, count, **options)
    merged = merge_embeddings(tmp_path / "many")
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert merged.digest == EmbeddingFiles(tmp_path / "one").digest
    assert merged.labels[:3] == ["cat", None, "dog"]
    assert [name for name in os.listdir(tmp_path) if "tmp" in name] == []


def test_the_digest_is_of_content_and_of_sets_before_it_was_kept(tmp_path):
    digests = set()
    for dtype in ("float32", "int8"):
        embed_images("model", items, tmp_path / dtype, dtype=dtype)
        digests.add(EmbeddingFiles(tmp_path / dtype).digest)
    manifest = tmp_path / "int8" / "manifest.json"
    held = json.loads(manifest.read_text())
    for shard in held["shards"]:
        del shard["sha256"]
    manifest.write_text(json.dumps(held))
    digests.add(EmbeddingFiles(tmp_path / "int8").digest)
    assert len(digests) == 2
    vectors = tmp_path / "int8" / "vectors-00000.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"\x55")
    assert EmbeddingFiles(tmp_path / "int8").digest not in digests


def test_a_shard_that_was_stopped_goes_on(tmp_path):
    def stop(rows, bad):
        if rows >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_shard(tmp_path / "out", 0, 2, progress=stop)
    embed_shard(tmp_path / "out", 1, 2)
    with pytest.raises(InputError, match=r"finished shards.*out-00000-of-00002, which is not. Start --shard=0/2 again"):
        merge_embeddings(tmp_path / "out")
    embed_shard(tmp_path / "out", 0, 2)
    merged = merge_embeddings(tmp_path / "out")
    assert merged.ids == [f"image {i} é.png" for i in range(ITEMS) if i % 7 != 3]
    assert [name for name, _ in merged.skipped] == [f"image {i} é.png" for i in (3, 10, 17)]


def another(start):
    return items(start)


another.labels, another.fingerprint = "name", "other files"


def put(out, index, write):
    """Another shard in the place of one of three."""
    shutil.rmtree(shard_path(out, index, 3))
    write(shard_path(out, index, 3))


FAULTS = {
    "none": (lambda out: [shutil.rmtree(f"{out}-0000{i}-of-00003") for i in range(3)], "no shard"),
    "missing": (lambda out: shutil.rmtree(f"{out}-00001-of-00003"), "1 missing: 1/3"),
    "empty": (lambda out: put(out, 1, os.mkdir), "without one"),
    "of two runs": (lambda out: embed_shard(out, 0, 2), "shards of 2 and of 3"),
    "half": (lambda out: os.truncate(f"{out}-00002-of-00003/vectors-00000.npy", 100), "bytes in place of"),
    "copied": (lambda out: put(out, 1, lambda to: shutil.copytree(shard_path(out, 0, 3), to)), "follow each other"),
    "of other images": (
        lambda out: put(out, 1, lambda to: embed_shard(out, 1, 3, source=another)),
        "made alike.*'other files'",
    ),
    "of other batches": (lambda out: put(out, 1, lambda to: embed_shard(out, 1, 3, batch_size=5)), "follow each other"),
    "there already": (lambda out: (os.mkdir(out), open(f"{out}/mine", "w").close()), "`output` must be new"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_whole_is_refused_in_one_line_and_nothing_is_written(tmp_path, capsys, fault):
    for index in range(3):
        embed_shard(tmp_path / "out", index, 3)
    damage, message = FAULTS[fault]
    damage(tmp_path / "out")
    before = sorted(os.listdir(tmp_path))
    assert main(["embed", "--merge", f"--output={tmp_path / 'out'}"]) == 2
    told = capsys.readouterr().err
    assert re.search(message, told), told
    assert len(told.splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_the_command_cuts_a_folder_and_its_merged_set_says_where_the_model_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "latest_version", str, raising=False)
    (tmp_path / "photos").mkdir()
    for i in range(6):
        (tmp_path / "photos" / f"{i}.txt.png").write_text(str(i))
    given = ["embed", "--saved_model=model", f"--dataset=folder:{tmp_path / 'photos'}", "--batch_size=2"]
    assert main([*given, f"--output={tmp_path / 'one'}"]) == 0
    for shard in ("1/2", "0/2"):
        assert main([*given, f"--output={tmp_path / 'many'}", f"--shard={shard}"]) == 0
    assert f"2 vectors in {tmp_path / 'many-00000-of-00002'}" in capsys.readouterr().out
    assert main(["embed", "--merge", f"--output={tmp_path / 'many'}"]) == 0
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert "saved_model.txt" in contents(tmp_path / "many")


def test_all_that_a_killed_merge_leaves_is_removed(tmp_path, capsys):
    embed_shard(tmp_path / "out", 0, 1)
    (tmp_path / ".out.1234.merge.tmp").mkdir()
    assert main(["embed", "--merge", f"--output={tmp_path / 'out'}/"]) == 0
    assert "20 vectors in" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path)) == ["out", "out-00000-of-00001"]


@pytest.mark.parametrize("given", ["4/4", "1", "a/b", "-1/4", "0/0", "0/4/1"])
def test_a_shard_that_is_none(given, capsys):
    assert main(["embed", f"--shard={given}"]) == 2
    assert "`shard` must be i/n with i from 0 to n - 1, such as 0/4" in capsys.readouterr().err


def test_merge_takes_nothing_else(capsys):
    assert main(["embed", "--merge", "--output=out", "--dtype=int8"]) == 2
    assert "`merge` takes `output` alone" in capsys.readouterr().err
