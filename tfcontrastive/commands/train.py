"""`tfcontrastive train`: pre-train an encoder, then write its SavedModel."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.commands.main import import_tensorflow
from tfcontrastive.commands.metrics import show_metrics
from tfcontrastive.commands.run_flags import encoder_of_start, run_flags, whose
from tfcontrastive.config import BaseConfig, InputError, TrainConfig


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and trains, evaluates or only describes the run."""
    given, argv = command_line.given(argv), command_line.expand(argv)
    wants_help = any(word in ("--help", "-h", "-help") for word in argv)
    name = command_line.peek([word for word in argv if word not in ("--help", "-h", "-help")], "method", "simclr")
    base = TrainConfig(method=name, method_config=config_of(name))
    if command_line.peek(argv, "train_mode", "pretrain") == "finetune":
        from tfcontrastive.commands.finetune import run_as_train

        return run_as_train(argv, base, given)
    values = command_flags()
    if wants_help:
        print(help_text(name, base, values))
        return 0
    command_line.define(base, values)
    command_line.parse(argv, values, foreign=foreign_flags(name))
    config = command_line.of_recipe(command_line.from_flags(base, values), given)
    check_modes(values)
    show_own_messages()
    start = None
    if config.loop.checkpoint is not None:
        config, start = start_of(config, values)

    if values["dry_run"].value:
        from tfcontrastive.commands.describe import describe

        print(describe(config, start=start, **whose(values)))
        return 0
    from tfcontrastive import distribute, export
    from tfcontrastive.data import Preprocessing
    from tfcontrastive.runs.load_run import card_of
    from tfcontrastive.runs.model_dir import ModelDir
    from tfcontrastive.runs.pretrain import pretraining, train

    if values["mode"].value == "eval":
        show_metrics(pretraining(config).evaluate())
        return 0
    result = train(config, start=start, **whose(values))
    config = result.config
    if distribute.is_chief():
        directory = ModelDir(config.loop.model_dir)
        path = export.save_once(
            result.model,
            directory.saved_model,
            image_size=config.data.image_size,
            preprocessing=Preprocessing.of_run(config.encoder, config.data),
            card=card_of(result.config, directory, result.plan.steps),
        )
        show_metrics(result.metrics)
        print(f"SavedModel: {path}")
    return 0


def config_of(method: str) -> BaseConfig:
    """The method's own config, at its defaults. A method of your own brings TensorFlow with it."""
    from tfcontrastive import methods

    if ":" in method:
        import_tensorflow()
    return methods.config_class(method)()


def start_of(config: TrainConfig, values: flags.FlagValues) -> tuple[TrainConfig, Any]:
    """The config with the encoder of `--checkpoint` and the size of its images where no other is asked for, and what to
    start from; flags that ask for another network are refused."""
    from tfcontrastive.pretrained.trained import load_trained
    from tfcontrastive.runs.builders import OF_TRAINING

    asked = config.data.image_size if values["image_size"].present else None
    start = load_trained(checkpoint=config.loop.checkpoint, image_size=asked)
    if start.config is None:
        raise InputError(f"`checkpoint` must be a pre-training run or published weights. Received: {start.name}.")
    training = {name: getattr(config.encoder, name) for name in OF_TRAINING}
    encoder = dataclasses.replace(encoder_of_start(start.config, values), **training)
    data = dataclasses.replace(config.data, image_size=asked or start.image_size or config.data.image_size)
    return dataclasses.replace(config, encoder=encoder, data=data), start


def command_flags() -> flags.FlagValues:
    """The flags that belong to the command, not to the run's config."""
    values = run_flags("model_dir")
    flags.DEFINE_string("train_mode", "pretrain", "pretrain; or finetune: as `tfcontrastive finetune`.", values)
    return values


def check_modes(values: flags.FlagValues) -> None:
    """Refuses what google-research/simclr does under the same flags and this command does not."""
    if values["train_mode"].value != "pretrain":
        raise InputError(
            f"`train_mode` must be pretrain or finetune. Received: train_mode={values['train_mode'].value!r}."
        )


def foreign_flags(method: str) -> dict[str, list[str]]:
    """Flags of the other methods that this one does not take: {flag: methods that take it}."""
    from tfcontrastive import methods

    own = methods.config_class(method).__dataclass_fields__
    found: dict[str, list[str]] = {}
    for name, kind in methods.CONFIGS.items():
        for field in kind.__dataclass_fields__:
            if field not in own:
                found.setdefault(field, []).append(name)
    return found


def help_text(name: str, base: TrainConfig, values: flags.FlagValues) -> str:
    """The help of `train` for one method."""
    from tfcontrastive import methods

    groups = {
        f"Method ({', '.join(methods.CONFIGS)}, or file.py:Class), --method": base.method_config,
        "Data": base.data,
        "Augmentation": base.augmentation,
        "Encoder": base.encoder,
        "Optimizer": base.optimizer,
        "Run": base.loop,
        "Command": values,
    }
    title = (
        f"tfcontrastive train --method={name}: learn an encoder from unlabelled images.\n\n"
        "Example: tfcontrastive train --dataset=folder:photos --image_size=96 --model_dir=runs/photos\n"
        f"Recipes: {', '.join(command_line.recipe_names('pretrain'))}"
    )
    return command_line.help_text(title, groups)
