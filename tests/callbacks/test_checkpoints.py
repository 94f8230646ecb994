"""When checkpoints are written."""

import keras
import numpy as np
import pytest

from tfcontrastive.callbacks import Checkpoints
from tfcontrastive.callbacks.checkpoints import newest_step

STEPS = 4  # of an epoch


class Killed(Exception):
    pass


def model():
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    made.compile("sgd", "mse")
    return made


def fit(directory, *callbacks, every_steps=2, epochs=2, steps_per_execution=1):
    trained = model()
    trained.steps_per_execution = steps_per_execution
    checkpoints = Checkpoints(directory, every_steps=every_steps, last_step=epochs * STEPS, keep=9)
    checkpoints.restore(trained)
    rows = np.ones((STEPS, 2)), np.ones((STEPS, 1))
    trained.fit(*rows, batch_size=1, epochs=epochs, verbose=0, callbacks=[*callbacks, checkpoints])
    return sorted(int(path.stem.rpartition("-")[2]) for path in directory.glob("*.index"))


@pytest.mark.parametrize(
    ("every_steps", "steps_per_execution", "expected"),
    [(2, 1, [2, 4, 6, 8]), (3, 1, [3, 6, 8]), (3, 2, [4, 6, 8]), (3, 4, [4, 8]), (100, 1, [8])],
)
def test_every_so_many_steps_and_the_last(every_steps, steps_per_execution, expected, tmp_path):
    assert fit(tmp_path, every_steps=every_steps, steps_per_execution=steps_per_execution) == expected


def test_no_checkpoint_is_past_an_epoch_whose_records_are_not_written(tmp_path):
    class Records(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise Killed

    with pytest.raises(Killed):
        fit(tmp_path, Records())
    assert newest_step(str(tmp_path)) == 2 * STEPS - 2
