import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import (
    KNN,
    Evaluator,
    FeatureExtractor,
    Linear,
    evaluate,
    evaluator,
    extract_features,
    labelled_features,
)


@dataclasses.dataclass
class Source:
    """The part of a data source that evaluation needs: images whose left or right half is bright."""

    name = "halves"
    splits = ("train", "test")
    num_classes: int | None = 2
    fixed: bool = True

    def arrays(self, split):
        count = {"train": 20, "test": 11}[split]
        labels = (np.arange(count) % 2).astype(np.int32)
        images = np.random.default_rng(count).integers(0, 50, (count, 4, 4, 1))
        images[labels == 0, :, :2] += 200
        images[labels == 1, :, 2:] += 200
        return (images.astype(np.uint8), labels) if self.fixed else None


@pytest.fixture
def source(monkeypatch):
    def eval_batches(source, split, *, batch_size, image_size, limit=None, preprocessing=None):
        assert image_size == 4 or limit == 1  # one image is looked at for its label alone
        images, labels = dataclasses.replace(source, fixed=True).arrays(split)
        rows = {"image": (images / 255).astype(np.float32)[:limit], "label": labels[:limit]}
        return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size)

    monkeypatch.setattr(evaluator.data, "eval_batches", eval_batches, raising=False)
    return Source()


def flat(shape=(None, None, 1)):
    images = keras.Input(shape)
    return keras.Model(images, keras.layers.Flatten()(images) if None not in shape else images[:, 0, :, 0])


@pytest.mark.parametrize("evaluation", [KNN(k=3, eval_batch_size=4), Linear(eval_batch_size=4)])
def test_an_evaluator_measures_an_encoder_on_a_source(source, evaluation):
    assert isinstance(evaluation, Evaluator)
    result = evaluation.run(flat(), source)
    assert all(isinstance(value, float) for value in result.values())
    assert next(value for name, value in result.items() if name.endswith("top1")) == 1


def test_evaluators_share_the_features_they_agree_on(source, monkeypatch):
    calls = []
    extract = evaluator.labelled_features
    monkeypatch.setattr(evaluator, "labelled_features", lambda *args, **kw: calls.append(kw) or extract(*args, **kw))
    together = evaluate([KNN(), Linear(), KNN(train_split="test")], flat(), source)
    assert [call["train_split"] for call in calls] == ["train", "test"]
    assert set(together) == set(KNN().run(flat(), source)) | set(Linear().run(flat(), source))


def test_the_encoders_own_size_comes_first(source):
    assert labelled_features(flat((4, 4, 1)), Source(fixed=False)).features.shape == (11, 16)
    with pytest.raises(InputError, match="`image_size` must be given for halves"):
        labelled_features(flat(), Source(fixed=False))


def test_limits(source):
    features = labelled_features(flat(), source, train_limit=6, eval_limit=3)
    assert (len(features.train_labels), len(features.labels)) == (6, 3)


def test_a_source_without_labels(source):
    with pytest.raises(InputError, match="must be labelled"):
        KNN().run(flat(), Source(num_classes=None))


def test_features_are_in_order_float32_and_in_inference_mode():
    encoder = keras.Sequential([keras.layers.Flatten(), keras.layers.Dropout(0.9)])
    images = tf.random.stateless_uniform([7, 2, 2, 1], [0, 1])
    dataset = tf.data.Dataset.from_tensor_slices({"image": images, "label": tf.range(7)}).batch(3)

    def low_precision(images, training):
        return tf.cast(encoder(images, training=training), tf.bfloat16)

    features, labels = extract_features(low_precision, dataset)
    assert (features.dtype, labels.dtype) == (np.float32, np.int32)
    np.testing.assert_allclose(features, tf.reshape(images, [7, 4]), atol=0.01)
    assert labels.tolist() == list(range(7))


def test_an_extractor_traces_once_and_sees_new_weights():
    dense, traces = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"), []

    def encoder(images, training):
        traces.append(tuple(images.shape))
        return dense(tf.reshape(images, [tf.shape(images)[0], 4]))

    dense.build([None, 4])
    dataset = tf.data.Dataset.from_tensor_slices({"image": tf.ones([7, 2, 2, 1]), "label": tf.range(7)}).batch(3)
    extractor = FeatureExtractor(encoder)
    assert extractor(dataset)[0].max() == 4
    dense.kernel.assign(2 * tf.ones([4, 1]))
    assert extractor(dataset)[0].min() == 8
    assert traces == [(None, 2, 2, 1)]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 8, 1), "must fit the encoder's input, 8 x 8 x 1. Received: images of 4 x 4 x 1."),
        ((None, None, 3), "must fit the encoder's input, any x any x 3. Received"),
    ],
)
def test_images_that_do_not_fit_the_encoder(shape, message):
    batches = [{"image": tf.ones([2, 4, 4, 1]), "label": [0, 1]}]
    with pytest.raises(InputError, match=message):
        extract_features(flat(shape), batches)


def test_an_encoder_must_give_vectors():
    with pytest.raises(InputError, match=r"must map images to \[B, F\]"):
        extract_features(lambda x, training: x, [{"image": tf.ones([2, 4, 4, 1]), "label": [0, 1]}])
    with pytest.raises(InputError, match="at least one batch"):
        extract_features(lambda x, training: x, [])


def test_options_are_checked():
    with pytest.raises(InputError, match="`k` must be >= 1"):
        KNN(k=0)
    with pytest.raises(InputError, match="`validation_fraction` must be < 1"):
        Linear(validation_fraction=1.0)
