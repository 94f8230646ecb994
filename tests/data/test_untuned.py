"""No iterator of the package has tf.data's autotuner, whose thread delays the end of an iterator by up to a minute."""

import numpy as np
import pytest
import tensorflow as tf

from tests.fitting.folders import write
from tfcontrastive import augment, data
from tfcontrastive.data.untuned import untuned

GEOMETRY = augment.policy("simclr").geometry


@pytest.fixture(params=["folder", "records", "tfds", "held", "part"])
def source(request, tmp_path):
    if request.param == "folder":
        write(tmp_path / "photos", 4)
        return data.load(f"folder:{tmp_path}/photos", cache=False)
    if request.param == "records":
        with tf.io.TFRecordWriter(f"{tmp_path}/a.tfrecord") as file:
            for number in range(4):
                image = tf.io.encode_png(np.full((8, 8, 3), number, np.uint8)).numpy()
                features = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))}
                file.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
        return data.load(f"tfrecord:{tmp_path}/a.tfrecord", cache=False)
    if request.param == "tfds":
        return data.load("embedded", cache=False)
    held = data.ArraySource({"train": (np.zeros((4, 8, 8, 3), np.uint8), np.arange(4))})
    return held if request.param == "held" else data.Subset(held, {"train": ("train", np.arange(3))})


def test_batches_and_references_have_no_autotuner(source):
    made = [
        data.train_batches(source, "train", batch_size=2, image_size=8, geometry=GEOMETRY, seed=0),
        data.eval_batches(source, "train", batch_size=2, image_size=8),
    ]
    if source.arrays("train") is None:
        made.append(source.references("train"))
    assert [dataset.options().autotune.enabled for dataset in made] == [False] * len(made)
    assert all(len(tf.nest.flatten(next(iter(dataset)))) > 1 for dataset in made)


def test_what_follows_has_none_either():
    dataset = untuned(tf.data.Dataset.range(6)).map(lambda x: x + 1, num_parallel_calls=tf.data.AUTOTUNE).batch(2)
    assert dataset.options().autotune.enabled is False
    assert [batch.tolist() for batch in dataset.as_numpy_iterator()] == [[1, 2], [3, 4], [5, 6]]
