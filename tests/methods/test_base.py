"""What a `ContrastiveModel` takes: data of several forms, any channels, any encoder."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive
from tests.methods.cases import SIZE, batches, make_model, tiny_encoder
from tfcontrastive.config import AugmentConfig, InputError


def compiled(channels: int = 3, **options) -> tfcontrastive.SimCLR:
    keras.utils.set_random_seed(0)
    model = tfcontrastive.SimCLR(tiny_encoder(channels), tfcontrastive.SimCLRConfig(proj_out_dim=8), **options)
    model.compile(optimizer=tfcontrastive.LARS(0.05))
    return model


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_fit_takes_an_array_of_images_of_any_channels(channels):
    images = np.random.default_rng(0).integers(0, 256, (32, SIZE, SIZE, channels), dtype=np.uint8)
    history = compiled(channels).fit(images, batch_size=16, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_fit_takes_labels_for_the_probe():
    images, labels = np.random.default_rng(0).random((32, SIZE, SIZE, 3), np.float32), np.arange(32) % 4
    history = compiled(num_classes=4).fit(images, labels, batch_size=16, verbose=0).history
    assert history["probe_loss"][0] > 0


def test_views_of_whole_images_differ_between_steps_rows_and_views():
    model = compiled()
    images = tf.tile(tf.random.stateless_uniform([1, SIZE, SIZE, 3], [0, 1]), [4, 1, 1, 1])
    first = model.augment_images(images)
    model.optimizer.iterations.assign(1)
    second = model.augment_images(images)
    made = [view.numpy()[row] for views in (first, second) for view in views for row in range(4)]
    for i in range(len(made)):
        for j in range(i):
            assert np.abs(made[i] - made[j]).max() > 1e-3
    model.optimizer.iterations.assign(0)
    np.testing.assert_array_equal(model.augment_images(images)[0], first[0])


def test_views_that_are_ready_are_not_changed():
    views = tuple(tf.random.stateless_uniform([4, SIZE, SIZE, 3], [0, seed]) for seed in range(2))
    made, batch = compiled().make_views((views, tf.range(4)))
    for one, two in zip(made, views, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(batch["label"], range(4))


def test_no_augmentation_leaves_images_as_they_are():
    model = compiled(augmentation=AugmentConfig(augmentation="none"))
    images = tf.random.stateless_uniform([2, SIZE, SIZE, 3], [0, 1])
    np.testing.assert_allclose(model.augment_images(images)[0], images, atol=1e-6)


def test_an_encoder_without_pooling_is_refused():
    images = keras.Input((8, 8, 3))
    with pytest.raises(InputError, match=r"features \[B, F\]"):
        tfcontrastive.SimCLR(keras.Model(images, keras.layers.Conv2D(4, 3)(images)))


def test_a_config_of_another_method_is_refused():
    with pytest.raises(InputError, match="must be a SimCLRConfig"):
        tfcontrastive.SimCLR(tiny_encoder(), tfcontrastive.BYOLConfig())


def test_build_names_a_wrong_setting():
    with pytest.raises(InputError, match="Did you mean 'temperature'"):
        tfcontrastive.build("simclr", tiny_encoder(), temprature=1.0)


def test_a_method_that_needs_numbers_of_images_says_so():
    with pytest.raises(InputError, match="InstDisc needs `index`"):
        make_model("instdisc").train_step({"views": next(iter(batches(1)))["views"]})


@keras.saving.register_keras_serializable("tests")
class OfItsOwn(keras.Model):
    """An encoder that is a subclass of `keras.Model`, not a graph of layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv, self.norm = keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()

    def call(self, images, training=False):
        return tf.reduce_mean(self.norm(self.conv(images), training=training), axis=(1, 2))


def test_an_encoder_may_be_a_subclass_that_was_called_once(tmp_path):
    encoder = OfItsOwn()
    encoder(tf.zeros([1, SIZE, SIZE, 3]))
    model = make_model("byol", encoder=encoder)
    model.fit(batches(1), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one, two in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("case", ["simclr", "byol"])
def test_a_step_of_one_image_is_finite(case):
    images = np.random.default_rng(0).random((1, SIZE, SIZE, 3), np.float32)
    model = make_model(case)
    history = model.fit(tf.data.Dataset.from_tensors({"views": (images, images)}), verbose=0).history
    history |= {f"{name}_unknown_size": value for name, value in model.fit(images, verbose=0).history.items()}
    assert all(np.isfinite(value).all() for value in history.values())


def test_a_smaller_last_batch_does_not_leave_the_queue():
    images = np.random.default_rng(0).random((10, SIZE, SIZE, 3), np.float32)
    model = tfcontrastive.build("moco", tiny_encoder(), queue_size=8, proj_out_dim=8)
    model.compile(optimizer="sgd")
    model.fit(images, batch_size=4, epochs=2, verbose=0)
    assert int(model.queue.position) == 20 % 8


def test_instances_at_a_low_temperature_have_a_finite_constant():
    model = tfcontrastive.build(
        "instdisc", tiny_encoder(), bank_size=80, temperature=0.005, proj_out_dim=4, num_negatives=8
    )
    model.compile(optimizer="sgd")
    model.fit(batches(1), verbose=0)
    assert np.isfinite(float(model.log_normalizer))


def test_the_probe_weighs_labelled_rows_alike_on_every_replica(two_replicas):
    def kernel_and_metrics():
        model = make_model("simclr")
        labels = np.where(np.arange(16) < 7, -1, np.arange(16) % 3)  # one labelled row on the first replica
        history = model.fit(batches(1).map(lambda batch: {**batch, "label": labels}), verbose=0).history
        return [np.asarray(model.probe.kernel), history["probe_loss"], history["probe_accuracy"]]

    alone = kernel_and_metrics()
    with two_replicas.scope():
        together = kernel_and_metrics()
    for one, two in zip(alone, together, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


def test_a_queue_that_the_batch_does_not_divide_is_refused():
    model = tfcontrastive.build("moco", tiny_encoder(), queue_size=20, proj_out_dim=8)
    model.compile(optimizer="sgd")
    with pytest.raises(InputError, match="`queue_size` must be a multiple of the keys of a step, 16"):
        model.train_step(next(iter(batches(1))))
