"""Exports are told apart by what they compute."""

import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.data import Preprocessing
from tfcontrastive.encoders import BatchNorm
from tfcontrastive.export import model_digest, read_card, save_model
from tfcontrastive.export.digest import digest_of_files


def bare(path):
    """The digest of the files of an export, its card aside."""
    return digest_of_files(path, read_card(path)["preprocessing"]["hash"])


def test_the_same_weights_exported_again_have_the_same_digest(make_encoder, exported, tmp_path):
    again = save_model(make_encoder(), tmp_path, image_size=16)  # its layers are counted on: conv2d_1, ...
    assert model_digest(again) == model_digest(exported)
    assert len(model_digest(again)) == 32


def test_neither_heads_nor_optimisation_nor_the_card_are_part_of_it(encoder, exported, tmp_path):
    probe = keras.layers.Dense(3)
    probe.build((None, 6))
    assert model_digest(save_model(encoder, tmp_path, image_size=16, probe=probe)) == model_digest(exported)
    fast = save_model(encoder, tmp_path, image_size=16, optimize=True, card={"metrics": {"knn_top1": 0.5}})
    assert model_digest(fast) == model_digest(exported)


@pytest.mark.parametrize("variable", range(8))
def test_each_weight_is_part_of_it(make_encoder, exported, tmp_path, variable):
    encoder = make_encoder()
    changed = encoder.variables[variable]
    changed.assign(changed + np.eye(1, int(np.prod(changed.shape)), dtype=np.float32).reshape(changed.shape) * 1e-6)
    assert model_digest(save_model(encoder, tmp_path, image_size=16)) != model_digest(exported)


def scaled(encoder, factor):
    """The encoder with the same weights and another operation."""
    images = keras.Input((None, None, 3))
    return keras.Model(images, factor * encoder(images))


def test_architecture_and_preprocessing_are_part_of_it(encoder, exported, tmp_path):
    paths = [
        exported,
        save_model(scaled(encoder, 2.0), tmp_path, image_size=16),
        save_model(scaled(encoder, 3.0), tmp_path, image_size=16),
        save_model(encoder, tmp_path, image_size=24),
        save_model(encoder, tmp_path, image_size=16, preprocessing=Preprocessing(crop=0.5)),
    ]
    assert len({model_digest(path) for path in paths}) == len(paths)


def test_a_card_without_it_is_as_good(exported, tmp_path):
    path = shutil.copytree(exported, tmp_path / "1")
    card = json.loads((path / "model_card.json").read_text())
    kept = card.pop("digest")
    (path / "model_card.json").write_text(json.dumps(card))
    assert model_digest(path) == kept
    (path / "model_card.json").unlink()
    assert len(model_digest(path)) == 32


def test_a_file_system_of_tensorflow(encoder, exported):
    path = save_model(encoder, "ram://test_a_file_system_of_tensorflow", image_size=16)
    assert tf.io.gfile.listdir(os.path.dirname(path)) == ["1"]
    assert bare(path) == model_digest(path) == model_digest(exported)


def test_our_layers_and_branches_in_the_graph(tmp_path):
    """The encoder's own graph may hold functions: a condition, a loop."""

    @keras.saving.register_keras_serializable("tests")
    class Branch(keras.layers.Layer):
        def __init__(self, factor=2.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return tf.cond(tf.reduce_mean(x) > 0, lambda: self.factor * x, lambda: x)

    def network(factor):
        keras.utils.set_random_seed(3)
        inner = keras.Sequential(
            [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), BatchNorm(), keras.layers.GlobalAveragePooling2D()]
        )
        images = keras.Input((8, 8, 3))
        return keras.Model(images, inner(Branch(factor)(images)))

    first, again, other = (model_digest(save_model(network(factor), tmp_path)) for factor in (2.0, 2.0, 3.0))
    assert first == again != other


def test_another_project_s_model(tmp_path):
    def write(name, value, operation):
        module = tf.Module()
        module.weight = tf.Variable(value)
        module.serve = tf.function(
            lambda x: {"y": operation(x, module.weight)}, input_signature=[tf.TensorSpec([None], name="x")]
        )
        tf.saved_model.save(module, str(tmp_path / name), signatures={"classify": module.serve})
        return model_digest(tmp_path / name)

    first = write("a", 2.0, tf.multiply)
    assert first == write("b", 2.0, tf.multiply)
    assert first != write("c", 3.0, tf.multiply)
    assert first != write("d", 2.0, tf.add)
