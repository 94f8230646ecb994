"""Training, evaluation and serving see the same pixels of the same file."""

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.augment import Geometry
from tfcontrastive.export import decode_images


@pytest.fixture(params=["jpg", "png"])
def folder(request, tmp_path):
    x, y = np.meshgrid(np.linspace(0, 1, 50), np.linspace(0, 1, 50))
    pixels = (np.stack([x, y, x * y], axis=-1) * 255).astype("uint8")
    encoded = tf.io.encode_jpeg(pixels) if request.param == "jpg" else tf.io.encode_png(pixels)
    for i in range(2):
        (tmp_path / f"{i}.{request.param}").write_bytes(encoded.numpy())
    return tmp_path


@pytest.mark.parametrize("size", [24, 48])
def test_evaluation_equals_serving(folder, size):
    source = data.load(f"folder:{folder}")
    batch = next(iter(data.eval_batches(source, "train", batch_size=1, image_size=size)))
    contents = [sorted(folder.iterdir())[0].read_bytes()]
    np.testing.assert_array_equal(decode_images(tf.constant(contents), size=size), batch["image"])


def test_training_equals_serving_when_nothing_is_cropped(folder):
    whole = Geometry(min_area=1.0, max_area=1.0, min_ratio=1.0, max_ratio=1.0, flip=0.0)
    source = data.load(f"folder:{folder}")
    batch = next(iter(data.train_batches(source, "train", batch_size=1, image_size=24, geometry=whole, seed=0)))
    contents = [sorted(folder.iterdir())[0].read_bytes()]
    for view in batch["views"]:
        np.testing.assert_allclose(view, decode_images(tf.constant(contents), size=24), atol=1e-6)
