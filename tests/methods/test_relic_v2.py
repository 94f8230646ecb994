"""ReLIC v2's masks: where they come from, and what is left of a masked view. Its loss: test_against_loops, test_views."""

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import tiny_encoder
from tfcontrastive.config import InputError
from tfcontrastive.methods import build

IMAGES = np.random.default_rng(0).uniform(0.2, 1, (6, 8, 8, 3)).astype(np.float32)
MASK = np.zeros((6, 8, 8), np.float32)
MASK[:, :, :4] = 1


def model(probability):
    made = build("relic_v2", tiny_encoder(), critic_hidden_dim=8, proj_out_dim=4, mask_probability=probability, seed=1)
    made.compile("sgd")
    return made


def test_ready_views_are_masked_by_their_own_masks_with_the_probability_that_is_asked_for():
    data = {"views": (IMAGES, IMAGES), "mask": (MASK[..., None], 1 - MASK[..., None])}
    views, rest = model(1.0).make_views(data, tf.constant(3))
    assert "mask" not in rest
    np.testing.assert_allclose(views[0], IMAGES * MASK[..., None], rtol=1e-6)
    np.testing.assert_allclose(views[1], IMAGES * (1 - MASK[..., None]), rtol=1e-6)
    plain, _ = model(0.0).make_views(data, tf.constant(3))
    np.testing.assert_array_equal(plain[0], IMAGES)
    some, _ = model(0.5).make_views(data, tf.constant(3))
    masked = [np.any(view.numpy() == 0, axis=(1, 2, 3)) for view in some]
    assert 0 < np.mean(masked) < 1


def test_masks_of_whole_images_are_cropped_as_their_views_are():
    ones, half = ({"image": IMAGES, "mask": mask} for mask in (np.ones_like(MASK), MASK))
    plain, _ = model(0.0).make_views({"image": IMAGES}, tf.constant(3))
    same, _ = model(1.0).make_views(ones, tf.constant(3))
    np.testing.assert_allclose(same[0], plain[0], rtol=1e-5, atol=1e-6)
    made = model(1.0)
    masked, _ = made.make_views(half, tf.constant(3))
    crops = made.crop_images(tf.constant(MASK[..., None]), made.view_seeds(tf.constant(6), tf.constant(3)))
    for view, whole, crop in zip(masked, plain, crops, strict=True):
        np.testing.assert_allclose(view, whole * crop, rtol=1e-5, atol=1e-6)
        assert 0 < np.mean(crop) < 1


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"views": (IMAGES, IMAGES), "mask": MASK}, "`mask` must be a tuple, a mask for each view"),
        (
            {"views": (IMAGES, IMAGES), "mask": (MASK,)},
            "`mask` must be a tuple of one for each large view, 2. Received: 1",
        ),
        ({"image": IMAGES, "mask": MASK[:, :4]}, r"`mask` must have the shape \(6, 8, 8\) of its images"),
    ],
)
def test_masks_of_another_form_are_refused_in_one_line(data, match):
    with pytest.raises(InputError, match=match) as error:
        model(0.5).make_views(data, tf.constant(3))
    assert "\n" not in str(error.value)
