"""An export, with a set of embeddings to search in."""

from __future__ import annotations

import json
import os
from typing import Any

import tensorflow as tf

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.export.digest import digest_of_files, model_digest
from tfcontrastive.export.embedding_files import EmbeddingFiles
from tfcontrastive.export.model_card import described_signatures, meta_graph, read_card, readme
from tfcontrastive.export.saved_index import SavedIndex, searches
from tfcontrastive.export.versions import aside_in, publish
from tfcontrastive.pretrained.trained import CARD, latest_version


def add_index(
    saved_model: str | os.PathLike,
    index: EmbeddingFiles | str | os.PathLike,
    base: str | os.PathLike,
    version: int | None = None,
) -> str:
    """Writes an export again, as it is, with the signatures `nearest` and `nearest_bytes` beside its own.

    Args:
        saved_model: what `save_model` wrote, or the base of its versions (the highest is taken).
        index: a set of embeddings that this export made, or its directory.
        base, version: as `save_model`.

    Returns:
        The path `base/<version>`.

    Raises:
        InputError: an index of another model, an export that has one already, or a version that exists.

    Examples:
        >>> path = add_index("exported", "vectors", "searchable")
        >>> found = tf.saved_model.load(path).signatures["nearest"](images=images, k=tf.constant(3))
        >>> found["ids"].shape == (len(images), 3)
        True
    """
    path = latest_version(saved_model)
    loaded: Any = tf.saved_model.load(path)
    own = dict(loaded.signatures)
    if "nearest" in own:
        raise InputError(f"`saved_model` must have no index yet. Received: {path}, which has one.")
    if "serving_default" not in own or "embedding" not in own["serving_default"].structured_outputs:
        raise InputError(f"`saved_model` must be written by tfcontrastive. Received: {path}.")
    held = SavedIndex(index)
    held.require_model(model_digest(path))
    held.require_width(own["serving_default"].structured_outputs["embedding"].shape[-1])
    found = searches(held, own)
    for name, function in found.items():
        setattr(loaded, name, function)
    loaded.index_variables = held.held
    with aside_in(base, version) as aside:
        tf.saved_model.save(loaded, aside, signatures={**own, **found})
        _copy_beside(path, aside)
        card = read_card(path) | {"index": held.facts, "signatures": described_signatures(meta_graph(aside))}
        if digest_of_files(aside, card.get("preprocessing", {}).get("hash")) != model_digest(path):
            raise InputError(f"`saved_model` must be one that can be saved again as it is. Received: {path}.")
        storage.write(os.path.join(aside, CARD), json.dumps(card, indent=2, default=str) + "\n")
        storage.write(os.path.join(aside, "README.md"), readme(card))
        return publish(aside, base, version)


def _copy_beside(source: str, target: str) -> None:
    """What lies in `assets.extra`: requests for warm-up, the encoder's architecture."""
    folder = os.path.join(source, "assets.extra")
    for name in storage.names_in(folder):
        storage.make_dirs(os.path.join(target, "assets.extra"))
        storage.write(os.path.join(target, "assets.extra", name), storage.read_bytes(os.path.join(folder, name)))
