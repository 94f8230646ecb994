"""A path for each variable of a model and its optimizer, that is the same in every process and outlives a rewrite.

Keras' own paths hold numbers that depend on what else the process has made (`conv2d_17/kernel`), and a variable's place in a
list moves with every layer before it. Here a layer is called as the attribute that holds it, else by the name that it was
given, else by its class and a number among its siblings of that class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import keras


def variable_paths(model: keras.Layer) -> dict[str, keras.Variable]:
    """Path -> variable, of every weight, statistic and random state of a model; metrics are left out.

    Raises:
        ValueError: a variable that no layer of the model holds.

    Examples:
        >>> list(variable_paths(keras.Sequential([keras.Input([3]), keras.layers.Dense(2, name="logits")])))
        ['logits/kernel', 'logits/bias']
    """
    found = dict(_walk(model, "", set()))
    metrics = {id(variable) for metric in getattr(model, "metrics", ()) for variable in metric.variables}
    held = {id(variable) for variable in found.values()} | metrics
    lost = [variable.path for variable in model.variables if id(variable) not in held]
    if lost:
        raise ValueError(f"no layer of {model.name} holds {lost}")
    return {path: variable for path, variable in found.items() if id(variable) not in metrics}


def optimizer_paths(
    optimizer: keras.optimizers.Optimizer, weights: Mapping[str, keras.Variable]
) -> dict[str, keras.Variable]:
    """Path -> variable of an optimizer: `iterations`, and `velocities/encoder/conv/kernel` for what it keeps of a weight.

    What an optimizer holds neither as an attribute nor in a list of one a weight is `other_0`, ... in its own order.

    Args:
        optimizer: built.
        weights: path -> variable, as `variable_paths` gives them.
    """
    of_weight = {id(variable): path for path, variable in weights.items()}
    found = dict(_walk_optimizer(optimizer, of_weight))
    named = {id(variable) for variable in found.values()}
    others = [variable for variable in optimizer.variables if id(variable) not in named]
    return {**found, **{f"other_{place}": variable for place, variable in enumerate(others)}}


def _walk(layer: keras.Layer, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.Variable]]:
    """The variables of a layer and of those under it, each once."""
    seen.add(id(layer))
    taken: set[str] = set()
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    own += [generator.state for generator in layer._seed_generators]
    for variable in own:
        if id(variable) not in seen:
            seen.add(id(variable))
            yield prefix + _free(variable.name, taken), variable
    attributes = {id(value): name for name, value in vars(layer).items() if isinstance(value, keras.Layer)}
    for child in layer._layers:
        if id(child) in seen or not child.variables:
            continue
        name = attributes.get(id(child)) or _given_name(child)
        yield from _walk(child, f"{prefix}{_free(name.lstrip('_'), taken)}/", seen)


def _walk_optimizer(
    optimizer: keras.optimizers.Optimizer, of_weight: Mapping[int, str]
) -> Iterator[tuple[str, keras.Variable]]:
    weights = [of_weight.get(id(variable)) for variable in optimizer._trainable_variables]
    lists = ("_variables", "_trainable_variables")  # of all that it has, and of the model's
    for attribute, value in vars(optimizer).items():
        name = attribute.lstrip("_")
        if isinstance(value, keras.Variable):
            yield name, value
        elif isinstance(value, keras.optimizers.Optimizer):
            yield from ((f"{name}/{path}", variable) for path, variable in _walk_optimizer(value, of_weight))
        elif isinstance(value, (list, tuple)) and len(value) == len(weights) and attribute not in lists:
            for path, variable in zip(weights, value, strict=True):
                if path is not None and isinstance(variable, keras.Variable):
                    yield f"{name}/{path}", variable


def _given_name(layer: keras.Layer) -> str:
    """A layer's name, without the number that Keras gives to one that was not named: `conv2d_17` is `conv2d`.

    A name of that form that was given cannot be told from Keras' own, and counts as none.
    """
    plain = type(layer).__name__.lower()
    return plain if re.fullmatch(rf"{re.escape(plain)}\d*", layer.name.replace("_", "")) else layer.name


def _free(name: str, taken: set[str]) -> str:
    """A name that no sibling has, by a number where it is needed."""
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free
