"""The model of the cost: against hand-made numbers, a measured step, and itself at other sizes."""

import json
import pathlib
import subprocess
import sys
import types

import keras
import pytest

from tests.methods.cases import CASES
from tfcontrastive import cost, hardware
from tfcontrastive.builders import build_method
from tfcontrastive.commands.main import main
from tfcontrastive.config import DataConfig, EncoderConfig, InputError, LoopConfig, TrainConfig
from tfcontrastive.methods import METHODS
from tfcontrastive.plan import Plan

ROOT = pathlib.Path(__file__).parents[1]


def planned(method="simclr", *, replicas=1, width=0.0625, size=32, settings=None, **loop):
    config = TrainConfig(
        method=method,
        method_config=METHODS[method].Config(**(settings or {})),
        data=DataConfig(image_size=size),
        encoder=EncoderConfig(resnet_depth=18, width_multiplier=width),
        loop=LoopConfig(**{"train_batch_size": 64, **loop}),
    )
    source = types.SimpleNamespace(num_classes=None, channels=3)
    plan = Plan.make(config, num_examples=1000)
    model = cost.shapes_only(lambda: build_method(config, source, plan))
    return cost.estimate(model, config, replicas)


def test_operations_of_resnet_18_are_the_published_ones():
    """1.82 G multiply-adds an image of 224 pixels (torchvision's table), two operations each, thrice with backward."""
    found = planned(width=1.0, size=224, train_batch_size=2, settings={"proj_head_mode": "none"})
    assert found.flops == pytest.approx(3 * 2 * 1.82e9 * 4, rel=0.02)


def test_bytes_between_replicas():
    found = planned(replicas=4, settings={"proj_out_dim": 16})
    # Of 64 images' two views 3/4 lie elsewhere; each row comes once, and its gradient goes back once.
    assert found.received["embeddings"] == 2 * (128 * 3 // 4) * 16 * 4
    assert found.received["gradients"] == pytest.approx(2 * 4 * found.parameters * 3 / 4)
    assert sum(planned().received.values()) == 0


def test_a_queue_and_a_large_loss_are_counted():
    settings = {"queue_size": 1 << 20, "proj_out_dim": 16}
    memory = planned("moco", settings=settings).memory
    assert memory["queue"] == pytest.approx((1 << 20) * 16 * 4)
    assert memory["loss"] == 3 * 4 * (1 << 26)  # 64 rows of 2^20 logits are just dense
    assert planned("moco", settings=settings, train_batch_size=128).memory["loss"] == 3 * 4 * (1 << 24)  # tiled


def test_micro_batches_hold_their_share_of_the_activations():
    whole, parts = planned(), planned(micro_batch_size=16)
    head = planned(settings={"proj_head_mode": "none"})
    assert parts.memory["activations"] < whole.memory["activations"] / 4
    assert parts.flops == pytest.approx(whole.flops * 4 / 3, rel=0.01)
    assert head.memory["activations"] < whole.memory["activations"]


@pytest.mark.parametrize("case", CASES)
def test_every_method_has_a_plan_of_thousands_of_replicas(case):
    method, settings = CASES[case]
    found = planned(method, settings=settings, replicas=4096, train_batch_size=8192)
    assert found.step_seconds(hardware.HARDWARE["h100"], half=True) > 0
    assert found.total_memory > 0


def test_a_plan_allocates_no_weights():
    model = cost.shapes_only(lambda: keras.Sequential([keras.Input([1 << 20]), keras.layers.Dense(1 << 20)]))
    assert model.count_params() > 1 << 40  # four terabytes


def test_the_command_prints_the_plan(capsys):
    words = ["--recipe=simclr_imagenet_r50", "--replicas=128", "--hardware=tpu_v3"]
    assert main(["plan", *words]) == 0
    text = capsys.readouterr().out
    for part in ("4,096 on 128 x tpu_v3, 32 images each", "activations", "gradients", "images/s", "450 GB/s"):
        assert part in text
    assert main(["plan", *words, "--replicas=100"]) == 2
    assert "multiple of the number of replicas, 100" in capsys.readouterr().err


def test_unknown_hardware_is_refused():
    with pytest.raises(InputError, match="Did you mean 'a100'"):
        hardware.hardware_of("a101")


def test_the_memory_of_a_measured_step_is_the_planned_one_within_a_quarter():
    command = [sys.executable, ROOT / "benchmarks" / "large_batch.py", "--measure", "--batch=256", "--width=0.5"]
    run = subprocess.run([*command, "--micro_batch_size=0"], capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["planned"] == pytest.approx(found["added"], rel=0.25)
