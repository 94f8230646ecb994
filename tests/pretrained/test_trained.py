"""A trained encoder is the same one, whichever way it is loaded."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive
from tests.commands.runs import RESNET, argv, write_images
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.pretrained.trained import ARCHITECTURE, SavedEncoder, load_trained

IMAGES = np.random.RandomState(0).rand(3, 8, 8, 3).astype("float32")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained")
    dataset = write_images(path / "images.npz")
    assert main(argv(dataset, path / "run", train_steps=2, knn_epochs=0, knn_k=5, **RESNET)) == 0
    return path / "run"


def test_a_run_and_its_export_hold_one_encoder(run_dir):
    run, export = load_trained(checkpoint=str(run_dir)), load_trained(saved_model=str(run_dir / "saved_model"))
    assert isinstance(export.encoder, keras.Model)
    np.testing.assert_array_equal(run.encoder(IMAGES), export.encoder(IMAGES))
    assert (run.image_size, run.channels) == (export.image_size, export.channels) == (8, 3)
    assert run.projection_head(run.encoder(IMAGES)).shape == (3, 8)
    assert run.supervised_head(run.encoder(IMAGES)).shape == (3, 4)


def test_load_tells_a_run_from_an_export_and_from_published_weights(run_dir, tmp_path):
    expected = load_trained(checkpoint=str(run_dir)).encoder(IMAGES)
    for place in (run_dir, run_dir / "saved_model", run_dir / "saved_model" / "1"):
        found = tfcontrastive.load(place)
        np.testing.assert_array_equal(found.encoder(IMAGES), expected)
        assert repr(found) == f"Trained({found.name}; images (None, 8, 8, 3))"
    with pytest.raises(InputError, match="nothing_here"):
        tfcontrastive.load(tmp_path / "nothing_here")


def test_an_export_of_an_unknown_architecture_can_still_be_called(run_dir, tmp_path):
    path = tmp_path / "model"
    shutil.copytree(run_dir / "saved_model" / "1", path)
    (path / ARCHITECTURE).unlink()
    trained = load_trained(saved_model=str(path))
    assert isinstance(trained.encoder, SavedEncoder)
    assert trained.encoder.input_shape == (None, 8, 8, 3)
    known = load_trained(checkpoint=str(run_dir)).encoder
    np.testing.assert_allclose(trained.encoder(IMAGES), known(IMAGES), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flag", ["none", "trainable"])
def test_a_saved_model_that_is_called_otherwise_is_refused(flag, tmp_path):
    class Other(tf.Module):
        @tf.function
        def alone(self, images):
            return tf.reduce_mean(images, [1, 2])

        @tf.function
        def published(self, images, trainable):  # as google-research/simclr's
            return {"final_avg_pool": tf.reduce_mean(images, [1, 2])}

    module, images = Other(), tf.TensorSpec([None, None, None, 3])
    module.__call__ = module.alone if flag == "none" else module.published
    module.__call__.get_concrete_function(images, **({} if flag == "none" else {"trainable": False}))
    tf.saved_model.save(module, str(tmp_path))
    with pytest.raises(InputError, match=r"loaded\(images, training=False\).*for --checkpoint"):
        load_trained(saved_model=str(tmp_path))


def test_a_network_by_name():
    trained = load_trained(encoder="resnet18", image_size=8)
    assert trained.encoder(tf.zeros([1, 8, 8, 3])).shape == (1, 512)


@pytest.mark.parametrize("places", [{}, {"checkpoint": "a", "saved_model": "b"}])
def test_one_place_must_be_given(places):
    with pytest.raises(InputError, match="exactly one of checkpoint, saved_model and encoder"):
        load_trained(**places)


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(InputError, match="`saved_model` must be a SavedModel"):
        load_trained(saved_model=str(tmp_path / "none"))
    with pytest.raises(InputError, match="the directory holds no run, no checkpoint"):
        load_trained(checkpoint=str(tmp_path))
