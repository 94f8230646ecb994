"""What a `ContrastiveModel` takes: data of several forms, any channels, any encoder."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive
from tests.methods.cases import SIZE, batches, make_model, tiny_encoder
from tfcontrastive import distribute, methods
from tfcontrastive.config import AugmentConfig, BaseConfig, InputError, setting


def compiled(channels: int = 3, **options) -> tfcontrastive.SimCLR:
    keras.utils.set_random_seed(0)
    model = tfcontrastive.SimCLR(tiny_encoder(channels), tfcontrastive.SimCLRConfig(proj_out_dim=8), **options)
    model.compile(optimizer=tfcontrastive.LARS(0.05))
    return model


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_fit_takes_an_array_of_images_of_any_channels(channels):
    images = np.random.default_rng(0).integers(0, 256, (32, SIZE, SIZE, channels), dtype=np.uint8)
    history = compiled(channels).fit(images, batch_size=16, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.usefixtures("eagerly")
def test_fit_takes_labels_for_the_probe():
    images, labels = np.random.default_rng(0).random((32, SIZE, SIZE, 3), np.float32), np.arange(32) % 4
    history = compiled(num_classes=4).fit(images, labels, batch_size=16, verbose=0).history
    assert history["probe_loss"][0] > 0


def test_the_probe_learns_each_views_labels_and_leaves_out_rows_without():
    model = compiled(num_classes=4)
    features = np.random.default_rng(0).standard_normal((8, model.num_features)).astype(np.float32)  # two views of four
    labels = np.array([2, -1, 0, 3, 2, -1, 0, 3])
    loss, accuracy = model.probe_loss(tf.constant(features), tf.constant(labels[:4]))
    logits = model.probe(features).numpy()
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    rows = np.flatnonzero(labels >= 0)
    np.testing.assert_allclose(loss, -np.mean(log_p[rows, labels[rows]]), rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean(logits.argmax(axis=1)[rows] == labels[rows]), rtol=1e-6)


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


def test_every_option_comes_back_from_its_config():
    options = {
        "num_classes": 3,
        "augmentation": AugmentConfig(augmentation="moco_v2", color_jitter_strength=0.5),
        "seed": 7,
        "batch_norm_decay": 0.8,
        "total_steps": 9,
        "micro_batch_size": 4,
        "gradient_accumulation_steps": 2,
    }
    config = tfcontrastive.BYOLConfig(hidden_dim=6, proj_out_dim=4)
    model = tfcontrastive.BYOL(tiny_encoder(), config, global_bn=False, **options)
    again = tfcontrastive.BYOL.from_config(model.get_config())
    assert {name: getattr(again, name) for name in options if hasattr(again, name)} | again.head_options == {
        **{name: value for name, value in options.items() if name != "batch_norm_decay"},
        "global_bn": False,
        "batch_norm_decay": 0.8,
        "dtype": "float32",
    }
    assert (again.config, again.policy) == (config, model.policy)


@pytest.mark.parametrize("method", ["byol", "moco_v3", "relic"])
def test_the_momentum_of_the_first_step_is_the_configs_and_rises_to_one_over_the_run(method):
    model = tfcontrastive.build(method, tiny_encoder(), target_momentum=0.9)
    model.compile(optimizer="sgd")
    assert model.target_momentum() == 0.9  # the length of the run is not known
    model.total_steps = 10
    found = []
    for done in (1, 6, 11):  # momentum is asked for after the step
        model.optimizer.iterations.assign(done)
        found.append(float(model.target_momentum()))
    np.testing.assert_allclose(found, [0.9, 0.95, 1.0], rtol=1e-6)


def test_views_of_whole_images_are_cropped_each_in_its_own_way():
    model = compiled(augmentation=AugmentConfig(augmentation="crop"))
    first, second = model.augment_images(tf.random.stateless_uniform([4, SIZE, SIZE, 3], [0, 1]))
    assert np.abs(first - second).max(axis=(1, 2, 3)).min() > 1e-3


def test_images_alone_have_no_labels():
    _, batch = compiled().make_views(tf.zeros([4, SIZE, SIZE, 3]))
    np.testing.assert_array_equal(batch["label"], [-1] * 4)


def test_a_call_gives_the_features_and_moves_no_statistics():
    model, images = compiled(), tf.random.stateless_uniform([4, SIZE, SIZE, 3], [0, 1])
    before = [np.array(variable) for variable in model.variables]
    np.testing.assert_array_equal(model(images), model.encoder(images, training=False))
    np.testing.assert_equal([np.array(variable) for variable in model.variables], before)
    assert np.abs(model(images, training=True) - model(images)).max() > 1e-3


def test_each_cropped_view_is_colored_by_its_own_seeds():
    model, batch = compiled(), next(iter(batches(1)))
    made, _ = model.make_views(batch)
    for i, view in enumerate(made):
        expected = model.policy.views[i](batch["views"][i], batch["seeds"][:, i])
        np.testing.assert_array_equal(view, expected)
        assert np.abs(expected - model.policy.views[i](batch["views"][i], batch["seeds"][:, 1 - i])).max() > 1e-3


def test_replicas_make_the_views_that_one_device_makes_of_whole_images(two_replicas):
    images = tf.random.stateless_uniform([8, SIZE, SIZE, 3], [0, 1])
    expected = compiled(seed=3).augment_images(images)
    with two_replicas.scope():
        model = compiled(seed=3)
    halves = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.split(images, 2)[context.replica_id_in_sync_group]
    )
    made = tf.function(lambda values: two_replicas.run(model.augment_images, (values,)))(halves)
    for view, one in zip(made, expected, strict=True):
        together = tf.concat(two_replicas.experimental_local_results(view), axis=0)
        np.testing.assert_allclose(together, one, atol=1e-5)
    assert np.abs(expected[0] - compiled(seed=4).augment_images(images)[0]).max() > 1e-3


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


def test_build_takes_settings_of_the_method_and_of_the_model():
    policy = AugmentConfig(augmentation="moco_v2")
    model = tfcontrastive.build(
        "relic", tiny_encoder(), alpha=0.5, augmentation=policy, seed=3, total_steps=9, name="mine"
    )
    assert (model.config.alpha, model.augmentation, model.seed, model.total_steps) == (0.5, policy, 3, 9)
    assert model.name == "mine"


def test_build_refuses_a_name_that_config_and_model_share():
    @dataclasses.dataclass(frozen=True)
    class OwnConfig(BaseConfig):
        seed: int = setting(0, "Of its own.")

    class Own(tfcontrastive.ContrastiveModel):
        Config = OwnConfig

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.CONFIGS, "own", OwnConfig)
        patch.setitem(methods.METHODS, "own", Own)
        with pytest.raises(InputError, match="`seed` must be one setting, and OwnConfig and Own both have it"):
            tfcontrastive.build("own", tiny_encoder(), seed=1)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "0"])
def test_seeds_that_are_none_are_refused(seed):
    with pytest.raises(InputError, match=r"`seed` must be a whole number in 0\.\."):
        tfcontrastive.build("simclr", tiny_encoder(), seed=seed)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("method", ["moco", "instdisc"])
def test_every_seed_that_a_run_may_have_trains(method):
    settings = {"moco": {"queue_size": 16, "bn_splits": 2}, "instdisc": {"bank_size": 80, "num_negatives": 4}}[method]
    model = tfcontrastive.build(method, tiny_encoder(), proj_out_dim=4, seed=2**32 - 1, **settings)
    model.compile(optimizer="sgd")
    assert np.isfinite(model.fit(batches(1), verbose=0).history["loss"]).all()


def test_an_augmentation_by_name_alone_is_refused():
    with pytest.raises(InputError, match="`augmentation` must be an AugmentConfig"):
        tfcontrastive.SimCLR(tiny_encoder(), augmentation="simclr")


def test_keras_exports_what_was_trained(tmp_path):
    model = make_model("simclr")
    model.fit(batches(1), verbose=0)
    model.export(tmp_path / "model", verbose=False)
    images = np.random.default_rng(0).random((2, SIZE, SIZE, 3), np.float32)
    exported = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(exported.serve(images), model(images), rtol=1e-5, atol=1e-6)


def test_a_method_that_needs_numbers_of_images_says_so():
    with pytest.raises(InputError, match="InstDisc needs `index`"):
        make_model("instdisc").train_step({"views": next(iter(batches(1)))["views"]})


@pytest.mark.usefixtures("eagerly")
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


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("case", ["moco", "byol"])  # which learn from an image alone
def test_a_step_of_one_image_is_finite(case):
    images = np.random.default_rng(0).random((1, SIZE, SIZE, 3), np.float32)
    model = make_model(case)
    history = model.fit(tf.data.Dataset.from_tensors({"views": (images, images)}), verbose=0).history
    history |= {f"{name}_unknown_size": value for name, value in model.fit(images, verbose=0).history.items()}
    assert all(np.isfinite(value).all() for value in history.values())


@pytest.mark.usefixtures("eagerly")
def test_a_smaller_last_batch_does_not_leave_the_queue():
    images = np.random.default_rng(0).random((10, SIZE, SIZE, 3), np.float32)
    model = tfcontrastive.build("moco", tiny_encoder(), queue_size=8, proj_out_dim=8)
    model.compile(optimizer="sgd")
    model.fit(images, batch_size=4, epochs=2, verbose=0)
    assert int(model.queue.position) == 20 % 8


@pytest.mark.usefixtures("eagerly")
def test_instances_at_a_low_temperature_have_a_finite_constant():
    model = tfcontrastive.build(
        "instdisc", tiny_encoder(), bank_size=80, temperature=0.005, proj_out_dim=4, num_negatives=8
    )
    model.compile(optimizer="sgd")
    model.fit(batches(1), verbose=0)
    assert np.isfinite(float(model.log_normalizer))


@pytest.mark.usefixtures("eagerly")
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


@pytest.mark.parametrize("form", ["array", "small_array", "dataset", "odd_dataset"])
def test_batches_that_replicas_would_not_share_evenly_are_refused(form, two_replicas):
    images = np.zeros((11, SIZE, SIZE, 3), np.float32)
    data, options = {
        "array": (images, {"batch_size": 4}),
        "small_array": (images[:1], {}),
        "dataset": (tf.data.Dataset.from_tensor_slices(images).batch(4), {}),
        "odd_dataset": (tf.data.Dataset.from_tensor_slices(images).batch(3, drop_remainder=True), {}),
    }[form]
    with two_replicas.scope():
        model = make_model("simclr")
    with pytest.raises(InputError, match="that 2 replicas share evenly"):
        model.fit(data, verbose=0, **options)


@pytest.mark.usefixtures("eagerly")
def test_arrays_that_replicas_share_evenly_are_taken(two_replicas):
    with two_replicas.scope():
        model = make_model("simclr")
    model.fit(np.zeros((10, SIZE, SIZE, 3), np.float32), batch_size=4, verbose=0)
    assert distribute.step_of(model) == 3
