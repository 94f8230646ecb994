"""A method of several crops, of two sizes, is one class: nothing of the base, the data or the command changes for it."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import argv, write_images
from tests.methods.cases import fit
from tfcontrastive import data
from tfcontrastive.commands.main import main
from tfcontrastive.config import AugmentConfig
from tfcontrastive.encoders import ViT
from tfcontrastive.methods import method_class

GLOBAL, LOCAL = 8, 4  # as in crops.py
METHOD = f"{pathlib.Path(__file__).with_name('crops.py')}:Crops"
Crops = method_class(METHOD)


def model(**options):
    keras.utils.set_random_seed(0)
    encoder = ViT(width=16, depth=1, num_heads=1, patch_size=2)
    made = Crops(encoder, **options)
    # So slow that the loss, 1 - cosine, stays above .1: near zero its rounding, 1e-7, is no longer small.
    made.compile(optimizer=keras.optimizers.SGD(1e-5))
    return made


def test_batches_have_each_views_own_crop_and_size():
    rows = np.linspace(0, 255, 32, dtype=np.uint8)[:, None, None]
    images = np.broadcast_to(rows, (16, 32, 32, 3))  # a ramp: the range of a crop is its height
    source, policy = data.ArraySource({"train": (images, None)}), Crops.make_policy(AugmentConfig())
    batches = data.train_batches(source, "train", batch_size=16, image_size=GLOBAL, geometry=policy.geometries, seed=0)
    views = next(iter(batches))["views"]
    assert [view.shape[1] for view in views] == [GLOBAL, GLOBAL, LOCAL, LOCAL, LOCAL]
    heights = [np.ptp(view.numpy(), axis=(1, 2, 3)).max() for view in views]
    assert max(heights[2:]) < 0.14**0.5 * (4 / 3) ** 0.5 + 0.05 < min(heights[:2])


@pytest.mark.usefixtures("eagerly")
def test_two_replicas_learn_what_one_does(two_replicas):
    rng = np.random.default_rng(0)
    batch = {
        "views": tuple(rng.random((3, 16, size, size, 3), np.float32) for size in (GLOBAL,) * 2 + (LOCAL,) * 3),
        "seeds": rng.integers(0, 99, (3, 16, 5, 2), dtype=np.int32),
    }
    batches = tf.data.Dataset.from_tensor_slices(batch)
    alone = fit(model(), batches)
    with two_replicas.scope():
        together = model()
    np.testing.assert_allclose(fit(together, batches), alone, rtol=1e-5)


def test_whole_images_give_views_of_each_size():
    views = model().augment_images(tf.random.stateless_uniform([2, GLOBAL, GLOBAL, 3], [0, 1]))
    assert [view.shape[1] for view in views] == [GLOBAL, GLOBAL, LOCAL, LOCAL, LOCAL]


def test_the_command_trains_and_exports_it(tmp_path):
    dataset = write_images(tmp_path / "images.npz")
    flags = {"method": METHOD, "train_steps": 2, "eval_split": "train", "knn_k": 5}
    assert main(argv(dataset, tmp_path / "run", **flags)) == 0
    record = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert record["views"] == 5
    assert (tmp_path / "run" / "saved_model" / "1" / "saved_model.pb").exists()
