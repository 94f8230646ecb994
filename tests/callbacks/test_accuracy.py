"""When a classifier is measured, and what is reported."""

import types

import numpy as np
import pytest

from tfcontrastive.callbacks import Accuracy


@pytest.mark.parametrize(("every_epochs", "due"), [(2, [1, 3, 4]), (0, [4])])
def test_it_measures_each_so_many_epochs_and_reports_the_end_only(every_epochs, due):
    measured = iter([0.9, 0.1, 0.5])
    callback = Accuracy(lambda: {"top1": next(measured)}, every_epochs=every_epochs, last_step=10)
    found, latest = [], []
    for epoch in range(5):
        callback.set_model(types.SimpleNamespace(optimizer=types.SimpleNamespace(iterations=np.int64(2 * epoch + 2))))
        logs = {}
        callback.on_epoch_end(epoch, logs)
        found += [epoch] if "top1" in logs else []
        latest.append(callback.latest)
    assert found == due
    assert latest == [{}] * 4 + [{"top1": 0.5 if every_epochs else 0.9}]
