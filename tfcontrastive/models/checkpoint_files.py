"""The files of a run's checkpoints: which is the newest, whether it is whole, and what to do where it is not."""

from __future__ import annotations

import os
import re

import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import storage
from tfcontrastive.config import InputError

DAMAGE = (IndexError, tf.errors.OpError)  # IndexError: a file that ends too early
_NAME = re.compile(r"step-(\d+)")
_LEFT = re.compile(r"checkpoint\.tmp\w*|step-\d+_temp")  # what a kill leaves of a checkpoint that was being written


def newest(directory: str) -> str | None:
    """The path of the newest checkpoint under a directory: the one named last, or where that one is gone, the last there is.

    Raises:
        InputError: the list of checkpoints is not whole.
    """
    try:
        named = tf.train.get_checkpoint_state(directory)
    except ValueError as error:
        raise InputError(
            f"{os.path.join(directory, 'checkpoint')} must name the newest checkpoint. Received: an empty or damaged file. "
            "Delete it: the newest one is found without it."
        ) from error
    steps = steps_in(directory)
    if named is not None:
        match = _NAME.fullmatch(os.path.basename(named.model_checkpoint_path))
        if match and int(match[1]) in steps:
            return path_of(directory, int(match[1]))
    return path_of(directory, steps[-1]) if steps else None


def newest_step(directory: str) -> int | None:
    """The step of the newest checkpoint under a directory, without reading it."""
    path = newest(directory)
    return None if path is None else int(path.rpartition("-")[2])


def steps_in(directory: str) -> list[int]:
    """The steps of the checkpoints under a directory, in order."""
    found = (re.fullmatch(r"step-(\d+)\.index", name) for name in storage.names_in(directory))
    return sorted(int(match[1]) for match in found if match)


def path_of(directory: str, step: int) -> str:
    """Where the checkpoint of a step lies."""
    return os.path.join(directory, f"step-{step}")


def at_step(directory: str, step: int) -> str:
    """The path of the checkpoint of a step.

    Raises:
        InputError: there is none; lists those there are.
    """
    steps = steps_in(directory)
    if step not in steps:
        there = ", ".join(map(str, steps)) or "none"
        raise InputError(
            f"`restore_step` must be the step of a checkpoint: {there}. Received: restore_step={step} of {directory!r}."
        )
    return path_of(directory, step)


def is_whole(path: str) -> bool:
    """Whether a checkpoint can be read to its end: TensorFlow compares the check sum of each tensor."""
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (*DAMAGE, ValueError, SystemError):  # SystemError: a reader that failed without a reason
        return False
    return True


def is_finite(path: str) -> bool:
    """Whether a checkpoint is whole and holds no NaN and no infinity."""
    try:
        reader = tf.train.load_checkpoint(path)
        values = (reader.get_tensor(name) for name in reader.get_variable_to_shape_map())
        return all(
            np.isfinite(value).all() for value in values if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        )
    except (*DAMAGE, ValueError, SystemError):
        return False


def damaged(path: str, error: Exception) -> InputError:
    """What to say of a checkpoint whose reading failed."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    directory, name = os.path.split(path)
    own = _NAME.fullmatch(name)
    earlier = [number for number in steps_in(directory) if own and number < int(own[1])]
    whole = next((number for number in reversed(earlier) if is_whole(path_of(directory, number))), None)
    advice = "No earlier one is: start anew with --overwrite, which moves this run aside."
    if whole is not None:
        advice = (
            f"The newest whole one is of step {whole}: train on from it with --restore_step={whole}, which moves newer ones "
            "aside."
        )
    return InputError(f"the checkpoint must be whole. Received: {path}: {reason}. {advice}")


def way_back(directory: str | None, before: int) -> str:
    """How a run whose numbers are no longer finite goes on: the end of an error's line.

    Args:
        directory: of the checkpoints; None where there are none.
        before: a step whose weights the numbers came from: those of earlier ones made finite numbers still.
    """
    lower = "a lower --learning_rate, or a higher --warmup_epochs or --temperature"
    if directory is None:
        return f"Start again with {lower}."
    earlier = [step for step in reversed(steps_in(directory)) if step < before]
    good = next((step for step in earlier if is_finite(path_of(directory, step))), None)
    if good is None:
        return f"There is no earlier checkpoint: start again with --overwrite and {lower}."
    return (
        f"The last good checkpoint is of step {good}. Go back to it, or further, with --restore_step={good} "
        f"--allow_config_change and {lower}."
    )


def move_newer_aside(directory: str, step: int, *more: str) -> None:
    """Moves the checkpoints after a step to the first of `<directory>.1`, ... that does not exist; nothing is lost.

    The list names the step's checkpoint first of all: it is the newest, wherever a kill leaves the others.

    Args:
        directory: of the checkpoints.
        step: of the one that a run goes on from.
        more: other files, copied to the same place.
    """
    steps = steps_in(directory)
    kept, newer = [n for n in steps if n <= step], [n for n in steps if n > step]
    lines = [f'model_checkpoint_path: "step-{step}"', *(f'all_model_checkpoint_paths: "step-{n}"' for n in kept)]
    storage.write(os.path.join(directory, "checkpoint"), "\n".join(lines) + "\n")  # TensorFlow's list, as text
    if newer:
        aside = storage.free_name(directory)
        storage.make_dirs(aside)
        for path in (path for path in more if storage.exists(path)):
            tf.io.gfile.copy(path, os.path.join(aside, os.path.basename(path)))
        for number in reversed(newer):
            files = [name for name in storage.names_in(directory) if name.startswith(f"step-{number}.")]
            for name in sorted(files):  # data first: what has lost its index would be swept
                tf.io.gfile.rename(os.path.join(directory, name), os.path.join(aside, name))
        logging.info(
            "Going back to step %d. Newer checkpoints are in %s. Leave --restore_step out next time.", step, aside
        )


def sweep(directory: str) -> None:
    """Removes what killed processes left of checkpoints that they were writing or deleting."""
    names, steps = storage.names_in(directory), set(steps_in(directory))
    for name in names:
        data = re.fullmatch(r"step-(\d+)\.data-\d+-of-\d+", name)
        if _LEFT.fullmatch(name) or (data and int(data[1]) not in steps):
            storage.remove_left(os.path.join(directory, name))
