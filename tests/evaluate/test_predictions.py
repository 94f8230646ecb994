"""What is kept of a classifier's answers, and what an encoder is compared with."""

import numpy as np
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.data import ArraySource
from tfcontrastive.evaluate import KNN, LabelledFeatures, Linear, Predictions, RawPixels, images_of

RNG = np.random.default_rng(0)


def features():
    labels = np.arange(40) % 4
    centres = np.eye(4, 6)[labels]

    def some():
        return (centres + 0.4 * RNG.normal(size=(40, 6))).astype(np.float32)

    return LabelledFeatures(some(), labels, some(), labels, 4)


def test_predictions_are_those_that_the_accuracy_is_of():
    given = features()
    for evaluator, name in ((KNN(k=5), "knn_top1"), (Linear(), "linear_top1")):
        values, said = evaluator.measured(given)
        assert values == evaluator.measure(given)
        assert np.mean(said.classes == said.labels) == values[name]
        assert 0.25 <= said.confidences.min() <= said.confidences.max() <= 1 + 1e-6


def test_a_class_without_a_vote_has_no_probability():
    said = Predictions.of_votes([0, 1], np.array([[3.0, 1.0, -np.inf], [-np.inf, -np.inf, 2.0]]))
    assert said.classes.tolist() == [0, 2]
    assert said.confidences.tolist() == [0.75, 1.0]


def test_raw_pixels_are_shrunk_to_their_means():
    images = RNG.random((2, 64, 96, 3), np.float32)
    slow = images.reshape(2, 32, 2, 32, 3, 3).mean(axis=(2, 4)).reshape(2, -1)
    np.testing.assert_allclose(RawPixels()(tf.constant(images)), slow, atol=1e-5)
    small = RNG.random((2, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(RawPixels()(tf.constant(small)), small.reshape(2, -1))


def test_images_of_any_rows_in_any_order(tmp_path):
    images = RNG.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    held = ArraySource({"test": (images, np.arange(6))})
    np.testing.assert_array_equal(images_of(held, "test", [4, 0, 4]), images[[4, 0, 4]])
    for index, image in enumerate(images):
        size = 16 if index else 20  # of several sizes: they are not held in memory
        picture = np.pad(image, ((0, size - 16), (0, size - 16), (0, 0)))
        (tmp_path / "test" / str(index % 2)).mkdir(parents=True, exist_ok=True)
        tf.io.write_file(str(tmp_path / "test" / str(index % 2) / f"{index}.png"), tf.io.encode_png(picture))
    source = data.load(f"folder:{tmp_path}")
    shown = images_of(source, source.splits[0], [5, 1], image_size=16)
    assert shown.shape == (2, 16, 16, 3)
    whole = images_of(source, source.splits[0], range(6), image_size=16)
    np.testing.assert_array_equal(shown, whole[[5, 1]])
