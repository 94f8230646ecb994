import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.evaluate import Invariances
from tfcontrastive.evaluate.invariances import TASKS

RNG = np.random.default_rng(0)
PROTOCOL = Invariances(train_images=100, eval_images=50, hidden_units=16, max_epochs=60, noise=0.2)


def source(channels):
    """Lit from above, and each in a color of its own."""
    light = np.linspace(200, 20, 8)[None, :, None, None]
    color = RNG.uniform(0.2, 1, (150, 1, 1, channels))
    images = (light * color + RNG.integers(0, 8, (150, 8, 8, channels))).clip(0, 255).astype(np.uint8)
    labels = np.arange(150) % 2
    return data.arrays.ArraySource({"train": (images[:100], labels[:100]), "test": (images[100:], labels[100:])})


class Encoder:
    """Whole pixels as features; a projection that keeps their mean alone."""

    def __call__(self, images, training=False):
        return tf.reshape(images, [tf.shape(images)[0], -1])

    def projection_head(self, features, training=False):
        return tf.reduce_mean(features, axis=1, keepdims=True)


def test_pixels_know_all_and_their_mean_does_not_know_rotations():
    values = PROTOCOL.run(Encoder(), source(3))
    assert set(values) == {f"invariances_{of}_{task}_accuracy" for of in "hg" for task in TASKS}
    assert min(values[f"invariances_h_{task}_accuracy"] for task in ("rotation", "noise", "sobel", "color")) > 0.85
    assert values["invariances_g_rotation_accuracy"] < 0.4
    assert values["invariances_g_color_accuracy"] < 0.65


def test_without_a_head_and_without_color_there_is_less_to_tell():
    encoder = Encoder()
    values = PROTOCOL.run(lambda images, training=False: encoder(images), source(1))
    assert set(values) == {f"invariances_h_{task}_accuracy" for task in ("rotation", "noise", "sobel")}


@pytest.mark.parametrize(
    ("task", "shown"), [(task, shown) for task, ways in TASKS.items() for shown in range(len(ways))]
)
def test_altered_images_stay_images(task, shown):
    way = TASKS[task][shown]
    images = tf.random.stateless_uniform([3, 8, 8, 3], [0, 0])
    altered = way(images, tf.constant([[0, 1], [0, 2], [0, 3]]), 0.3)
    assert altered.shape == images.shape
    assert 0 <= tf.reduce_min(altered) <= tf.reduce_max(altered) <= 1


def test_too_few_images():
    images = np.zeros([9, 8, 8, 3], np.uint8)
    source = data.arrays.ArraySource({name: (images, np.arange(9) % 2) for name in ("train", "test")})
    with pytest.raises(InputError, match=r"must hold 10 images or more\. Received: 'train' of .*, with 9"):
        Invariances().run(lambda images, training: images[:, 0, 0], source)


def test_sobel_by_hand():
    images = np.zeros([1, 5, 5, 1], np.float32)
    images[:, :, 3:] = 1
    edges = TASKS["sobel"][1](tf.constant(images), None, 0)[0, :, :, 0].numpy()
    np.testing.assert_allclose(edges, np.tile([0, 0, 1, 1, 0], (5, 1)), atol=1e-6)


def test_noise_is_seeded_by_image():
    images = tf.fill([2, 8, 8, 1], 0.5)
    noisy = TASKS["noise"][1]
    both = noisy(images, tf.constant([[0, 1], [0, 2]]), 0.1)
    np.testing.assert_array_equal(both[1:], noisy(images[:1], tf.constant([[0, 2]]), 0.1))
    assert np.std(both) == pytest.approx(0.1, rel=0.2)
    assert np.abs(both[0] - both[1]).max() > 0
