import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.evaluate import FeatureGeometry, class_separation, effective_rank

RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 2
IMAGES = (RNG.integers(0, 100, (40, 4, 4, 1)) + 100 * LABELS[:, None, None, None]).astype(np.uint8)
SOURCE = data.arrays.ArraySource({"train": (IMAGES, LABELS), "test": (IMAGES[:20], LABELS[:20])})


def pixels(images, training=False):
    return tf.reshape(images, [tf.shape(images)[0], 16])


def test_equal_views_by_a_slow_loop():
    values = FeatureGeometry(augmentation="none", eval_batch_size=20).run(pixels, SOURCE)
    rows = IMAGES[:20].reshape(20, 16) / 255
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert values["geometry_alignment"] == pytest.approx(0, abs=1e-6)
    apart = [np.sum((unit[i] - unit[j]) ** 2) for i in range(20) for j in range(20) if i != j]
    assert values["geometry_uniformity"] == pytest.approx(np.log(np.mean(np.exp(-2 * np.array(apart)))), abs=1e-4)
    # Each row's other view is itself: 38 negatives and one positive at 1.
    similarity = unit @ unit.T / 0.1
    others = [2 * sum(np.exp(similarity[i, j]) for j in range(20) if j != i) for i in range(20)]
    loss = np.mean([np.log(np.exp(10) + other) - 10 for other in others])
    assert values["geometry_infonce_bound"] == pytest.approx(np.log(39) - loss, abs=1e-4)
    assert values["geometry_effective_rank"] == pytest.approx(effective_rank(rows), rel=1e-4)
    assert values["geometry_class_separation"] == pytest.approx(class_separation(rows, LABELS[:20]), rel=1e-4)
    assert values["geometry_std"] == pytest.approx(unit.std(axis=0).mean(), rel=1e-4)


def test_crops_are_worse_aligned_and_projections_are_measured_too():
    class Encoder:
        def __call__(self, images, training=False):
            return pixels(images)

        def projection_head(self, features, training=False):
            return features[:, :3]

    values = FeatureGeometry(augmentation="crop", eval_batch_size=8).run(Encoder(), SOURCE)
    assert values["geometry_alignment"] > 0.001
    assert values["geometry_projection_effective_rank"] <= 3
    assert values == FeatureGeometry(augmentation="crop", eval_batch_size=8).run(Encoder(), SOURCE)


def test_labels_are_not_needed():
    source = data.arrays.ArraySource({"train": (IMAGES, None)})
    values = FeatureGeometry(augmentation="crop").run(pixels, source)
    assert "geometry_class_separation" not in values
    assert np.isfinite(list(values.values())).all()
