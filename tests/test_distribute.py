"""Several strategies in one process, as a notebook makes them."""

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


def test_every_setting_of_the_devices_counts(monkeypatch):
    monkeypatch.setattr(distribute, "make_strategy", lambda *args, **kwargs: (*args, kwargs))
    places = {"tpu_name": "pod", "tpu_zone": "zone", "gcp_project": "project"}
    settings = {"num_virtual_replicas": 2, "cluster_timeout": 7.0, **places}
    assert distribute.strategy_of(DeviceConfig(strategy="mirrored", **settings)) == ("mirrored", settings)
    assert distribute.strategy_of(DeviceConfig(use_tpu=True))[0] == "tpu"
