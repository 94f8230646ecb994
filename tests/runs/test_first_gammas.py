"""How a run's residual branches start: as asked, as in the run that goes on, else by the run's length."""

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from tfcontrastive import data
from tfcontrastive import flags as command_line
from tfcontrastive.config import EncoderConfig, LoopConfig, TrainConfig
from tfcontrastive.downstream.distill import DistillConfig
from tfcontrastive.downstream.finetune import FinetuneConfig
from tfcontrastive.methods import METHODS
from tfcontrastive.runs.builders import build_network, with_first_gammas
from tfcontrastive.runs.model_dir import ModelDir
from tfcontrastive.runs.schedule import Plan
from tfcontrastive.runs.settle import settled

CIFAR10 = """--train_mode=pretrain --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0 --weight_decay=1e-4
    --temperature=0.5 --dataset=cifar10 --image_size=32 --eval_split=test --resnet_depth=18 --use_blur=False
    --color_jitter_strength=0.5 --use_tpu=False"""


def decided(config, num_examples=1000, **loop):
    config = TrainConfig(encoder=config, loop=LoopConfig(**loop))
    return with_first_gammas(config, Plan.make(config, num_examples)).encoder.zero_init_residual


@pytest.mark.parametrize(("steps", "zero"), [(100, False), (4_999, False), (5_000, True), (100_000, True)])
def test_a_short_run_starts_with_open_branches(steps, zero):
    assert decided(EncoderConfig(), train_steps=steps) is zero
    assert (
        decided(EncoderConfig(), train_epochs=steps - 1, train_batch_size=1000) is zero
    )  # one step more than whole epochs


@pytest.mark.parametrize("steps", [100, 100_000])
@pytest.mark.parametrize("asked", [True, False])
def test_what_was_asked_for_stays(steps, asked):
    assert decided(EncoderConfig(zero_init_residual=asked), train_steps=steps) is asked


def test_a_network_without_such_branches_has_nothing_to_decide():
    assert decided(EncoderConfig(encoder="vit_small"), train_steps=100) is None
    config = FinetuneConfig(encoder=None)
    assert with_first_gammas(config, Plan.make(TrainConfig(), 1000)) == config


@pytest.mark.parametrize("kind", [FinetuneConfig, DistillConfig])
def test_networks_that_learn_from_labels_or_a_teacher_are_decided_on_too(kind):
    config = kind(encoder=EncoderConfig())
    assert with_first_gammas(config, Plan.make(config, 50_000)).encoder.zero_init_residual is False


@pytest.mark.parametrize("asked", [None, True, False])
def test_the_network_is_built_as_decided(asked):
    config = EncoderConfig(resnet_depth=18, width_multiplier=0.0625, zero_init_residual=asked)
    network = build_network(config, image_size=8, channels=1)
    assert network.get_config()["zero_init_residual"] is (asked is not False)


def run_of(path, steps, **encoder):
    return TrainConfig(encoder=EncoderConfig(**encoder), loop=LoopConfig(model_dir=str(path), train_steps=steps))


def test_a_run_that_goes_on_keeps_its_own(tmp_path):
    source = data.ArraySource({"train": (np.zeros([1000, 2, 2, 3], np.uint8), None)})
    short, long = run_of(tmp_path / "run", 100), run_of(tmp_path / "run", 10_000)
    directory, how = ModelDir(short.loop.model_dir), {"source": source, "strategy": tf.distribute.get_strategy()}
    first = settled(short, **how, stored=None)
    directory.claim(first, data.ImageSpec(3))
    assert directory.stored()["encoder"]["zero_init_residual"] is False
    assert settled(short, **how, stored=directory.stored()) == first  # or the run would be refused
    assert settled(long, **how, stored=directory.stored()).encoder.zero_init_residual is False
    assert settled(long, **how, stored=None).encoder.zero_init_residual is True


def config_of(argv):
    method = command_line.peek(argv, "method", "simclr")
    base, values = TrainConfig(method=method, method_config=METHODS[method].Config()), flags.FlagValues()
    command_line.define(base, values)
    flags.DEFINE_string("train_mode", "pretrain", "", values)
    command_line.parse(argv, values)
    return command_line.from_flags(base, values)


def test_the_cifar10_command_of_simclr_starts_as_its_code_does():
    config = config_of(CIFAR10.split())
    assert with_first_gammas(config, Plan.make(config, 50_000)).encoder.zero_init_residual is True


def of_papers_code(recipe):
    """What the published code has: SimCLR's and haiku's bottlenecks, moco-v3, barlowtwins and AMDIM's branches zeros;
    lightly's networks on CIFAR-10, moco, SupContrast, swav (DeepCluster v2), lemniscate, PyContrast (InfoMin), CMC, Local
    Aggregation and VISSL (jigsaw, PIRL) ones. Few steps, as here on embedded images and in the record, ask for ones."""
    if recipe.startswith(("embedded", "record")) or recipe.endswith("lightly"):
        return False
    return not recipe.startswith(
        (
            "moco_v1",
            "moco_v2",
            "supcon",
            "instdisc",
            "swav",
            "infomin",
            "jigsaw",
            "pirl",
            "cmc",
            "local_aggregation",
            "deepcluster_v2",
        )
    )


@pytest.mark.parametrize("recipe", command_line.recipe_names("pretrain"))
def test_a_recipe_starts_as_its_papers_code_does(recipe):
    encoder = config_of(command_line.expand([f"--recipe={recipe}"])).encoder
    expected = of_papers_code(recipe) if encoder.encoder == "resnet" else None
    assert encoder.zero_init_residual is expected
