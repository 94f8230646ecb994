"""What a run does when it is told to end or to save, and that signals mean again afterwards what they meant before."""

import os
import signal
import threading

import keras
import numpy as np
import pytest

from tfcontrastive import distribute
from tfcontrastive.callbacks import Checkpoints, Interruption
from tfcontrastive.system import signals

STEPS = 4  # of an epoch


@pytest.fixture(autouse=True)
def heard():
    """A shell's nohup has SIGHUP ignored, which the library respects."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Send(keras.callbacks.Callback):
    """Signals this process at the end of a step, or of an epoch, as a scheduler would."""

    def __init__(self, number, step=None, epoch=None):
        super().__init__()
        self.number, self.step, self.epoch = number, step, epoch

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self.step:
            os.kill(os.getpid(), self.number)

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            os.kill(os.getpid(), self.number)


class Records(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch + 1)


def fit(directory, *callbacks, epochs=3, every_steps=100, kind=Interruption):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    checkpoints = Checkpoints(str(directory), every_steps=every_steps, last_step=epochs * STEPS)
    first = checkpoints.restore(model)
    interruption = kind(checkpoints)
    rows = np.ones((STEPS, 2)), np.ones((STEPS, 1))
    with interruption.listening(model):
        model.fit(*rows, batch_size=1, initial_epoch=first // STEPS, epochs=epochs, verbose=0,
                  callbacks=[*callbacks, checkpoints, interruption])  # fmt: skip
    return int(model.optimizer.iterations)


def steps_in(directory):
    return sorted(int(path.stem.rpartition("-")[2]) for path in directory.glob("*.index"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_running_step_is_saved_and_the_run_ends(number, code, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        fit(tmp_path, Send(number, step=6))
    assert stopped.value.code == code
    assert str(stopped.value).startswith(f"stopped by {number.name}: step 6 is saved in {tmp_path}.")
    assert steps_in(tmp_path) == [6]


def test_a_signal_to_save_saves_and_the_run_goes_on(tmp_path):
    assert fit(tmp_path, Send(signal.SIGUSR1, step=5)) == 3 * STEPS
    assert steps_in(tmp_path) == [5, 12]


@pytest.mark.parametrize("where", [{"step": STEPS}, {"epoch": 0}])
def test_at_the_end_of_an_epoch_its_records_come_first(where, tmp_path):
    records = Records()
    with pytest.raises(signals.Stopped):
        fit(tmp_path, Send(signal.SIGTERM, **where), records)
    assert (records.epochs, steps_in(tmp_path)) == ([1], [STEPS])


def test_before_the_first_step_the_run_ends_at_once(tmp_path):
    class Early(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(signals.Stopped, match="no step was trained"):
        fit(tmp_path, Early())
    assert steps_in(tmp_path) == []


def test_one_that_comes_after_the_last_step_is_not_lost(tmp_path):
    class Late(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(signals.Stopped, match="the training is over"):
        fit(tmp_path, Late())
    assert steps_in(tmp_path) == [3 * STEPS]


def test_one_that_comes_while_other_workers_are_waited_for_is_not_lost(tmp_path):
    class Late(Interruption):
        def _act(self):
            gather = self._gather

            def slow(values):
                found = gather(values)
                if distribute.step_of(self.model) == 5:
                    os.kill(os.getpid(), signal.SIGTERM)
                return found

            self._gather = slow
            super()._act()
            self._gather = gather

    with pytest.raises(signals.Stopped, match="step 6 is saved"):
        fit(tmp_path, kind=Late)


def test_a_step_that_is_saved_already_is_not_saved_again(tmp_path):
    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if (tmp_path / "step-6.index").exists():
                times.append((tmp_path / "step-6.index").stat().st_mtime_ns)

    times = []
    with pytest.raises(signals.Stopped):
        fit(tmp_path, Send(signal.SIGTERM, step=6), Watch(), every_steps=6)
    assert steps_in(tmp_path) == [6]


def test_handlers_are_put_back_and_ignored_signals_stay_ignored(tmp_path):
    got = []
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, lambda *_: got.append("mine"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert fit(tmp_path, Send(signal.SIGHUP, step=2)) == 3 * STEPS
        os.kill(os.getpid(), signal.SIGTERM)
        assert got == ["mine"]
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_another_thread_leaves_signals_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def inside():
        with signals.handled(print, signals.STOP):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("sent", [True, False])
def test_an_end_that_was_turned_into_another_error_is_an_end(sent):
    def ended(number):
        raise signals.Stopped(number, "told to end")

    def call_back():
        with signals.handled(ended, signals.STOP):
            try:
                if sent:
                    os.kill(os.getpid(), signal.SIGTERM)
                raise ValueError
            except BaseException as inner:  # as a binding to C++ does
                raise RuntimeError("in a call back") from inner

    with pytest.raises(signals.Stopped if sent else RuntimeError) as error:
        call_back()
    assert not sent or error.value.code == 143
