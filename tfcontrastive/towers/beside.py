"""What two towers keep beside the variables of their checkpoints: their layers, and the words that texts are cut into."""

from __future__ import annotations

import json
import os
from typing import Any

import keras
from absl import logging

from tfcontrastive import storage
from tfcontrastive.config import InputError

FILE = "towers.json"
FORMAT = 1


def vocabularies(model: keras.Model) -> list[list[Any]]:
    """The vocabulary of each layer that looks tokens up, in the model's own order, without the special tokens."""
    return [_words(layer) for layer in _looking_up(model)]


def write(model: keras.Model, directory: str) -> None:
    """Writes the file, over one of the same vocabularies.

    Raises:
        InputError: the directory holds checkpoints of other words.
    """
    check(model, directory)
    facts: dict[str, Any] = {"format": FORMAT, "vocabularies": vocabularies(model)}
    try:
        facts["model"] = model.get_config()
        text = json.dumps(facts)
    except (NotImplementedError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        logging.info("%s leaves out the layers, which have to be made again to read a checkpoint: %s", FILE, reason)
        text = json.dumps({**facts, "model": None})
    storage.make_dirs(directory)
    storage.write(os.path.join(directory, FILE), text)


def check(model: keras.Model, directory: str) -> None:
    """Compares the model's vocabularies with those that checkpoints of a directory were written with, if that is known.

    Raises:
        InputError: they differ: the variables would fit, and each word have another's vector.
    """
    if not storage.exists(os.path.join(directory, FILE)):
        return
    theirs, ours = _read(directory)["vocabularies"], vocabularies(model)
    if theirs == ours:
        return
    pairs = [pair for one, two in zip(theirs, ours, strict=False) for pair in zip(one, two, strict=False)]
    sizes = [[len(words) for words in each] for each in (theirs, ours)]
    other = next((f"{two!r} in place of {one!r}" for one, two in pairs if one != two), "of another size")
    raise InputError(
        f"`model` must look texts up in the words that {directory!r} was trained with, {_numbers(sizes[0])}. Received: "
        f"{_numbers(sizes[1])}, {other}. `TwoTower.from_checkpoints` makes the towers again, words and all."
    )


def rebuilt_config(directory: str) -> tuple[dict[str, Any], list[list[Any]]]:
    """The configuration and the vocabularies that a model of a directory is made again from.

    Raises:
        InputError: they are not there.
    """
    if not storage.exists(os.path.join(directory, FILE)):
        raise InputError(
            f"`directory` must hold {FILE}, which `callbacks.Checkpoints` writes. Received: {directory!r}, without it. Make "
            "the towers as they were made, from the same texts or vocabulary, and restore them with the callback."
        )
    facts = _read(directory)
    if facts.get("model") is None:
        raise InputError(
            f"`directory` must hold the towers' layers. Received: {directory!r}, whose towers have no configuration. Make "
            "them as they were made, and restore them with `callbacks.Checkpoints`."
        )
    return facts["model"], facts["vocabularies"]


def give_words(model: keras.Model, words: list[list[Any]]) -> None:
    """Sets the vocabularies that are not part of a layer's configuration, as those that were adapted are not."""
    for layer, own in zip(_looking_up(model), words, strict=True):
        if _words(layer) != own:
            layer.set_vocabulary(own)


def _looking_up(model: keras.Model) -> list[keras.layers.Layer]:
    """TextVectorization, StringLookup and IntegerLookup; a vectorization's own lookup does not count."""
    found = [layer for layer in model._flatten_layers() if hasattr(layer, "get_vocabulary")]
    inner = {id(getattr(layer, "_lookup_layer", None)) for layer in found}
    return [layer for layer in found if id(layer) not in inner]


def _words(layer: Any) -> list[Any]:
    words = layer.get_vocabulary(include_special_tokens=False)
    return [str(word) if isinstance(word, str) else int(word) for word in words]


def _numbers(sizes: list[int]) -> str:
    return " and ".join(f"{size:,} words" for size in sizes) or "no words"


def _read(directory: str) -> dict[str, Any]:
    path = os.path.join(directory, FILE)
    try:
        facts = json.loads(storage.read_text(path))
    except ValueError as error:
        raise InputError(f"{path} must be JSON. Received: {error}.") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        number = facts.get("format") if isinstance(facts, dict) else None
        raise InputError(
            f"{path} must be of format {FORMAT}. Received: format {number}, which another version of tfcontrastive wrote."
        )
    return facts
