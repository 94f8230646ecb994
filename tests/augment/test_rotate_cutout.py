import math

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.augment import ops
from tfcontrastive.config import InputError


def slow_rotate(image: np.ndarray, radians: float) -> np.ndarray:
    """One image, one pixel at a time."""
    height, width, _ = image.shape
    out = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            dy, dx = y - (height - 1) / 2, x - (width - 1) / 2
            row = math.sin(radians) * dx + math.cos(radians) * dy + (height - 1) / 2
            column = math.cos(radians) * dx - math.sin(radians) * dy + (width - 1) / 2
            for i in (math.floor(row), math.floor(row) + 1):
                for j in (math.floor(column), math.floor(column) + 1):
                    if 0 <= i < height and 0 <= j < width:
                        out[y, x] += (1 - abs(row - i)) * (1 - abs(column - j)) * image[i, j]
    return out


@pytest.mark.parametrize(("height", "width"), [(9, 14), (16, 16)])
def test_each_image_has_its_own_angle(height, width):
    images = np.random.RandomState(0).rand(4, height, width, 2)
    angles = [0.3, -1.1, 2.5, 0.05]
    expected = [slow_rotate(image, angle) for image, angle in zip(images, angles, strict=True)]
    ours = ops.rotate(tf.constant(images, tf.float32), tf.constant(angles))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_quarter_turn_is_counterclockwise():
    images = np.random.RandomState(1).rand(1, 8, 8, 3).astype("float32")
    turned = ops.rotate(tf.constant(images), tf.constant([math.pi / 2]))
    np.testing.assert_allclose(turned, np.rot90(images, axes=(1, 2)), atol=1e-5)


def test_no_turn_changes_nothing():
    images = tf.random.stateless_uniform([2, 7, 9, 1], seed=[0, 1])
    np.testing.assert_array_equal(ops.rotate(images, tf.zeros([2])), images)


def test_corners_become_zero():
    out = ops.rotate(tf.ones([1, 9, 9, 1]), tf.constant([math.pi / 4]))[0, :, :, 0]
    assert out[0, 0] == out[8, 8] == 0
    np.testing.assert_allclose(out[4, 4], 1, atol=1e-6)


def test_rectangle_computed_by_hand():
    out = ops.cutout(tf.ones([2, 4, 5, 1]), tf.constant([[1, 1], [3, 4]]), (2, 4))[..., 0].numpy()
    # rows 0 and 1, columns -1 to 2; rows 2 and 3, columns 2 to 5
    np.testing.assert_array_equal(out[0], [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1] * 5, [1] * 5])
    np.testing.assert_array_equal(out[1], [[1] * 5, [1] * 5, [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]])


def test_an_odd_rectangle_has_its_center_in_the_middle():
    out = ops.cutout(tf.ones([1, 5, 5, 1]), tf.constant([[2, 2]]), 3, value=0.5)[0, :, :, 0]
    expected = np.ones([5, 5])
    expected[1:4, 1:4] = 0.5
    np.testing.assert_array_equal(out, expected)


def test_size_zero_cuts_nothing():
    images = tf.random.stateless_uniform([2, 4, 4, 3], seed=[0, 1])
    np.testing.assert_array_equal(ops.cutout(images, tf.constant([[1, 1], [2, 2]]), 0), images)


def test_centers_are_uniform_over_the_image():
    seeds = tf.stack([tf.range(20_000), tf.zeros([20_000], tf.int32)], axis=1)
    rows, columns = ops.sample_cutout_centers(seeds, 4, 5).numpy().T
    np.testing.assert_allclose(np.bincount(rows, minlength=4) / 20_000, np.full(4, 1 / 4), atol=0.015)
    np.testing.assert_allclose(np.bincount(columns, minlength=5) / 20_000, np.full(5, 1 / 5), atol=0.015)
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.03


def test_xla_and_a_dynamic_batch():
    def both(images, radians, centers):
        return ops.cutout(ops.rotate(images, radians), centers, 4)

    images, radians = tf.random.stateless_uniform([3, 12, 10, 3], seed=[0, 2]), tf.constant([0.1, 1.0, -2.0])
    centers = tf.constant([[1, 1], [5, 5], [11, 9]])
    expected = both(images, radians, centers)
    np.testing.assert_allclose(tf.function(both, jit_compile=True)(images, radians, centers), expected, atol=1e-5)
    specs = [tf.TensorSpec([None, 12, 10, 3]), tf.TensorSpec([None]), tf.TensorSpec([None, 2], tf.int32)]
    np.testing.assert_allclose(tf.function(both, input_signature=specs)(images, radians, centers), expected, atol=1e-6)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match=r"`size` must be >= 0\. Received: size=-1\."):
        ops.cutout(tf.ones([1, 4, 4, 1]), tf.constant([[1, 1]]), -1)
    for op in (lambda x: ops.rotate(x, tf.zeros([1])), lambda x: ops.cutout(x, tf.constant([[1, 1]]), 2)):
        with pytest.raises(InputError, match="static H, W and C"):
            tf.function(op, autograph=False).get_concrete_function(tf.TensorSpec([1, None, 8, 3]))
