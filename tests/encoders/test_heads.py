"""ProjectionHead against its formula, in each mode, and through saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders import ProjectionHead


def features(rows=6, width=5):
    return np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)


def normalised(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def test_hiddens_follow_the_formula():
    x = features()
    head = ProjectionHead(num_layers=3, out_dim=4)
    head.build(x.shape)
    kernels = [np.random.default_rng(i).normal(size=dense.kernel.shape) for i, dense in enumerate(head.denses)]
    for dense, kernel in zip(head.denses, kernels, strict=True):
        dense.kernel.assign(kernel)
    expected = [x]
    expected.append(np.maximum(normalised(expected[-1] @ kernels[0]), 0))
    expected.append(np.maximum(normalised(expected[-1] @ kernels[1]), 0))
    expected.append(normalised(expected[-1] @ kernels[2]))
    for ours, theirs in zip(head.hiddens(x, training=True), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({"mode": "none"}, [5]),
        ({"mode": "linear"}, [5, 128]),
        ({"num_layers": 2}, [5, 5, 128]),
        ({"num_layers": 3, "out_dim": 7, "hidden_dim": 9}, [5, 9, 9, 7]),
    ],
)
def test_widths(options, widths):
    head = ProjectionHead(**options)
    assert [hidden.shape[-1] for hidden in head.hiddens(tf.constant(features()))] == widths
    assert head.compute_output_shape((None, 5)) == (None, widths[-1])


def test_none_is_the_features():
    np.testing.assert_array_equal(ProjectionHead("none")(features()), features())


def test_only_the_last_norm_has_no_beta_and_no_dense_a_bias():
    head = ProjectionHead(num_layers=3)
    head.build((None, 5))
    assert [norm.center for norm in head.norms] == [True, True, False]
    assert not any(dense.use_bias for dense in head.denses)
    assert len(head.trainable_variables) == 3 + 5


def test_first_weights_have_the_published_deviation():
    head = ProjectionHead(num_layers=2)
    head.build((None, 512))
    for dense in head.denses:
        np.testing.assert_allclose([np.mean(dense.kernel), np.std(dense.kernel)], [0, 0.01], atol=2e-4)


def test_saves_and_loads(tmp_path):
    inputs = keras.Input((5,))
    model = keras.Model(inputs, ProjectionHead("nonlinear", 2, 3, name="head")(inputs))
    model(features(), training=True)
    model.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    np.testing.assert_array_equal(loaded(features()), model(features()))
    assert loaded.get_layer("head").get_config() == model.get_layer("head").get_config()


def test_mixed_precision_keeps_float32_weights():
    head = ProjectionHead(dtype="mixed_bfloat16")
    assert head(features(), training=True).dtype == "bfloat16"
    assert {weight.dtype for weight in head.weights} == {"float32"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "quadratic"}, "`mode` must be one of linear, none, nonlinear"),
        ({"num_layers": 0}, "`num_layers` must be >= 1. Received: num_layers=0"),
        ({"out_dim": -1}, "`out_dim` must be >= 1"),
    ],
)
def test_bad_values_are_told(options, message):
    with pytest.raises(InputError, match=message):
        ProjectionHead(**options)
