"""A classifier's parts: what is frozen, what is averaged, what is minimised."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders import BatchNorm, ResNet
from tfcontrastive.models.classifier import Classifier, freeze
from tfcontrastive.models.objectives import CrossEntropy

BATCH = {
    "views": (np.random.RandomState(0).rand(8, 8, 8, 3).astype("float32"),),
    "seeds": np.zeros([8, 1, 2], np.int32),
    "label": np.arange(8, dtype=np.int32) % 4,
}


def classifier(encoder=None, **options):
    keras.utils.set_random_seed(0)
    encoder = encoder() if encoder else ResNet(18, width_multiplier=0.0625, input_shape=(8, 8, 3))
    model = Classifier(encoder, 4, CrossEntropy(), **options)
    model.compile(optimizer=keras.optimizers.SGD(0.1), run_eagerly=True)
    return model


def step(model, count=1):
    for _ in range(count):
        model.train_step(tf.nest.map_structure(tf.constant, BATCH))


@pytest.mark.parametrize(
    ("block", "frozen_groups"), [(-1, ""), (0, "initial"), (2, "initial 1 2"), (4, "initial 1 2 3 4")]
)
def test_a_frozen_block_keeps_its_weights_and_its_moving_statistics(block, frozen_groups):
    model = classifier(fine_tune_after_block=block)
    before = {variable.path: variable.numpy() for variable in model.variables}
    step(model, 2)
    names = tuple(name if name == "initial" else f"block_group{name}" for name in frozen_groups.split())
    for variable in model.variables:
        if "seed" in variable.path:
            continue
        moved = not np.array_equal(before[variable.path], variable.numpy())
        assert moved != variable.path.startswith(names or ("none",)), variable.path


def test_blocks_are_for_this_packages_resnets():
    images = keras.Input((8, 8, 3))
    other = keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(images)))
    freeze(other, 4)
    with pytest.raises(InputError, match=r"must be -1 .* or 4"):
        freeze(other, 2)


def test_zero_logits_at_the_start():
    model = classifier(zero_init=True)
    np.testing.assert_array_equal(model(BATCH["views"][0]), np.zeros([8, 4]))


def test_averages_follow_the_weights_and_are_put_in_their_place():
    model = classifier(ema_decay=0.5, fine_tune_after_block=4)
    expected = model.head.kernel.numpy()
    for k in range(1, 5):
        step(model)
        decay = min(0.5, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * model.head.kernel.numpy()
    weights = model.head.kernel.numpy()
    with model.averaged():
        np.testing.assert_allclose(model.head.kernel.numpy(), expected, rtol=1e-5)
    np.testing.assert_array_equal(model.head.kernel.numpy(), weights)


def test_cross_entropy_is_that_of_keras_and_leaves_out_rows_without_a_label():
    logits = tf.constant(np.random.RandomState(1).randn(6, 4), tf.float32)
    labels = np.array([0, 1, 2, 3, 0, -1], np.int32)
    loss, metrics = CrossEntropy(0.1)(None, logits, {"label": labels})
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(loss, keras_loss(np.eye(4)[labels[:5]], logits[:5]), rtol=1e-6)
    right = np.argmax(logits[:5], axis=1) == labels[:5]
    np.testing.assert_allclose(metrics["accuracy"], right.mean(), rtol=1e-6)


def shallow():
    images = keras.Input((8, 8, 3))
    return keras.Model(images, BatchNorm()(keras.layers.Dense(5)(keras.layers.Flatten()(images))))


@pytest.mark.parametrize("labels", [BATCH["label"], [0, 1, 2, 3, 0, -1, -1, -1]], ids=["all known", "half known"])
def test_two_replicas_learn_what_one_does(two_replicas, labels):
    whole = {**BATCH, "label": np.array(labels, np.int32)}
    alone = classifier(shallow, ema_decay=0.9)
    alone.train_step(tf.nest.map_structure(tf.constant, whole))
    with two_replicas.scope():
        model = classifier(shallow, ema_decay=0.9)
    half = [tf.nest.map_structure(lambda x, r=r: tf.constant(x[4 * r : 4 * r + 4]), whole) for r in range(2)]
    batch = two_replicas.experimental_distribute_values_from_function(
        lambda context: half[context.replica_id_in_sync_group]
    )
    two_replicas.run(tf.function(model.train_step), (batch,))
    for one, other in zip(alone.variables, model.variables, strict=True):
        if "seed" not in one.path:
            np.testing.assert_allclose(other.numpy(), one.numpy(), atol=1e-5, err_msg=one.path)
