"""The format of a checkpoint: every variable by its path, as TensorFlow's own tools list and read them.

format                            of this file's layout
model/encoder/conv/kernel         weights, statistics, queues, random states
optimizer/velocities/encoder/...  what the optimizer keeps, `optimizer/iterations` first of all
epoch_sums/loss/0                 what the metrics of an epoch that is not over are computed from
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.models.checkpoint_files import DAMAGE, damaged, is_whole, way_back
from tfcontrastive.models.variable_paths import optimizer_paths, variable_paths

FORMAT = 1
"""Raised where a path means another variable than before; tests/goldens holds a checkpoint of each format."""

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SUMS = "epoch_sums/"


def checkpoint_of(model: keras.Model, *, optimizer: bool = True) -> tf.train.Checkpoint:
    """Every variable of a compiled model, and with `optimizer` those of its optimizer and the sums of its metrics."""
    variables = {path: variable.value for path, variable in kept(model, optimizer=optimizer).items()}
    sums = {path: variable.value for path, variable in sums_of(model).items()} if optimizer else {}
    return from_paths({**variables, **sums})


def restore(path: str, model: keras.Model) -> dict[str, np.ndarray]:
    """Sets every variable of a compiled model and its optimizer from a checkpoint.

    Returns:
        the sums of the epoch's metrics by path, which are left as they are: Keras sets them to zero when an epoch begins.

    Raises:
        InputError: the checkpoint is of another network or format, not whole, or not of finite numbers.
    """
    variables, stored = kept(model), shapes(path)
    _compare(path, variables, {name: shape for name, shape in stored.items() if not name.startswith(_SUMS)})
    sums = {name: tf.Variable(_read(path, name)) for name in stored if name.startswith(_SUMS)}  # whichever there are
    _restore(path, {**{name: variable.value for name, variable in variables.items()}, **sums})
    lost = not_finite(model)
    if lost:
        raise InputError(
            f"a checkpoint must hold finite numbers. Received: {path}, where {len(lost)} variables are not, such as "
            f"{lost[0]}. {way_back(os.path.dirname(path), distribute.step_of(model))}"
        )
    return {name: value.numpy() for name, value in sums.items()}


def restore_weights(path: str, model: keras.Model, part: str = "") -> None:
    """As `restore`, but for the model alone, which need not be compiled; or for that `part` of the model that was saved."""
    prefix = f"model/{part}/" if part else "model/"
    variables = {f"{prefix}{name}": variable for name, variable in variable_paths(model).items()}
    _compare(path, variables, {name: shape for name, shape in shapes(path).items() if name.startswith(prefix)})
    _restore(path, {name: variable.value for name, variable in variables.items()})


def shapes(path: str) -> dict[str, list[int]]:
    """The shape of each variable in a checkpoint, by path.

    Raises:
        InputError: the checkpoint is not whole, or of another format.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        found = reader.get_variable_to_shape_map()
        number = int(reader.get_tensor(f"format{_VALUE}")) if f"format{_VALUE}" in found else None
    except (*DAMAGE, ValueError, SystemError) as error:
        raise damaged(path, error) from error
    if number != FORMAT:
        raise InputError(
            f"a checkpoint must be of format {FORMAT}. Received: {path}, of format {number}, which another version of "
            "tfcontrastive wrote: take that version, or start anew with --overwrite, which moves the run aside."
        )
    own = {
        name.removesuffix(_VALUE).replace("..", "."): shape for name, shape in found.items() if name.endswith(_VALUE)
    }
    return {name: shape for name, shape in own.items() if name not in ("format", "save_counter")}


def kept(model: keras.Model, *, optimizer: bool = True) -> dict[str, keras.Variable]:
    """Path -> variable of what a checkpoint holds for good, of a model and its optimizer."""
    weights = variable_paths(model)
    named = {f"model/{path}": variable for path, variable in weights.items()}
    if optimizer:
        named |= {f"optimizer/{path}": value for path, value in optimizer_paths(model.optimizer, weights).items()}
    return named


def sums_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Path -> variable of what the metrics of an epoch are computed from."""
    return {
        f"{_SUMS}{metric.name}/{place}": variable
        for metric in model.metrics
        for place, variable in enumerate(metric.variables)
    }


def not_finite(model: keras.Model) -> list[str]:
    """The paths of variables, of a compiled model and its optimizer, that hold a NaN or an infinity on this machine."""
    found = []
    for path, variable in kept(model).items():
        parts = model.distribute_strategy.experimental_local_results(variable.value)
        if parts[0].dtype.is_floating and not all(tf.reduce_all(tf.math.is_finite(part)) for part in parts):
            found.append(path)
    return found


def from_paths(variables: Mapping[str, tf.Variable]) -> tf.train.Checkpoint:
    """A checkpoint of this format that holds variables under their paths."""
    tree: dict[str, Any] = {"format": tf.Variable(FORMAT, trainable=False)}
    for path, variable in variables.items():
        *parents, name = path.split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = variable
    return tf.train.Checkpoint(**tree)


def _compare(path: str, wanted: Mapping[str, keras.Variable], stored: Mapping[str, list[int]]) -> None:
    """Raises InputError where a checkpoint has not the very variables that a model has."""
    absent, more = [name for name in wanted if name not in stored], [name for name in stored if name not in wanted]
    other = [name for name in wanted if name in stored and tuple(wanted[name].shape) != tuple(stored[name])]
    told = []
    if absent:
        told.append(f"without {len(absent)} of its variables, such as {absent[0]}")
    if more:
        told.append(f"with {len(more)} that it has not, such as {sorted(more)[0]}")
    if other:
        shape, there = list(wanted[other[0]].shape), stored[other[0]]
        told.append(f"with {len(other)} of another shape, such as {other[0]}, {there} and not {shape}")
    if told:
        raise InputError(f"the checkpoint must be of this very network. Received: {path}, {'; '.join(told)}.")


def _read(path: str, name: str) -> np.ndarray:
    try:
        return tf.train.load_checkpoint(path).get_tensor(name.replace(".", "..") + _VALUE)
    except (*DAMAGE, ValueError, SystemError) as error:
        raise damaged(path, error) from error


def _restore(path: str, variables: Mapping[str, tf.Variable]) -> None:
    try:
        from_paths(variables).restore(path).expect_partial().assert_existing_objects_matched()
    except (ValueError, AssertionError) as error:
        if not is_whole(path):
            raise damaged(path, error) from error
        reason = str(error).splitlines()[0]
        raise InputError(f"the checkpoint must be of this very network. Received: {path}: {reason}") from error
    except DAMAGE as error:
        raise damaged(path, error) from error
