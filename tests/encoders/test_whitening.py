"""Whitening against numpy's own square root, and what of an encoder is trained, saved and read with it."""

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from tfcontrastive import ResNet, SimCLR, SimCLRConfig
from tfcontrastive.config import InputError
from tfcontrastive.encoders import Whitening
from tfcontrastive.encoders.whitening import before_whitening, heads_of, whitening_of

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(6, 6)) * [9.0, 5.0, 1.0, 0.5, 0.1, 0.02]
FEATURES = (RNG.normal(size=(500, 6)) @ MIX.T + 3.0).astype(np.float32)


def fitted(features=FEATURES):
    whitening = Whitening()
    whitening.build((None, features.shape[1]))
    whitening.fit(features)
    return whitening


def small(**more):
    keras.utils.set_random_seed(0)
    return ResNet(18, width_multiplier=0.125, input_shape=(16, 16, 3), stem="strided", **more)


def images(count=8):
    return RNG.random((count, 16, 16, 3), np.float32)


@pytest.mark.parametrize("count", [500, 5])
def test_is_the_inverse_root_of_the_shrunk_covariance(count):
    features = FEATURES[:count].astype(np.float64)
    centred = features - features.mean(axis=0)
    covariance = centred.T @ centred / count
    shrunk = covariance + 0.3 * (1 + 6 / count) ** 2 * np.trace(covariance) / 6 * np.eye(6)
    expected = centred @ np.linalg.inv(scipy.linalg.sqrtm(shrunk))
    np.testing.assert_allclose(fitted(FEATURES[:count])(FEATURES[:count]), expected, rtol=1e-3, atol=1e-4)


def test_many_rows_are_summed_as_few_are(monkeypatch):
    whole = fitted()
    monkeypatch.setattr("tfcontrastive.encoders.whitening._ROWS", 64)
    np.testing.assert_allclose(fitted().kernel, whole.kernel, rtol=1e-4, atol=1e-6)


def test_gives_its_inputs_back_until_it_is_fitted_and_after_a_reset():
    whitening = Whitening()
    whitening.build((None, 6))
    np.testing.assert_array_equal(whitening(FEATURES), FEATURES)
    assert not whitening.fitted
    whitening.fit(FEATURES)
    assert whitening.fitted
    whitening.reset()
    np.testing.assert_array_equal(whitening(FEATURES), FEATURES)
    assert not whitening.fitted


def test_features_that_do_not_vary_stay_as_they_are():
    constant = np.full((9, 3), 2.0, np.float32)
    np.testing.assert_array_equal(fitted(constant)(constant), constant)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((1, 6)), r"`features` must be \[N, 6\], of two images or more. Received: \(1, 6\)"),
        (np.zeros((4, 5)), r"Received: \(4, 5\)"),
        (np.full((4, 6), np.nan), r"`features` must be finite numbers"),
    ],
)
def test_features_that_cannot_be_whitened_are_refused(features, message):
    with pytest.raises(InputError, match=message):
        fitted().fit(features)


def test_an_encoder_has_the_features_of_one_without_until_it_is_fitted():
    plain, white = small(), small(whiten_features=True)
    x = images()
    np.testing.assert_array_equal(white(x), plain(x))
    assert white.layer_order == (*plain.layer_order, "feature_whitening")
    assert len(white.trainable_variables) == len(plain.trainable_variables)
    whitening_of(white).fit(plain(x).numpy())
    np.testing.assert_array_equal(before_whitening(white)(x), plain(x))
    assert not np.allclose(white(x), plain(x))
    assert whitening_of(plain) is None
    assert before_whitening(plain) is plain


def test_what_a_method_trains_does_not_depend_on_the_whitening():
    def trained(fit):
        encoder = small(whiten_features=True)
        if fit:
            whitening_of(encoder).fit(RNG.normal(size=(99, 64)))
        model = SimCLR(encoder, SimCLRConfig(), seed=1)
        model.compile(optimizer=keras.optimizers.SGD(0.1))
        return float(model.train_on_batch(tf.ones([8, 16, 16, 3]) * tf.reshape(tf.range(8.0) / 8, [8, 1, 1, 1]))[0])

    assert trained(True) == trained(False)


def test_heads_do_not_read_whitened_features():
    encoder = small(whiten_features=True)
    model = SimCLR(encoder, SimCLRConfig(), num_classes=3)
    assert heads_of(model) == (model.projection_head, model.probe)
    whitening_of(encoder).fit(RNG.normal(size=(99, 64)))
    assert heads_of(model) == (None, None)


def test_is_saved_and_made_again(tmp_path):
    encoder = small(whiten_features=True)
    whitening_of(encoder).fit(RNG.normal(size=(99, 64)))
    before_whitening(encoder)  # which must not be saved beside
    encoder.save(tmp_path / "encoder.keras")
    again = keras.models.load_model(tmp_path / "encoder.keras")
    x = images()
    np.testing.assert_array_equal(again(x), encoder(x))
    assert whitening_of(again).fitted
