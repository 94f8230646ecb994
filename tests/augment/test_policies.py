import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import augment
from tfcontrastive.config import AugmentConfig, InputError


def seeds(count: int) -> tf.Tensor:
    return tf.stack([tf.fill([count], 2), tf.range(count)], axis=1)


@pytest.fixture(scope="module")
def images() -> tf.Tensor:
    return tf.random.stateless_uniform([6, 24, 24, 3], seed=[1, 2])


def whole(policy: augment.Policy, index: int):
    def view(images, seeds):
        return policy.views[index](augment.random_view_geometry(images, seeds, policy.geometry, 20), seeds)

    return view


@pytest.mark.parametrize("color_ops", ["fused", "exact"])
@pytest.mark.parametrize("name", augment.POLICIES)
def test_views_have_their_shape_and_range(images, name, color_ops):
    policy = augment.policy(name, color_ops=color_ops)
    for index in range(len(set(policy.views))):
        out = whole(policy, index)(images, seeds(6))
        assert out.shape == (6, 20, 20, 3)
        assert out.dtype == tf.float32
        assert 0 <= np.min(out) <= np.max(out) <= 1


@pytest.mark.parametrize("color_ops", ["fused", "exact"])
def test_xla_gives_the_same_view(images, color_ops):
    # BYOL's second view has every op.
    policy = augment.policy("byol", color_ops=color_ops)
    compiled = tf.function(whole(policy, 1), jit_compile=True)(images[:2], seeds(2))
    np.testing.assert_allclose(compiled, whole(policy, 1)(images[:2], seeds(2)), atol=1e-5)


@pytest.mark.parametrize("color_ops", ["fused", "exact"])
def test_a_view_depends_on_its_own_row_alone(images, color_ops):
    view = whole(augment.policy("simclr", color_ops=color_ops), 0)
    np.testing.assert_allclose(view(images, seeds(6))[3:4], view(images[3:4], seeds(6)[3:4]), atol=1e-6)


def test_static_batch_size_is_kept(images):
    graph = tf.function(whole(augment.policy("byol"), 1)).get_concrete_function(images, seeds(6))
    assert graph.output_shapes.as_list() == [6, 20, 20, 3]


def test_batch_size_may_be_dynamic():
    view = tf.function(
        whole(augment.policy("byol", color_ops="exact"), 1),
        input_signature=[tf.TensorSpec([None, 24, 24, 3]), tf.TensorSpec([None, 2], tf.int32)],
    )
    assert view(tf.ones([3, 24, 24, 3]), seeds(3)).shape == (3, 20, 20, 3)


@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_channels(channels):
    images = tf.random.stateless_uniform([4, 24, 24, channels], seed=[3, 4])
    out = whole(augment.policy("byol"), 1)(images, seeds(4))
    assert out.shape == (4, 20, 20, channels)
    assert np.min(np.std(out, axis=(1, 2))) > 0


def test_none_changes_nothing(images):
    policy = augment.policy("none")
    cropped = augment.random_view_geometry(images, seeds(6), policy.geometry, 24)
    np.testing.assert_allclose(policy.views[0](cropped, seeds(6)), images, atol=1e-6)


def test_simclr_has_the_papers_numbers():
    policy = augment.policy("simclr")
    assert policy.geometry == augment.Geometry(0.08, 1.0, 3 / 4, 4 / 3, 0.5)
    assert policy.views[0] == policy.views[1]
    view = policy.views[0]
    assert view.jitter == (0.8, 0.8, 0.8, 0.2)
    assert (view.jitter_probability, view.gray_probability, view.blur_probability) == (0.8, 0.2, 0.5)
    assert (view.solarize_probability, view.additive_brightness) == (0.0, False)
    assert augment.policy("simclr_v1").views[0] == dataclasses.replace(view, additive_brightness=True)


def test_moco_has_the_papers_numbers():
    first, second = augment.policy("moco_v1"), augment.policy("moco_v2")
    assert first.geometry.min_area == second.geometry.min_area == 0.2
    assert first.views[0].jitter == (0.4, 0.4, 0.4, 0.4)
    assert (first.views[0].jitter_probability, first.views[0].gray_first) == (1.0, True)
    assert first.views[0].blur_probability == 0
    assert second.views[0].jitter == (0.4, 0.4, 0.4, 0.1)
    assert (second.views[0].jitter_probability, second.views[0].gray_first) == (0.8, False)
    assert second.views[0].blur_probability == 0.5


@pytest.mark.parametrize("name", ["byol", "relic"])
def test_byol_has_two_different_views(name):
    first, second = augment.policy(name).views
    assert (first.blur_probability, first.solarize_probability) == (1.0, 0.0)
    assert (second.blur_probability, second.solarize_probability) == (0.1, 0.2)
    assert first.jitter == second.jitter == (0.4, 0.4, 0.2, 0.1)
    assert first.additive_brightness
    assert second.additive_brightness


def test_the_other_methods_have_their_papers_numbers():
    byol, moco_v1, moco_v2 = (augment.policy(name) for name in ("byol", "moco_v1", "moco_v2"))
    multiplying = tuple(dataclasses.replace(view, additive_brightness=False) for view in byol.views)
    for name in ("moco_v3", "barlow_twins"):
        assert (augment.policy(name).geometry, augment.policy(name).views) == (byol.geometry, multiplying)
    assert augment.policy("relic").views == byol.views
    assert augment.policy("relic").geometry == byol.geometry == augment.policy("simclr").geometry
    assert augment.policy("instdisc") == dataclasses.replace(moco_v1, name="instdisc")
    unblurred = dataclasses.replace(moco_v2.views[0], blur_probability=0.0)
    assert augment.policy("supcon") == augment.Policy("supcon", moco_v2.geometry, (unblurred,) * 2)
    assert {view.gray_probability for policy in (byol, moco_v1, moco_v2) for view in policy.views} == {0.2}


def test_what_is_drawn_for_one_op_says_nothing_of_another():
    rows = seeds(2000)
    stripes = 0.9 * tf.cast(tf.range(20) % 2, tf.float32)[None, None, :, None] * tf.ones([2000, 20, 1, 1])
    solarized = augment.View(solarize_probability=0.5)(stripes, rows)[:, 0, 1, 0] < 0.5
    blurred = augment.View(blur_probability=0.5)(stripes, rows)[:, 10, 1, 0] < 0.899
    jittered = augment.View(augment.ops.ColorRange(0.0, 0.5, 0.0, 0.0), jitter_probability=0.5)(stripes, rows)
    jittered = np.abs(jittered - stripes).max(axis=(1, 2, 3)) > 1e-4
    boxes = augment.ops.sample_crop_boxes(rows, 1000, 1000, scale=(0.25, 0.3))
    draws = [solarized, blurred, jittered, augment.ops.sample_flips(rows, 0.5), boxes[:, 0], boxes[:, 1]]
    correlation = np.corrcoef([np.asarray(draw, float) for draw in draws]) - np.eye(len(draws))
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)


def test_strength_multiplies_the_jitter():
    assert augment.policy("simclr", strength=0.5).views[0].jitter == (0.4, 0.4, 0.4, 0.1)


def test_strength_zero_leaves_gray_alone(images):
    view = augment.policy("simclr", strength=0.0, blur=False).views[0]
    changed = np.max(np.abs(view(images, seeds(6)) - images), axis=(1, 2, 3)) > 1e-6
    gray = augment.uniform(seeds(6), "color", 6)[:, 5] < 0.2
    np.testing.assert_array_equal(changed, gray)


@pytest.mark.parametrize(
    ("name", "blur", "probability"),
    [
        ("simclr", None, 0.5),
        ("simclr", False, 0.0),
        ("moco_v1", None, 0.0),
        ("moco_v1", True, 0.5),
        ("byol", True, 1.0),
    ],
)
def test_blur_is_as_asked(name, blur, probability):
    assert augment.policy(name, blur=blur).views[0].blur_probability == probability


def test_blur_kernel_is_a_tenth_of_the_height(images):
    view = augment.View(blur_probability=0.5)
    draws = augment.uniform(seeds(6), "blur", 2).numpy()
    sigma = np.where(draws[:, 0] < 0.5, 0.1 + 1.9 * draws[:, 1], 0)
    assert 0 < np.count_nonzero(sigma) < 6
    expected = augment.ops.gaussian_blur(images, sigma, kernel_size=2)
    np.testing.assert_allclose(view(images, seeds(6)), expected, atol=1e-6)
    wide = dataclasses.replace(view, image_size=50)(images, seeds(6))
    np.testing.assert_allclose(wide, augment.ops.gaussian_blur(images, sigma, kernel_size=5), atol=1e-6)


def test_blur_and_solarize_are_drawn_for_each_image():
    images = 0.8 * tf.random.stateless_uniform([400, 20, 20, 1], seed=[5, 6])
    for view, probability in [
        (augment.View(blur_probability=0.5), 0.5),
        (augment.View(solarize_probability=0.2), 0.2),
    ]:
        changed = np.max(np.abs(view(images, seeds(400)) - images), axis=(1, 2, 3)) > 1e-4
        assert abs(changed.mean() - probability) < 0.08


def test_policy_from_config():
    config = AugmentConfig(
        augmentation="moco_v2", color_jitter_strength=0.5, use_blur=False, color_ops="exact", crop_min_area=0.5
    )
    expected = augment.policy("moco_v2", strength=0.5, blur=False, color_ops="exact")
    expected = dataclasses.replace(expected, geometry=dataclasses.replace(expected.geometry, min_area=0.5))
    assert augment.policy_from_config(config) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "simcrl"}, "`augmentation` must be one of .* Received: 'simcrl'. Did you mean 'simclr'?"),
        ({"name": "simclr", "color_ops": "fast"}, "`color_ops` must be one of exact, fused. Received: 'fast'."),
        ({"name": "simclr", "strength": -1.0}, "`strength` must be >= 0. Received: strength=-1.0."),
        ({"name": "simclr", "strength": 3.0}, "`strength` must be <= 2.5 with simclr"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        augment.policy(**arguments)
