"""Ops take arrays as they take tensors, and refuse pixels whose range they cannot know."""

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import augment
from tfcontrastive.augment import ops
from tfcontrastive.config import InputError

IMAGES = np.random.default_rng(0).random((2, 16, 12, 3), np.float32)
SEEDS = np.array([[0, 1], [0, 2]])
ONES, TRUE = np.array([0.5, 1.5], np.float32), np.array([True, False])
BOXES = np.array([[0, 0, 16, 12], [2, 3, 8, 8]], np.int32)

# name: (op, the rest of its arguments, whether it needs floats)
OPS = {
    "gaussian_blur": (ops.gaussian_blur, (ONES, 3), True),
    "brightness": (ops.brightness, (ONES,), True),
    "contrast": (ops.contrast, (ONES,), True),
    "saturation": (ops.saturation, (ONES,), True),
    "hue": (ops.hue, (ONES,), True),
    "grayscale": (ops.grayscale, (TRUE,), False),
    "solarize": (ops.solarize, (TRUE,), True),
    "cutout": (ops.cutout, (np.array([[3, 4], [5, 6]]), 4), False),
    "rotate": (ops.rotate, (ONES,), False),
    "flip": (ops.flip, (TRUE,), False),
    "color_jitter": (ops.color_jitter, (SEEDS, (0.4, 0.4, 0.4, 0.1)), True),
    "crop_and_resize": (ops.crop_and_resize, (BOXES, 8), False),
    "random_resized_crop": (ops.random_resized_crop, (SEEDS, 8), False),
    "center_crop_resize": (ops.center_crop_resize, (8,), False),
    "view": (augment.View(blur_probability=1.0, image_size=32), (SEEDS,), True),
    "random_view_geometry": (augment.random_view_geometry, (SEEDS, augment.Geometry(), 8), False),
}


@pytest.mark.parametrize("name", OPS)
def test_arrays_are_taken_as_tensors_are(name):
    op, arguments, _ = OPS[name]
    np.testing.assert_array_equal(op(IMAGES, *arguments), op(tf.constant(IMAGES), *arguments))


@pytest.mark.parametrize("name", [name for name, (*_, floats) in OPS.items() if floats])
def test_colors_of_integers_are_refused(name):
    op, arguments, _ = OPS[name]
    with pytest.raises(InputError, match=r"`images` must be float in .* Received: dtype=uint8"):
        op((255 * IMAGES).astype(np.uint8), *arguments)


@pytest.mark.parametrize(
    "name", ["crop_and_resize", "random_resized_crop", "center_crop_resize", "random_view_geometry"]
)
def test_crops_of_integers_other_than_bytes_are_refused(name):
    op, arguments, _ = OPS[name]
    with pytest.raises(InputError, match=r"must be uint8, or float in .* Received: dtype=int64"):
        op((255 * IMAGES).astype(np.int64), *arguments)
