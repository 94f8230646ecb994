"""Where XLA compiles a step, and that a strategy of one replica trains as none does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import batches, make_model
from tfcontrastive import optimizers
from tfcontrastive.config import InputError


@pytest.fixture(autouse=True)
def gpus(monkeypatch):
    """The GPUs that TensorFlow tells of: none, whatever this machine has, but for what a test puts in."""
    logical, found = tf.config.list_logical_devices, []
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: found if kind == "GPU" else logical(kind))
    return found


def compiled(strategy, jit_compile="auto"):
    with strategy.scope():
        model = make_model("simclr")
    model.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    return model.jit_compile


def one_replica():
    return tf.distribute.MirroredStrategy(["CPU:0"])


def test_no_xla_by_itself_on_the_cpu():
    assert not compiled(tf.distribute.get_strategy())


def test_xla_by_itself_on_a_gpu_without_a_strategy_alone(two_replicas, gpus):
    gpus.append("GPU:0")
    assert compiled(tf.distribute.get_strategy())
    assert not compiled(one_replica())
    assert not compiled(two_replicas)


def test_xla_is_refused_under_a_mirrored_strategy(two_replicas):
    with pytest.raises(InputError, match=r"`jit_compile` must be False or 'auto' under .* on 2 replicas\."):
        compiled(two_replicas, jit_compile=True)


@pytest.mark.parametrize("optimizer", ["lars", "adamw", "loss scale"])
def test_one_replica_of_a_strategy_trains_as_none_does(optimizer):
    """As a machine of one GPU trains under a user's own `MirroredStrategy`."""

    def trained(strategy):
        with strategy.scope():
            if optimizer == "loss scale":
                model = make_model("simclr")
                made = optimizers.LossScale(optimizers.build("momentum", 0.1, momentum=0.9))
                model.compile(optimizer=made, jit_compile=False)
            else:
                model = make_model("simclr", optimizer=optimizer)
        model.fit(batches(2), verbose=0, shuffle=False)
        return [keras.ops.convert_to_numpy(value) for value in model.trainable_variables]

    with tf.device("CPU:0"):
        without_any = trained(tf.distribute.get_strategy())
    for under, without in zip(trained(one_replica()), without_any, strict=True):
        np.testing.assert_array_equal(under, without)
