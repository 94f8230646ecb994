"""Several strategies in one process, as a notebook makes them, and what replicas bring together."""

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import DeviceConfig


def test_a_second_mirrored_strategy_does_not_disturb_the_first():
    first, second = (distribute.make_strategy(name, num_virtual_replicas=2) for name in ("mirrored", "auto"))

    @tf.function
    def gathered():
        return first.run(lambda: distribute.all_gather(tf.fill([1, 2], tf.cast(distribute.replica_id(), tf.float32))))

    @tf.function
    def meant():
        return second.run(lambda: distribute.all_mean(tf.cast(tf.fill([3], distribute.replica_id()), tf.float64)))

    for _ in range(2):
        assert first.experimental_local_results(gathered())[1].numpy().tolist() == [[0, 0], [1, 1]]
        assert second.experimental_local_results(meant())[0].numpy().tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("few", [0, 2**18])  # as TensorFlow gathers, and by one sum
def test_rows_come_in_the_order_of_replicas_and_gradients_go_back_to_them(few, two_replicas, monkeypatch):
    monkeypatch.setattr(distribute, "_FEW", few)
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    values[3, 1] = np.nan
    weights = np.random.default_rng(0).random((2, 4, 2)).astype(np.float32)  # of each replica's own loss

    @tf.function
    def step():
        def replica():
            x = tf.constant(values.reshape(2, 2, 2))[distribute.replica_id()]
            with tf.GradientTape() as tape:
                tape.watch(x)
                rows = distribute.all_gather(x)
                loss = tf.reduce_sum(rows * tf.constant(weights)[distribute.replica_id()])
            return rows, tape.gradient(loss, x)

        return two_replicas.run(replica)

    rows, gradients = map(two_replicas.experimental_local_results, step())
    for each in rows:
        np.testing.assert_array_equal(each, values)
    np.testing.assert_allclose(np.concatenate(gradients), weights.sum(axis=0), rtol=1e-6)


def test_every_setting_of_the_devices_counts(monkeypatch):
    monkeypatch.setattr(distribute, "make_strategy", lambda *args, **kwargs: (*args, kwargs))
    places = {"tpu_name": "pod", "tpu_zone": "zone", "gcp_project": "project"}
    settings = {"num_virtual_replicas": 2, "cluster_timeout": 7.0, **places}
    assert distribute.strategy_of(DeviceConfig(strategy="mirrored", **settings)) == ("mirrored", settings)
    assert distribute.strategy_of(DeviceConfig(use_tpu=True))[0] == "tpu"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_several_gpus_are_mirrored_and_one_trains_without_a_strategy(count, monkeypatch):
    """With one replica a `MirroredStrategy` would only keep Keras from compiling the step."""
    physical = tf.config.list_physical_devices

    def with_gpus(kind=None):
        return [f"GPU:{index}" for index in range(count)] if kind == "GPU" else physical(kind)

    monkeypatch.setattr(tf.config, "list_physical_devices", with_gpus)
    monkeypatch.setattr(distribute, "_mirrored_strategy", lambda devices: ("mirrored", devices))
    monkeypatch.delenv("TF_CONFIG", raising=False)
    alone = tf.distribute.get_strategy()
    assert distribute.make_strategy("auto") == (alone if count < 2 else ("mirrored", None))
