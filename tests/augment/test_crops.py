import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfcontrastive.augment import ops
from tfcontrastive.config import InputError

RATIO = (3 / 4, 4 / 3)


def seeds(count: int) -> tf.Tensor:
    return tf.stack([tf.fill([count], 1), tf.range(count)], axis=1)


def reference_crop(image, box, size, flip) -> np.ndarray:
    top, left, height, width = box
    out = tf.image.resize(tf.cast(image[top : top + height, left : left + width], tf.float32), size, "bicubic")
    return np.clip(out[:, ::-1] if flip else out, 0, 1)


BOXES = [[0, 0, 40, 50], [3, 7, 30, 20], [39, 49, 1, 1], [0, 30, 40, 2], [10, 0, 5, 50], [5, 5, 32, 32]]


@pytest.mark.parametrize("size", [(1, 1), (8, 20), (32, 32), (70, 100)])
def test_crop_and_resize_is_tensorflows_bicubic(size):
    images = tf.random.stateless_uniform([len(BOXES), 40, 50, 3], seed=[1, 2])
    flips = [False, True, False, True, False, True]
    out = ops.crop_and_resize(images, tf.constant(BOXES), size, tf.constant(flips))
    expected = [reference_crop(*each, size, flip) for *each, flip in zip(images, BOXES, flips, strict=True)]
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_large_images_are_read_in_windows():
    images = tf.random.stateless_uniform([2, 130, 150, 1], seed=[3, 4])
    boxes = [[0, 0, 130, 150], [60, 11, 70, 139]]
    out = ops.crop_and_resize(images, tf.constant(boxes), (96, 100), tf.constant([True, False]))
    expected = [
        reference_crop(*each, (96, 100), flip) for *each, flip in zip(images, boxes, [True, False], strict=True)
    ]
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_uint8_images_come_out_in_the_unit_range():
    images = tf.cast(tf.random.stateless_uniform([6, 40, 50, 3], seed=[5, 6]) * 255, tf.uint8)
    out = ops.crop_and_resize(images, tf.constant(BOXES), 24)
    expected = ops.crop_and_resize(tf.image.convert_image_dtype(images, tf.float32), tf.constant(BOXES), 24)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_the_whole_image_at_its_own_size_is_the_image():
    images = tf.random.stateless_uniform([2, 28, 28, 5], seed=[7, 8])
    out = ops.crop_and_resize(images, tf.constant([[0, 0, 28, 28]] * 2), 28, tf.constant([False, True]))
    np.testing.assert_allclose(out[0], images[0], atol=1e-6)
    np.testing.assert_allclose(out[1], images[1, :, ::-1], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(200, 200), (300, 200), (60, 200)])
def test_boxes_have_tensorflows_distribution(height, width):
    count, scale = 1500, (0.08, 1.0)

    def original(seed):
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            [height, width, 3],
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            seed=seed,
            min_object_covered=0.0,
            aspect_ratio_range=RATIO,
            area_range=scale,
            max_attempts=100,
        )
        return tf.concat([begin[:2], extent[:2]], axis=0)

    theirs = tf.map_fn(original, seeds(count)).numpy().astype(float)
    ours = ops.sample_crop_boxes(seeds(count), height, width, scale, RATIO).numpy().astype(float)
    for measure in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 2], lambda b: b[:, 0], lambda b: b[:, 1]):
        assert stats.ks_2samp(measure(ours), measure(theirs)).statistic < 0.06


@pytest.mark.parametrize(("height", "width"), [(8, 8), (33, 500), (500, 33), (1, 1)])
def test_boxes_are_inside_the_image_and_not_empty(height, width):
    top, left, box_height, box_width = ops.sample_crop_boxes(seeds(2000), height, width).numpy().T
    assert top.min() >= 0
    assert left.min() >= 0
    assert box_height.min() >= 1
    assert box_width.min() >= 1
    assert (top + box_height).max() <= height
    assert (left + box_width).max() <= width


def test_boxes_keep_area_and_ratio():
    _, _, height, width = ops.sample_crop_boxes(seeds(4000), 200, 200, (0.2, 0.6), (0.5, 2.0)).numpy().T
    area, ratio = height * width / 200**2, width / height
    assert 0.19 < area.min() < 0.22
    assert 0.57 < area.max() < 0.61
    assert 0.49 < ratio.min() < 0.55
    assert 1.9 < ratio.max() < 2.05


def test_an_image_too_narrow_for_any_ratio_is_taken_whole():
    boxes = ops.sample_crop_boxes(seeds(5), 10, 200, (0.9, 1.0), (0.75, 1.33))
    np.testing.assert_array_equal(boxes, [[0, 0, 10, 200]] * 5)


def test_boxes_take_the_size_of_each_image():
    heights, widths = tf.constant([30, 400]), tf.constant([50, 20])
    mixed = ops.sample_crop_boxes(seeds(2), heights, widths)
    for i in range(2):
        alone = ops.sample_crop_boxes(seeds(2)[i : i + 1], int(heights[i]), int(widths[i]))
        np.testing.assert_array_equal(mixed[i], alone[0])


@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.0, 1.0), RATIO), ((0.5, 0.2), RATIO), ((0.5, 1.1), RATIO), ((0.1, 1.0), (2.0, 1.0))]
)
def test_bad_ranges_are_refused(scale, ratio):
    with pytest.raises(InputError, match="must be \\(low, high\\) with 0 < low <= high"):
        ops.sample_crop_boxes(seeds(1), 10, 10, scale, ratio)


def test_random_resized_crop_is_the_box_and_the_flip_of_its_seed():
    images = tf.random.stateless_uniform([6, 20, 30, 1], seed=[9, 10])
    out = ops.random_resized_crop(images, seeds(6), 16, flip_probability=0.5)
    boxes, flips = ops.sample_crop_boxes(seeds(6), 20, 30), ops.sample_flips(seeds(6), 0.5)
    expected = [reference_crop(*each, (16, 16), flip) for *each, flip in zip(images, boxes.numpy(), flips, strict=True)]
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_flip_mirrors_the_chosen_images():
    images = tf.reshape(tf.range(6.0), [2, 1, 3, 1])
    out = ops.flip(images, tf.constant([True, False]))
    np.testing.assert_array_equal(tf.reshape(out, [2, 3]), [[2, 1, 0], [3, 4, 5]])


@pytest.mark.parametrize(("height", "width"), [(80, 101), (101, 80), (64, 64)])
def test_center_crop_is_the_central_square_resized(height, width):
    image = tf.random.stateless_uniform([height, width, 3], seed=[11, 12])
    side = round(0.875 * min(height, width))
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    expected = reference_crop(image, (top, left, side, side), (48, 48), flip=False)
    np.testing.assert_allclose(ops.center_crop_resize(image, 48), expected, atol=1e-6)


def test_center_crop_shows_small_images_whole():
    image = tf.random.stateless_uniform([32, 32, 3], seed=[13, 14])
    np.testing.assert_array_equal(ops.center_crop_resize(image, 32), image)
    expected = reference_crop(image, (0, 0, 32, 32), (24, 24), flip=False)
    np.testing.assert_allclose(ops.center_crop_resize(image, 24), expected, atol=1e-6)


def test_center_crop_works_in_a_graph_of_unknown_size():
    crop = tf.function(
        lambda x: ops.center_crop_resize(x, 48), input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)]
    )
    images = tf.cast(tf.random.stateless_uniform([2, 70, 90, 3], seed=[15, 16]) * 255, tf.uint8)
    assert crop.get_concrete_function().output_shapes.as_list() == [None, 48, 48, 3]
    np.testing.assert_allclose(crop(images), ops.center_crop_resize(images, 48), atol=1e-6)


@pytest.mark.parametrize("arguments", [{"size": 0}, {"size": 8, "fraction": 0.0}, {"size": 8, "fraction": 1.2}])
def test_bad_center_crops_are_refused(arguments):
    with pytest.raises(InputError, match="Received"):
        ops.center_crop_resize(tf.zeros([40, 40, 3]), **arguments)
