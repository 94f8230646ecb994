"""What lies beside the checkpoints of two towers: a run goes on, or is read, without the texts that it was made from."""

import json
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.towers.cases import numbers_tower, weights
from tfcontrastive.callbacks import Checkpoints
from tfcontrastive.config import InputError
from tfcontrastive.encoders import TextEncoder
from tfcontrastive.towers import TwoTower, TwoTowerConfig

TEXTS = ["a red shoe", "a blue shirt", "two shoes", "one bag"]


def text_towers(texts=TEXTS):
    keras.utils.set_random_seed(0)
    tower = TextEncoder.of_texts(texts, width=8, depth=1, num_heads=2, sequence_length=4)
    return compiled(TwoTower(tower, config=TwoTowerConfig("sim_cse"), seed=3))


def compiled(model):
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), run_eagerly=True)
    return model


def train(model, saved, steps):
    data = tf.data.Dataset.from_tensors({"query": TEXTS}).repeat(steps)
    return model.fit(data, verbose=0, callbacks=[saved]).history["loss"]


def callback(directory):
    return Checkpoints(str(directory), every_steps=1, last_step=9)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory of two steps, and the model that took them."""
    directory, model = tmp_path_factory.mktemp("run"), text_towers()
    train(model, callback(directory), 2)
    return directory, model


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the directory."""
    return pathlib.Path(shutil.copytree(trained[0], tmp_path / "copy"))


def test_a_run_goes_on_without_its_texts_bit_for_bit(run, trained, tmp_path):
    through = trained[1]
    model, saved = compiled(TwoTower.from_checkpoints(run)), callback(run)
    assert saved.restore(model) == 2
    assert train(model, saved, 1) == train(through, callback(tmp_path / "through"), 1)
    for one, two in zip(weights(through), weights(model), strict=True):
        np.testing.assert_array_equal(one, two)
    first = TwoTower.from_checkpoints(run, step=1)
    assert np.abs(first.query(tf.constant(TEXTS)) - through.query(tf.constant(TEXTS))).max() > 1e-4


def test_the_same_number_of_other_words_is_refused_and_nothing_is_written(run):
    other, before = text_towers([text.replace("shoe", "boot") for text in TEXTS]), sorted(run.iterdir())
    for call in (lambda: callback(run).restore(other), lambda: train(other, callback(run), 1)):
        with pytest.raises(
            InputError, match=r"was trained with, (\d+) words\. Received: \1 words, '\w+' in place"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert sorted(run.iterdir()) == before


def test_words_that_a_layer_was_adapted_to_come_back(tmp_path):
    vectorize = layers.TextVectorization(output_sequence_length=3)
    vectorize.adapt(np.array(TEXTS, object))
    texts = keras.Input((), dtype="string")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(20, 4)(vectorize(texts)))
    model = compiled(TwoTower(numbers_tower(), keras.Model(texts, layers.Dense(4)(x)), TwoTowerConfig("dpr")))
    data = {"query": tf.random.stateless_normal([4, 5], [0, 1]), "key": tf.constant(TEXTS)}
    model.fit(data, verbose=0, callbacks=[callback(tmp_path)])
    found = TwoTower.from_checkpoints(tmp_path)
    np.testing.assert_array_equal(found.key(data["key"]), model.key(data["key"]))
    np.testing.assert_array_equal(found.query(data["query"]), model.query(data["query"]))


def without_file(directory):
    (directory / "towers.json").unlink()


def without_layers(directory):
    facts = json.loads((directory / "towers.json").read_text())
    (directory / "towers.json").write_text(json.dumps({**facts, "model": None}))


def of_another_format(directory):
    (directory / "towers.json").write_text('{"format": 7}')


def damaged(directory):
    (directory / "towers.json").write_text('{"format": 1, "voc')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_file, "`directory` must hold towers.json"),
        (without_layers, "whose towers have no configuration. Make them as they were made"),
        (of_another_format, r"must be of format 1\. Received: format 7"),
        (damaged, r"towers.json must be JSON\. Received: Unterminated"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(change, message, run):
    change(run)
    with pytest.raises(InputError, match=message) as caught:
        TwoTower.from_checkpoints(run)
    assert "\n" not in str(caught.value)


def test_a_directory_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"must hold a checkpoint. Received: {str(tmp_path)!r}")):
        TwoTower.from_checkpoints(tmp_path)


def test_towers_without_a_configuration_keep_their_words(tmp_path):
    class Own(keras.Model):
        def __init__(self, width):
            super().__init__()
            self.dense = layers.Dense(width)
            self.found = layers.StringLookup(vocabulary=["red", "shoe"])

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            return self.dense(x)

    tower = Own(4)
    tower(tf.zeros([2, 5]))
    model = compiled(TwoTower(tower, numbers_tower(), TwoTowerConfig("dpr")))
    model.write_beside(str(tmp_path))
    facts = json.loads((tmp_path / "towers.json").read_text())
    assert facts == {"format": 1, "vocabularies": [["red", "shoe"]], "model": None}
