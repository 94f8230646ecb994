"""What `tfcontrastive finetune` and `tfcontrastive distill` share: flags, result, SavedModel, report."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags, logging

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.commands.metrics import show_metrics
from tfcontrastive.commands.run_flags import encoder_of_start, run_flags, whose
from tfcontrastive.config import BaseConfig, EncoderConfig, InputError, flat_fields, from_nested, nested, replace_flat


def run_classifier(
    argv: Sequence[str],
    base: Any,
    *,
    title: str,
    train: Callable[..., Any],
    metrics_of: Callable[[Any], dict[str, float]],
    describe: Callable[..., str],
    ignored: BaseConfig | None = None,
    given: set[str] | None = None,
    command: str = "",
    own: flags.FlagValues | None = None,
) -> int:
    """Parses the arguments into a config like `base`, and trains or evaluates it.

    Args:
        argv: the arguments of the command line.
        base: the defaults.
        title: of the help.
        train, metrics_of, describe: what to do with the config.
        ignored: a config whose other flags are taken and have no effect.
        given: the flags that were given beside recipes, where `argv` is expanded already.
        own: flags of the command alone, for its caller.
    """
    if given is None:
        given, argv = command_line.given(argv), command_line.expand(argv)
    values = command_flags(own)
    command_line.define(dataclasses.replace(base, encoder=EncoderConfig()), values)
    flags.DEFINE_alias("output_dir", "model_dir", flag_values=values)
    others = flags.FlagValues()
    if ignored is not None:
        command_line.define(ignored, others)
        for name in others:
            if name not in values:
                values[name] = others[name]
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(help_text(title, base, values, own))
        return 0
    command_line.parse(argv, values)
    show_own_messages()
    config = command_line.of_recipe(with_encoder(base, values), given)
    idle = [name for name in ("variable_schema", *others) if name not in flat_fields(base) and values[name].present]
    if idle:
        logging.info("Without effect in a fine-tuning: %s.", ", ".join(f"--{name}" for name in idle))
    if values["dry_run"].value:
        print(describe(config, **whose(values)))
        return 0
    if values["mode"].value == "eval":
        show_metrics(metrics_of(config))
        return 0
    result = train(config, **whose(values))
    finish(result, command)
    return 0


def command_flags(own: flags.FlagValues | None = None) -> flags.FlagValues:
    """The flags that belong to the command, not to the run's config."""
    values = run_flags("output_dir")
    for name in own or ():
        values[name] = own[name]
    flags.DEFINE_string(
        "variable_schema",
        None,
        "Of google-research/simclr: which weights to restore. Here all of the network's but the linear head's, always.",
        values,
    )
    return values


def with_encoder(base: Any, values: flags.FlagValues) -> Any:
    """The config with what was given. The network is that of what is started from, whose flags may say nothing else."""
    config = command_line.from_flags(dataclasses.replace(base, encoder=EncoderConfig()), values)
    given = {name: values[name].value for name in flat_fields(EncoderConfig()) if values[name].present}
    start = config.checkpoint or config.saved_model
    if not given:
        return dataclasses.replace(config, encoder=None if start else base.encoder)
    if not start:
        return dataclasses.replace(config, encoder=replace_flat(EncoderConfig(), given))
    held = stored_encoder(config.checkpoint, config.saved_model)
    if held is None:
        name, value = next(iter(given.items()))
        raise InputError(f"`{name}` must be left out: {start} brings its own network. Received: {name}={value}.")
    encoder = encoder_of_start(held, values)
    return dataclasses.replace(config, encoder=None if encoder == held else encoder)


def stored_encoder(checkpoint: str | None, saved_model: str | None) -> EncoderConfig | None:
    """The encoder's configuration in a run's directory, of published weights, or on an export's card; None: not told."""
    from tfcontrastive import pretrained, storage
    from tfcontrastive.pretrained.trained import CARD, latest_version
    from tfcontrastive.runs.model_dir import ModelDir

    if checkpoint is None:
        card = os.path.join(latest_version(saved_model), CARD)
        recipe = json.loads(storage.read_text(card)).get("recipe") if storage.exists(card) else None
        stored = recipe.get("encoder") if isinstance(recipe, dict) else None
    elif ModelDir(checkpoint).is_run:
        stored = ModelDir(checkpoint).read_config()["encoder"]
    else:
        return pretrained.recognise(checkpoint).config
    return from_nested(EncoderConfig(), stored) if isinstance(stored, dict) else None


def help_text(title: str, base: Any, values: flags.FlagValues, more: flags.FlagValues | None = None) -> str:
    """The flags of the command, by group."""
    nested = {
        "Data": base.data,
        "Augmentation": base.augmentation,
        "Encoder": EncoderConfig(),
        "Optimizer": base.optimizer,
        "Run": base.loop,
    }
    own, inside = flags.FlagValues(), {name for group in nested.values() for name in flat_fields(group)}
    for name in flat_fields(base):
        if name not in inside:
            own[name] = values[name]
    names = command_line.recipe_names(base.train_mode)
    title = f"{title}\nRecipes: {', '.join(names)}" if names else title
    return command_line.help_text(title, {"What and how": own, **nested, "Command": command_flags(more)})


def finish(result: Any, command: str = "") -> None:
    """Writes the SavedModel and the report of a finished run, and shows what came out."""
    from tfcontrastive import distribute, export
    from tfcontrastive.callbacks.loggers import attach_page
    from tfcontrastive.commands.classifier_page import write_page
    from tfcontrastive.runs.model_dir import ModelDir

    if not distribute.is_chief():
        return
    config, directory = result.config, ModelDir(result.config.loop.model_dir)
    with result.model.averaged():
        path = export.save_once(
            result.model.trunk,
            directory.saved_model,
            image_size=config.data.image_size,
            preprocessing=result.preprocessing,
            probe=result.model.head,
            card={
                "step": distribute.step_of(result.model),
                "recipe": nested(config, lasting=True),
                "metrics": result.metrics,
                "class_names": result.source.class_names,
                **({"imported": origin} if (origin := directory.read_origin()) else {}),
            },
        )
    attach_page(config.loop.log_to, directory.path, write_page(result, directory, path, command))
    show_metrics(result.metrics)
    print(f"SavedModel: {path}")
    print(f"Report: {os.path.join(directory.path, 'report.html')}")
