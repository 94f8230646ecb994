"""The model of the cost: against hand-made numbers, a measured step, and itself at other sizes."""

import json
import pathlib
import subprocess
import sys

import keras
import pytest

from tests.methods.cases import CASES
from tfcontrastive.commands.main import main
from tfcontrastive.config import AugmentConfig, DataConfig, EncoderConfig, InputError, LoopConfig, TrainConfig
from tfcontrastive.data import ImageSpec
from tfcontrastive.methods import METHODS
from tfcontrastive.planning import cost
from tfcontrastive.runs.builders import build_method
from tfcontrastive.runs.schedule import Plan
from tfcontrastive.system import hardware

ROOT = pathlib.Path(__file__).parents[2]


def planned(method="simclr", *, replicas=1, width=0.0625, size=32, settings=None, encoder="resnet", views=None, **loop):
    config = TrainConfig(
        method=method,
        method_config=METHODS[method].Config(**(settings or {})),
        data=DataConfig(image_size=size),
        augmentation=AugmentConfig(**(views or {})),
        encoder=EncoderConfig(encoder=encoder, resnet_depth=18, width_multiplier=width),
        loop=LoopConfig(**{"train_batch_size": 64, **loop}),
    )
    images = ImageSpec(3, 4 if method == "supcon" else None)
    plan = Plan.make(config, num_examples=1000)
    model = cost.shapes_only(lambda: build_method(config, images, plan))
    return cost.estimate(model, config, replicas)


def test_operations_of_resnet_18_are_the_published_ones():
    """1.82 G multiply-adds an image of 224 pixels (torchvision's table), two operations each, thrice with backward."""
    found = planned(width=1.0, size=224, train_batch_size=2, settings={"proj_head_mode": "none"})
    assert found.flops == pytest.approx(3 * 2 * 1.82e9 * 4, rel=0.02)


def test_operations_of_vit_small_are_the_published_ones():
    """4.6 G multiply-adds an image of 224 pixels (MoCo v3's table, DeiT's): 4.24 of layers, .36 of tokens with tokens."""
    settings = {"proj_head_mode": "none"}
    found = planned(encoder="vit_small", size=224, width=1.0, train_batch_size=2, settings=settings)
    assert found.flops == pytest.approx(3 * 2 * 4.6e9 * 4, rel=0.01)


def test_attention_grows_with_the_square_of_the_tokens():
    no_head = {"proj_head_mode": "none"}
    few, many = (planned(encoder="vit_small", size=size, width=0.25, settings=no_head) for size in (64, 256))
    tokens = [1 + (size // 16) ** 2 for size in (64, 256)]
    ratio = many.memory["activations"] / few.memory["activations"]
    assert ratio > 1.2 * tokens[1] / tokens[0]  # 1.29 of it: the rest of the network is linear


def test_small_views_cost_by_their_pixels_and_no_target_sees_them():
    crops = {"small_views": 4, "small_view_size": 64}
    no_head = {"proj_head_mode": "none"}
    two, more = (planned(size=128, settings=no_head, views=views) for views in ({}, crops))
    assert more.memory["images"] == 1.5 * two.memory["images"]  # four of a quarter of the pixels
    assert more.memory["activations"] == pytest.approx(1.5 * two.memory["activations"], rel=0.01)
    assert more.flops == pytest.approx(1.5 * two.flops, rel=0.01)
    small = {"hidden_dim": 8, "proj_out_dim": 8}
    two, more = (planned("byol", size=128, settings=small, views=views) for views in ({}, crops))
    assert more.flops == pytest.approx((4 * 2 + 3 * 4 / 4) / (4 * 2) * two.flops, rel=0.01)


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
    with keras.StatelessScope():  # which gives values to all variables that wait for them
        pass
    assert model.layers[-1].kernel._value is None


def test_the_command_prints_the_plan(capsys):
    argv = ["--recipe=simclr_imagenet_r50", "--replicas=128", "--hardware=tpu_v3"]
    assert main(["plan", *argv]) == 0
    text = capsys.readouterr().out
    for part in ("4,096 on 128 x tpu_v3, 32 images each", "activations", "gradients", "images/s", "450 GB/s"):
        assert part in text
    assert main(["plan", *argv, "--replicas=100"]) == 2
    assert "multiple of the number of replicas, 100" in capsys.readouterr().err


def test_unknown_hardware_is_refused():
    with pytest.raises(InputError, match="Did you mean 'a100'"):
        hardware.hardware_of("a101")


def test_a_run_larger_than_memory_is_told_of_and_one_far_beyond_is_refused(caplog):
    def told():
        """All that this package logs, which is by absl; TensorFlow's threads may log at any time."""
        return [record for record in caplog.records if record.name == "absl"]

    found = planned(train_batch_size=512)
    caplog.clear()
    cost.check_memory(found, 1, available=1.1 * found.total_memory)
    assert not told()
    cost.check_memory(found, 2, available=1.1 * found.total_memory)
    (record,) = told()
    assert "may not fit into memory" in record.getMessage()
    with pytest.raises(
        InputError, match=r"fit into memory.* GB, most of it activations, .* has .* GB.*--train_batch_size"
    ):
        cost.check_memory(found, 1, available=found.total_memory / 4)
    cost.check_memory(found, 1, available=found.total_memory / 4, refuse=False)
    assert len(told()) == 2


def test_the_memory_of_this_machine_is_known():
    assert 1e8 < hardware.machine_memory() < 1e15


@pytest.mark.parametrize(
    "network", [["--batch=256", "--width=0.5"], ["--batch=192", "--width=0.5", "--encoder=vit_small"]]
)
def test_the_memory_of_a_measured_step_is_the_planned_one_within_a_quarter(network):
    command = [sys.executable, ROOT / "benchmarks" / "large_batch.py", "--measure", *network]
    run = subprocess.run([*command, "--micro_batch_size=0"], capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["planned"] == pytest.approx(found["added"], rel=0.25)


def test_every_turn_of_a_view_goes_through_the_encoder():
    plain = planned(settings={"proj_head_mode": "none"})
    assert planned("rotation").flops == pytest.approx(4 * plain.flops, rel=0.02)
