"""Fine-tuning and distillation from another project's file, as it is."""

import json

import keras
import numpy as np
import pytest

from tests.commands.runs import ONE_BLOCK
from tfcontrastive import pretrained
from tfcontrastive.commands.main import main
from tfcontrastive.config import EncoderConfig
from tfcontrastive.downstream.teacher import Teacher
from tfcontrastive.pretrained.trained import load_trained
from tfcontrastive.runs.builders import build_encoder

ENCODER = ["--resnet_depth=18", "--width_multiplier=0.0625", "--stem=small"]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> str:
    """A training checkpoint of google-research/simclr with a supervised head for four classes."""
    config = EncoderConfig(resnet_depth=18, width_multiplier=0.0625, stem="small")
    keras.utils.set_random_seed(0)
    encoder = build_encoder(config, image_size=None, channels=3)
    head = keras.layers.Dense(4)
    head.build((None, encoder.output_shape[-1]))
    (path,), _ = pretrained.save(
        tmp_path_factory.mktemp("theirs"), "simclr_tf2", encoder=encoder, config=config, supervised_head=head
    )
    return path


def argv(command, dataset, output_dir, *more):
    loop = ["--train_batch_size=16", "--train_steps=1", "--image_size=8", "--warmup_epochs=0"]
    return [command, f"--dataset={dataset}", f"--output_dir={output_dir}", *loop, *more]


def test_finetune_starts_from_it(theirs, dataset, tmp_path):
    frozen = "--fine_tune_after_block=4"
    assert main(argv("finetune", dataset, tmp_path / "run", f"--checkpoint={theirs}", frozen, *ENCODER)) == 0
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    tuned = pretrained.load(theirs).encoder(images)
    np.testing.assert_allclose(load_trained(checkpoint=str(tmp_path / "run"))(images), tuned, rtol=1e-5, atol=1e-6)


def test_it_is_a_teacher(theirs, dataset, tmp_path):
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    source = pretrained.load(theirs)
    np.testing.assert_allclose(Teacher(theirs)(images), source.supervised_head(source.encoder(images)), rtol=1e-5)
    student = [f"--{name}={value}" for name, value in ONE_BLOCK.items()]
    assert main(argv("distill", dataset, tmp_path / "student", f"--teacher={theirs}", *student)) == 0
    assert "teacher_top1" in json.loads((tmp_path / "student" / "result.json").read_text())
