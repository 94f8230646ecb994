"""What a run writes of itself, and how it goes on with it."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto import event_pb2

from tfcontrastive.callbacks import Summaries
from tfcontrastive.callbacks.summaries import read_history

STEPS = 4  # of an epoch


def fit(directory, first_step=0, before=(), **options):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.25), "mse")
    model.optimizer.iterations.assign(first_step)
    history = str(directory / "metrics.jsonl")
    options = {"batch_size": 50, "every_steps": 3, "first_step": first_step, **options}
    summaries = Summaries(str(directory / "logs"), history, **options)
    epoch = first_step // STEPS
    model.fit(np.ones((STEPS, 2)), np.ones((STEPS, 1)), batch_size=1, initial_epoch=epoch, epochs=epoch + 1, verbose=0,
              callbacks=[*before, summaries])  # fmt: skip
    return summaries, read_history(history)


def test_an_epoch_is_a_line(tmp_path):
    summaries, (line,) = fit(tmp_path)
    assert (line["step"], line["epoch"], line["learning_rate"]) == (STEPS, 1, 0.25)
    assert {"loss", "seconds", "images_per_second"} <= set(line)
    assert 0 < line["seconds"] <= summaries.seconds()


def test_scalars_come_each_so_many_steps_and_at_the_end_of_an_epoch(tmp_path):
    fit(tmp_path)
    (path,) = (tmp_path / "logs").iterdir()
    events = [event_pb2.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    assert [event.step for event in events for value in event.summary.value if value.tag == "train/loss"] == [3, 4]


def test_tensorboard_has_groups(tmp_path):
    class Measured(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["knn_top1"] = np.float32(0.5)

    fit(tmp_path, before=[Measured()])
    (path,) = (tmp_path / "logs").iterdir()
    events = [event_pb2.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    tags = {value.tag for event in events for value in event.summary.value}
    assert tags == {
        "train/loss",
        "train/images_per_second",
        "train/seconds",
        "optimizer/learning_rate",
        "eval/knn_top1",
    }


def test_the_pace_counts_images(tmp_path, monkeypatch):
    clock = iter(np.arange(0, 1000, 2.0))  # two seconds from each look to the next
    summaries, _ = fit(tmp_path)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    summaries._since = (-8.0, STEPS)
    assert summaries._pace(STEPS + 5)["images_per_second"] == 5 * 50 / 8
    assert "images_per_second" not in summaries._pace(STEPS + 5)


def test_a_resumed_run_keeps_the_lines_up_to_its_step_and_the_seconds_before(tmp_path):
    lines = [{"step": step, "epoch": step // STEPS, "seconds": 1000.0 * step} for step in (4, 8, 12)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summaries, history = fit(tmp_path, first_step=8)
    assert [line["step"] for line in history] == [4, 8, 12]
    assert history[:2] == lines[:2]
    assert "loss" in history[2]
    assert 8000 < history[2]["seconds"] < 9000
    assert 8000 < summaries.seconds() < 9000


@pytest.mark.parametrize("cut", ['{"step": 8, "sec', '{"step": 8}'])
def test_a_line_that_a_kill_cut_short_is_left_out(cut, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 4}\n' + cut)
    assert read_history(str(tmp_path / "metrics.jsonl")) == [{"step": 4}]


BAD = [b"", b"\0\0\0\0", b'{"step": 6, "sec', b"[1]", b"7", b'{"step": "8"}', b"\xff\xfe", b"[" * 100_000]


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_record_is_left_out_told_of_and_kept_aside(bad, tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    lines = [b'{"step": 4, "seconds": 2.0}', bad, b'{"step": 8}']
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert [line["step"] for line in read_history(str(path))] == [4, 8]
    assert "1 of its lines are no records and are left out: 2." in caplog.text
    _, history = fit(tmp_path, first_step=8)
    assert [line["step"] for line in history] == [4, 8, 12]
    assert (tmp_path / "metrics.jsonl.1").read_bytes().split(b"\n")[:3] == lines


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), bit=st.none() | st.integers(0, 7))
def test_a_history_with_any_bit_flipped_or_cut_anywhere_is_read(tmp_path, place, bit):
    content = bytearray(b"".join(b'{"step": %d, "epoch": 1, "seconds": %d.5}\n' % (step, step) for step in (4, 8, 12)))
    place %= len(content)
    if bit is None:
        content = content[:place]
    else:
        content[place] ^= 1 << bit
    (tmp_path / "metrics.jsonl").write_bytes(content)
    history = str(tmp_path / "metrics.jsonl")
    summaries = Summaries(str(tmp_path / "logs"), history, batch_size=1, every_steps=0, first_step=12)
    assert np.isfinite(summaries.seconds())
    assert len(read_history(history)) >= (1 if bit is not None else 0)  # a line break that is lost joins two lines
