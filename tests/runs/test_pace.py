"""The length of a run from the minutes it may take."""

import pytest

from tests.commands.runs import write_images
from tfcontrastive.config import DataConfig, EncoderConfig, InputError, LoopConfig, TrainConfig
from tfcontrastive.methods import SimCLRConfig
from tfcontrastive.runs.pace import Pace, measure_pace


def test_steps_fill_the_time_that_compiling_leaves():
    assert Pace(10.0, 0.5).steps_in(110.0) == 200
    assert Pace(10.0, 0.5).steps_in(110.0, step_cost=2.0) == 100


def test_too_little_time_is_refused_with_what_is_needed():
    with pytest.raises(InputError, match=r"at least 50 steps, of 2\.00 s each .* Give at least 2 more"):
        Pace(10.0, 2.0).steps_in(30.0)


@pytest.mark.filterwarnings("error:Your input ran out of data")
def test_the_pace_is_that_of_steps_after_the_first_and_nothing_is_written(tmp_path):
    config = TrainConfig(
        method_config=SimCLRConfig(proj_out_dim=8),
        data=DataConfig(dataset=write_images(tmp_path / "images.npz"), image_size=8),
        encoder=EncoderConfig(resnet_depth=18, width_multiplier=0.0625),
        loop=LoopConfig(model_dir=str(tmp_path / "run"), train_batch_size=16),
    )
    settled, pace = measure_pace(config, at_most_steps=3)
    assert settled.loop.mixed_precision == "float32"
    assert min(pace.step_seconds, pace.compile_seconds) > 0
    assert not (tmp_path / "run").exists()
