"""Which class of one data set is which of another."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping

import numpy as np

from tfcontrastive import data
from tfcontrastive.config import InputError, unknown


def read_class_map(path: str) -> dict[str, str]:
    """A file of pairs: a JSON object `{"other class": "class"}`, or lines `other class,class`.

    Classes are names, or labels as numbers.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            if path.endswith(".json"):
                pairs = json.load(file).items()
            else:
                pairs = [(row[0].strip(), row[1].strip()) for row in csv.reader(file) if row]
        return {str(other): str(own) for other, own in pairs}
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"`class_map` must be a JSON object or a CSV file of pairs `other class,class`. Received: {path!r}: {error}."
        ) from error


def mapped_classes(other: data.Source, source: data.Source, class_map: Mapping[str, str] | None = None) -> np.ndarray:
    """The class of `source` that each class of `other` is.

    Without a map, classes of the same name are the same, as with ImageNet-R, whose 200 classes bear the WordNet names of
    ImageNet; the name of a class without one is its number.

    Args:
        other, source: labelled.
        class_map: other's class -> source's class, by name or number; other's classes that it leaves out have none.

    Returns:
        int `[other.num_classes]`, -1 for a class that has none.

    Raises:
        InputError: unlabelled data, a class that does not exist, or sets that share no names.
    """
    for one, name in ((other, "ood_dataset"), (source, "dataset")):
        if one.num_classes is None:
            raise InputError(f"`{name}` must be labelled. Received: {one.name} without labels.")
    result = np.full(other.num_classes, -1)
    if class_map is not None:
        for theirs, ours in class_map.items():
            result[_label(theirs, other)] = _label(ours, source)
        return result
    names, own = _names(other), {name: label for label, name in enumerate(_names(source))}
    missing = [name for name in names if name not in own]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(
            f"`class_map` must be given where the classes' names differ: {len(missing)} of {other.name} are no class of "
            f"{source.name}. Received: {shown}."
        )
    return np.array([own[name] for name in names])


def _names(source: data.Source) -> list[str]:
    return list(source.class_names or map(str, range(source.num_classes)))


def _label(name: str, source: data.Source) -> int:
    names = list(source.class_names or ())
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < source.num_classes:
        return int(name)
    raise InputError(f"`class_map`: a class of {source.name} {unknown(name, names or range(source.num_classes))}")
