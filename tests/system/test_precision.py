"""`--mixed_precision=auto`: decided by a measurement, recorded with the run, kept when it goes on."""

import json

import pytest
import tensorflow as tf

from tests.commands.runs import argv, write_images
from tfcontrastive.commands.main import main
from tfcontrastive.config import LoopConfig, TrainConfig
from tfcontrastive.system import precision
from tfcontrastive.system.precision import Precision

measured = precision.fastest  # before the suite's fixture replaces it


@pytest.fixture
def ratios(monkeypatch):
    """Sets the measured ratio of bfloat16's time to float32's: of the small convolution, then of the large one."""

    def use(*values):
        left = list(values)

        def ratio(shape):
            value = left.pop(0)
            if isinstance(value, Exception):
                raise value
            return value

        monkeypatch.setattr(precision, "_time_ratio", ratio)
        return left

    measured.cache_clear()
    yield use
    measured.cache_clear()


def test_bfloat16_where_it_is_clearly_faster(ratios):
    ratios(0.8, 0.6)
    assert measured() == Precision("bfloat16", "in which a convolution takes 0.60 of float32's time here")


@pytest.mark.parametrize("ratio", [0.9, 1.5])
def test_float32_where_bfloat16_gains_little(ratios, ratio):
    ratios(0.8, ratio)
    assert measured().name == "float32"


def test_an_emulated_bfloat16_is_told_by_the_small_convolution(ratios):
    left = ratios(9.1, None)
    assert measured() == Precision(
        "float32", "since a bfloat16 convolution takes 9.1 times as long as one in float32 here"
    )
    assert left == [None]  # the large one, which would take seconds, was not run


def test_float32_where_there_is_no_bfloat16_convolution(ratios):
    ratios(tf.errors.AbortedError(None, None, "could not create a primitive"))
    assert measured().name == "float32"


@pytest.mark.parametrize(("capability", "name"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float32")])
def test_a_gpu_says_what_it_multiplies(capability, name, ratios, monkeypatch):
    """Measured on an H200, both came out, as others were at work on it or not."""
    ratios()  # nothing is measured
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    details = {"compute_capability": capability, "device_name": "a GPU"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    assert measured().name == name


def test_a_gpu_whose_maker_tells_nothing_is_measured(ratios, monkeypatch):
    ratios(0.8, 0.6)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: {})
    assert measured().name == "bfloat16"


def test_it_is_measured_once_in_a_process(ratios):
    ratios(0.8, 0.6)
    assert measured() is measured()


def test_the_measurement_runs_both_precisions():
    assert precision._time_ratio((2, 4, 4), rounds=1) > 0


def test_a_precision_that_is_named_is_not_measured(monkeypatch):
    monkeypatch.setattr(precision, "fastest", lambda: pytest.fail("measured"))
    assert precision.resolve("float16").name == "float16"
    config = TrainConfig(loop=LoopConfig(mixed_precision="bfloat16"))
    assert precision.resolved(config, tf.distribute.get_strategy()) is config


def test_what_auto_became_is_recorded_and_a_resumed_run_keeps_it(tmp_path, monkeypatch):
    run = tmp_path / "run"
    command = [word for word in argv(write_images(tmp_path / "images.npz"), run) if "mixed_precision" not in word]
    assert main(command) == 0
    assert '"mixed_precision": "float32"' in (run / "config.json").read_text()
    before = json.loads((run / "result.json").read_text())
    # The same run on a machine with native bfloat16: it is complete, and only reads what it was.
    monkeypatch.setattr(precision, "fastest", lambda: Precision("bfloat16", "in this test"))
    assert main(command) == 0
    assert '"mixed_precision": "float32"' in (run / "config.json").read_text()
    assert json.loads((run / "result.json").read_text()) == before


def test_a_new_run_takes_what_is_fastest(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "fastest", lambda: Precision("bfloat16", "in this test"))
    config = precision.resolved(TrainConfig(), tf.distribute.get_strategy())
    assert config.loop.mixed_precision == "bfloat16"
    assert precision.resolved(TrainConfig(), tf.distribute.get_strategy(), "float16").loop.mixed_precision == "float16"
