"""Command lines: names, recipes, other projects' habits, and errors that help."""

import dataclasses
import json
import pathlib

import pytest
from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands import train as command
from tfcontrastive.commands.main import main
from tfcontrastive.config import BaseConfig, EncoderConfig, InputError, TrainConfig, nested, setting
from tfcontrastive.config.finetune import DistillConfig, FinetuneConfig
from tfcontrastive.methods import CONFIGS, METHODS, SimCLRConfig
from tfcontrastive.runs.schedule import filled_in

CIFAR10 = """--train_mode=pretrain --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0 --weight_decay=1e-4
    --temperature=0.5 --dataset=cifar10 --image_size=32 --eval_split=test --resnet_depth=18 --use_blur=False
    --color_jitter_strength=0.5 --model_dir=/tmp/simclr_test --use_tpu=False"""
IMAGENET = """--mode=train --train_mode=pretrain --train_batch_size=4096 --train_epochs=100 --temperature=0.1
    --learning_rate=0.075 --learning_rate_scaling=sqrt --weight_decay=1e-4 --dataset=imagenet2012 --image_size=224
    --eval_split=validation --data_dir=gs://bucket/data --model_dir=gs://bucket/model --use_tpu=True --tpu_name=pod
    --train_summary_steps=0"""


def config_of(text: str) -> TrainConfig:
    argv = command_line.expand(text.split())
    base = TrainConfig(method_config=SimCLRConfig())
    values = command.command_flags()
    command_line.define(base, values)
    command_line.parse(argv, values, foreign={"queue_size": ["moco"]})
    command.check_modes(values)
    return command_line.from_flags(base, values)


def test_simclr_readme_cifar10_command_means_the_same():
    config = config_of(CIFAR10)
    assert config.data.dataset == "cifar10"
    assert config.data.eval_split == "test"
    assert config.data.image_size == 32
    assert config.encoder.resnet_depth == 18
    assert config.method_config == SimCLRConfig(temperature=0.5, num_proj_layers=3, proj_out_dim=128)
    assert (config.augmentation.use_blur, config.augmentation.color_jitter_strength) == (False, 0.5)
    assert (config.optimizer.optimizer, config.optimizer.learning_rate, config.optimizer.weight_decay) == (
        "lars",
        1.0,
        1e-4,
    )
    assert (config.optimizer.learning_rate_scaling, config.optimizer.warmup_epochs) == ("linear", None)
    assert config.defaults.warmup_epochs == 10
    assert (config.loop.train_batch_size, config.loop.train_epochs, config.loop.use_tpu) == (512, 1000, False)
    assert config.loop.model_dir == "/tmp/simclr_test"


def test_simclr_readme_imagenet_command_means_the_same():
    config = config_of(IMAGENET)
    assert (config.loop.use_tpu, config.loop.tpu_name, config.loop.train_summary_steps) == (True, "pod", 0)
    assert (config.optimizer.learning_rate, config.optimizer.learning_rate_scaling) == (0.075, "sqrt")
    assert (config.data.data_dir, config.data.eval_split) == ("gs://bucket/data", "validation")
    assert (config.encoder.resnet_depth, config.encoder.width_multiplier) == (50, 1.0)


def test_the_recipe_comes_first_and_the_command_line_overrides_it():
    config = config_of("--temperature=0.3 --recipe=simclr_cifar10_r18")
    assert config.method_config.temperature == 0.3
    assert config.optimizer.learning_rate == 1.0


def test_a_flag_file_is_read(tmp_path):
    path = tmp_path / "my.flags"
    path.write_text("# a comment\n--train_epochs=7\n")
    assert config_of(f"--flagfile={path}").loop.train_epochs == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--temperatur=1", "Did you mean --temperature"),
        ("--queue_size=5", "It belongs to --method=moco"),
        ("--temperature=-1", "`temperature` must be > 0"),
        ("--temperature=warm", r"^`temperature` must be a number\. Received: --temperature=warm\.$"),
        ("--train_epochs=ten", r"^`train_epochs` must be a whole number\. Received: --train_epochs=ten\.$"),
        ("--train_epochs=1.5", r"^`train_epochs` must be a whole number\. Received: --train_epochs=1\.5\.$"),
        ("--use_blur=perhaps", r"^`use_blur` must be true or false\. Received: --use_blur=perhaps\.$"),
        ("--resnet_depth=19", "must be one of 18, 34, 50, 101, 152, 200\\. Received: 19"),
        ("--optimizer=sgd", "Did you mean 'momentum'"),
        ("--mixed_precision=bf16", "Did you mean 'bfloat16'"),
        ("--learning_rate=inf", "`learning_rate` must be a finite number"),
        ("--weight_decay=nan", "`weight_decay` must be"),
        ("--epochs=5", r"Did you mean --train_epochs\?"),
        ("--batch_size=5", r"Did you mean --train_batch_size\?"),
        ("--batch-size=5", r"Did you mean --train_batch_size\?"),
        ("--lr=5", r"Did you mean --learning_rate\?"),
        ("--output=5", r"Did you mean --model_dir\?"),
        ("--out=5", r"Did you mean --model_dir\?"),
        ("--output_dir=5", r"Did you mean --model_dir\?"),
        ("--image-size=5", r"Did you mean --image_size\?"),
        ("--optimizer=lamp", "Did you mean 'lamb'"),
        ("--recipe=simclr_cifar10", "Did you mean 'simclr_cifar10_r18'"),
        ("--flagfile=/no/such/file", "flagfile"),
        ("--train_mode=finetune", "train_mode"),
        ("stray", "must look like --name=value"),
    ],
)
def test_a_mistake_is_one_clear_error(text, message):
    with pytest.raises(InputError, match=message):
        config_of(text)


@pytest.mark.parametrize(
    ("command", "name", "flag"),
    [
        ("finetune", "output", "output_dir"), ("distill", "out", "output_dir"), ("evaluate", "output", "output_dir"),
        ("export", "output", "export_dir"), ("embed", "out", "output"), ("demo", "epochs", "train_epochs"),
        ("import", "output_dir", "export_dir"), ("finetune", "lr", "learning_rate"), ("distill", "epochs", "train_epochs"),
        ("embed", "model", "saved_model"), ("evaluate", "model_dir", "checkpoint"),
        ("demo", "model_dir", "output_dir"),
    ],
)  # fmt: skip
def test_another_programs_name_for_a_flag_is_understood(command, name, flag, capsys):
    assert main([command, f"--{name}=5"]) == 2
    assert f"`--{name}` is not a flag of this command. Did you mean --{flag}?" in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class OwnConfig(BaseConfig):
    """Of a method of the user's own."""

    momentum: float = setting(0.5, "A momentum.")
    seed: int = setting(3, "A seed.")
    dry_run: bool = setting(False, "A field that is a flag of the command.")
    plain: int = 4


def test_a_flag_with_two_owners_is_one_line_that_names_both():
    with pytest.raises(InputError, match=r"`momentum` must be .* both OwnConfig and OptimizerConfig"):
        command_line.define(TrainConfig(method_config=OwnConfig()), flags.FlagValues())
    with pytest.raises(InputError, match=r"`dry_run` must be .* both OwnConfig and the command"):
        command_line.define(OwnConfig(), command.command_flags())


# Every recipe's values as they were resolved before the defaults of batch and warm-up came to depend on the data.
GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "recipes.json").read_text())


@pytest.mark.parametrize("name", command_line.recipe_names())
def test_a_recipe_means_what_it_did(name):
    argv = command_line.expand([f"--recipe={name}"])
    kind = command_line.peek(argv, "train_mode", "pretrain")
    method = command_line.peek(argv, "method", "simclr")
    base = {
        "pretrain": TrainConfig(method=method, method_config=CONFIGS[method]()),
        "finetune": FinetuneConfig(),
        "distill": DistillConfig(encoder=EncoderConfig()),
    }[kind]
    values = flags.FlagValues()
    command_line.define(base, values)
    if kind == "pretrain":
        flags.DEFINE_string("train_mode", "pretrain", "", values)
    command_line.parse(argv, values)
    config, _ = filled_in(command_line.from_flags(base, values), num_examples=1_281_167)
    groups = {key: value if isinstance(value, dict) else {None: value} for key, value in nested(config).items()}
    found = {
        (f"{group}.{key}" if key else group): value for group, held in groups.items() for key, value in held.items()
    }
    expected = GOLDEN[""] | GOLDEN[name]
    assert {key: found[key] for key in expected} == expected


def test_flags_are_the_fields_of_the_configs():
    values = flags.FlagValues()
    command_line.define(TrainConfig(method_config=SimCLRConfig()), values)
    assert {"temperature", "resnet_depth", "train_batch_size", "use_blur"} <= set(values)
    assert values["temperature"].value == 0.1


@pytest.mark.parametrize("name", METHODS)
def test_help_shows_the_methods_own_flags(name):
    base = TrainConfig(method=name, method_config=METHODS[name].Config())
    text = command.help_text(name, base, command.command_flags())
    for field in METHODS[name].Config.__dataclass_fields__:
        assert f"--{field}" in text


@pytest.mark.parametrize("name", command_line.recipe_names("pretrain"))
def test_every_recipe_parses(name):
    argv = command_line.expand([f"--recipe={name}"])
    method = command_line.peek(argv, "method", "simclr")
    base = TrainConfig(method=method, method_config=METHODS[method].Config())
    values = command.command_flags()
    command_line.define(base, values)
    command_line.parse(argv, values)
    assert command_line.from_flags(base, values).method == method
    text = pathlib.Path(command_line.recipe_path(name)).read_text(encoding="utf-8")
    comment = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    assert text.startswith(comment)
    for part in ("Expected:", "Hardware and time:", f"Command: tfcontrastive train --recipe={name}"):
        assert part in comment
    # Either a published figure, which no run of ours gave, or one that this project's benchmark measures.
    assert "measured" in comment if name.startswith("embedded") else "ublished figure" in comment
