import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import ContentStyle
from tfcontrastive.evaluate.content_style import jensen_shannon, softmax
from tfcontrastive.evaluate.shapes import CONTENT, SIZES, STYLE, draw_factors, draw_shapes

RNG = np.random.default_rng(0)


def one(**factors):
    """A single image, all factors 0 but those given."""
    given = {name: np.array([factors.get(name, 0)]) for name in CONTENT | STYLE}
    return draw_shapes(given, 64, seed=0).images[0]


def mask(image):
    """Where the shape is: brighter than the black background."""
    return image.max(axis=-1) > 0.2


def test_the_seed_decides():
    factors = draw_factors(5, CONTENT | STYLE, seed=3)
    first, second = (draw_shapes(factors, 16, seed=4).images for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (draw_shapes(factors, 16, seed=5).images != first).any()
    assert first.shape == (5, 16, 16, 3)
    assert 0 <= first.min() < first.max() <= 1


@pytest.mark.parametrize("name", STYLE)
def test_style_changes_colors_and_not_where_the_shape_is(name):
    plain, other = one(shape=1, size=2, position=4), one(shape=1, size=2, position=4, **{name: 1})
    assert np.abs(plain - other).max() > 0.1
    if name == "background":
        np.testing.assert_allclose(plain[mask(plain)].max(0), other[mask(plain)].max(0), atol=1e-6)
    else:
        assert np.sum(mask(plain) != mask(other)) <= 10  # of 4096 pixels, all on the edge


def test_a_disk_has_its_size_and_place():
    for size, half in enumerate(SIZES):
        assert mask(one(size=size, position=4)).mean() == pytest.approx(np.pi * half**2, rel=0.1)
    for position in range(9):
        rows, columns = np.nonzero(mask(one(position=position)))
        cell = (rows.mean() / 64 - 0.5) / 0.22 + 1, (columns.mean() / 64 - 0.5) / 0.22 + 1
        np.testing.assert_array_equal(np.round(cell), np.divmod(position, 3))


def test_shapes_differ_and_lie_within_the_image():
    areas = [mask(one(shape=shape, size=2, position=4)).mean() for shape in range(CONTENT["shape"])]
    assert len({round(area, 3) for area in areas}) == len(areas)
    for shape in range(CONTENT["shape"]):
        for position in (0, 8):
            seen = mask(one(shape=shape, size=2, position=position))
            assert seen.mean() == pytest.approx(areas[shape], rel=0.12)


def test_factors_are_drawn_evenly():
    factors = draw_factors(6000, CONTENT | STYLE, seed=0)
    for name, values in (CONTENT | STYLE).items():
        np.testing.assert_allclose(np.bincount(factors[name]) / 6000, np.full(values, 1 / values), rtol=0.15)


def test_jensen_shannon_is_the_mean_divergence_from_the_mean():
    p = softmax(RNG.normal(size=(4, 5, 3)))
    middle = p.mean(axis=0)
    slow = [np.mean([sum(q * np.log(q / m)) for q, m in zip(p[:, i], [middle[i]] * 4, strict=True)]) for i in range(5)]
    np.testing.assert_allclose(jensen_shannon(p), slow, atol=1e-12)
    assert jensen_shannon(np.eye(4)[:2]) == pytest.approx(np.log(2))
    assert jensen_shannon(np.tile(p[:1], (3, 1, 1))) == pytest.approx(0, abs=1e-12)


SMALL = ContentStyle(image_size=16, train_images=400, eval_images=200, contents=24, styles=4)


def test_an_encoder_of_style_alone_knows_style_and_not_content():
    def corner_color(images, training=False):
        return images[:, 0, 0]

    values = SMALL.run(corner_color)
    assert values["content_style_background_accuracy"] > 0.95
    for name in CONTENT:
        assert values[f"content_style_{name}_accuracy"] < 1.6 / CONTENT[name]
    assert next(iter(values)) == "content_style_divergence"
    assert values["content_style_divergence"] == pytest.approx(
        np.mean([values[f"content_style_divergence_{name}"] for name in CONTENT])
    )


def test_an_encoder_of_content_alone_is_the_same_in_every_style():
    def silhouette(images, training=False):
        corner = images[:, :1, :1]
        apart = tf.cast(tf.reduce_max(tf.abs(images - corner), axis=-1) > 0.1, tf.float32)
        return tf.reshape(tf.image.resize(apart[..., None], [8, 8], "area"), [-1, 64])

    values = SMALL.run(silhouette)
    assert values["content_style_position_accuracy"] > 0.95
    assert values["content_style_background_accuracy"] < 0.5
    for name in ("position", "size"):
        assert values[f"content_style_divergence_{name}"] < 0.3 * values[f"content_style_divergence_of_contents_{name}"]


def test_gray_encoders_get_gray_images():
    class Gray:
        input_shape = (None, 8, 8, 1)

        def __call__(self, images, training=False):
            assert images.shape[1:] == (8, 8, 1)
            return tf.reshape(images, [-1, 64])

    values = ContentStyle(train_images=100, eval_images=10, contents=4, styles=2).run(Gray())
    assert 0 <= values["content_style_shape_accuracy"] <= 1


def test_bad_input():
    with pytest.raises(InputError, match="`factors` must hold"):
        draw_shapes(draw_factors(2, CONTENT, seed=0), 16, seed=0)
    with pytest.raises(InputError, match="`image_size`"):
        draw_shapes(draw_factors(2, CONTENT | STYLE, seed=0), 4, seed=0)
