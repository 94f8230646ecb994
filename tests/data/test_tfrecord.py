import subprocess
import sys

import pytest
import tensorflow as tf

from tests.data.grays import COUNT, STEP, make_records, write_records
from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.data.images import decode


def contents(source, split="train", seeds=None):
    """(image, label) of each record."""
    return [
        (int(decode(reference, 3)[0, 0, 0]) // STEP, int(label)) for reference, label in source.references(split, seeds)
    ]


def test_records_come_in_order_with_their_labels(tmp_path):
    source = make_records(tmp_path)
    assert contents(source) == [(index, index) for index in range(COUNT)]
    assert (source.num_classes, source.splits, source.num_examples("train")) == (COUNT, ("train",), COUNT)


def test_shuffled_records_are_all_there(tmp_path):
    assert sorted(contents(make_records(tmp_path), seeds=tf.constant([3, 4], tf.int64))) == [
        (index, index) for index in range(COUNT)
    ]


def test_slices_are_disjoint_and_complete(tmp_path):
    source = make_records(tmp_path)
    parts = contents(source, "train[:70%]"), contents(source, "train[70%:]")
    assert [len(part) for part in parts] == [7, 3]
    assert sorted(parts[0] + parts[1]) == [(index, index) for index in range(COUNT)]


def test_short_keys_and_no_labels(tmp_path):
    write_records(tmp_path / "x", range(3), image_key="image", label_key=None)
    source = data.load(f"tfrecord:{tmp_path / 'x'}")
    assert contents(source) == [(0, -1), (1, -1), (2, -1)]
    assert source.num_classes is None


def test_small_images_of_one_size_are_held(tmp_path):
    write_records(tmp_path / "x", [0, 3, 6])
    images, labels = data.load(f"tfrecord:{tmp_path / 'x'}").arrays("train")
    assert images.shape == (3, 8, 9, 3)
    assert labels.tolist() == [0, 3, 6]


def test_files_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "text").write_text("hello, this is not a record")
    tf.io.TFRecordWriter(str(tmp_path / "empty")).close()
    write_records(tmp_path / "keys", [0], image_key="picture")
    write_records(tmp_path / "negative", [0], label=-5)
    write_records(tmp_path / "huge", [0], label=2_000_000_000)
    for name in ("missing", "text", "empty", "keys", "negative", "huge"):
        with pytest.raises(InputError, match=name):
            data.load(f"tfrecord:{tmp_path / name}").num_examples("train")


def test_a_damaged_file_is_named(tmp_path):
    write_records(tmp_path / "x", range(5))
    content = bytearray((tmp_path / "x").read_bytes())
    content[-30] ^= 1
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        data.load(f"tfrecord:{tmp_path / 'x'}").num_examples("train")


def test_records_are_read_on_one_core(tmp_path):
    write_records(tmp_path / "a.tfrecord", range(3))
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from tfcontrastive import data\n"
        f"print(data.load('tfrecord:{tmp_path}/a.tfrecord').num_examples('train'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["3"]), done.stderr
