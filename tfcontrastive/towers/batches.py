"""Batches of pairs: what they must hold, and the forms in which one has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError

QUERY, KEY, HARD_NEGATIVE = "query", "key", "hard_negative"


class Pairs(NamedTuple):
    """A batch: B queries, their B keys, and the keys that are none, all in the form that their tower takes."""

    queries: Any
    keys: Any
    hard_negatives: Any = None
    """One or N for each query: `[B, ...]` or `[B * N, ...]`, in the order of the queries; None: none."""


def unpack(data: Any, *, key_is_query: bool, hard_negatives: bool) -> Pairs:
    """One element of the data, checked as far as its form tells.

    Args:
        data: `{"query": ..., "key": ..., "hard_negative": ...}`, the last one of one axis more than keys where there are
            several for a query.
        key_is_query: whether "key" may be left out, as the query is its own key.
        hard_negatives: whether the loss takes them.

    Raises:
        InputError: another form, or sides of different numbers of rows.
    """
    data = alone(data)
    if not isinstance(data, Mapping) or QUERY not in data or set(data) - {QUERY, KEY, HARD_NEGATIVE}:
        received = sorted(data) if isinstance(data, Mapping) else type(data).__name__
        raise InputError(
            f'`x` must be batches {{"query": ..., "key": ...}}, with or without "hard_negative". Received: {received}.'
        )
    queries, keys, hard = (data.get(name) for name in (QUERY, KEY, HARD_NEGATIVE))
    if keys is None:
        if not key_is_query:
            raise InputError(
                '`x` must hold "key" beside "query": only in sim_cse, with one tower that has dropout, is a text its own '
                f"key. Received: {sorted(data)}."
            )
        keys = queries
    if hard is not None:
        if not hard_negatives:
            raise InputError('"hard_negative" is for the losses sim_cse and dpr. Received: it, with another loss.')
        hard = tf.nest.map_structure(_in_a_row, hard, keys)
    rows = {name: _rows(side) for name, side in ((QUERY, queries), (KEY, keys))}
    known = [number for number in rows.values() if number is not None]
    if len(set(known)) > 1:
        raise InputError(f'"query" and "key" must have as many rows. Received: {rows[QUERY]} and {rows[KEY]}.')
    if known and known[0] * distribute.replica_count() < 2:
        raise InputError("pairs are told from one another: a batch must hold 2 or more. Received: 1.")
    return Pairs(queries, keys, hard)


def alone(data: Any) -> Any:
    """An element of the data out of Keras' (x, y, sample_weight), of which there are no others."""
    if isinstance(data, tuple) and data and all(part is None for part in data[1:]):
        return data[0]
    return data


def in_tensors(x: Any) -> Any:
    """What users hold (lists, arrays of strings, dictionaries of them) in the form that Keras cuts into batches."""
    if isinstance(x, Mapping):
        return {name: in_tensors(value) for name, value in x.items()}
    if isinstance(x, (list, tuple)):
        x = np.asarray(x)
    if isinstance(x, np.ndarray) and x.dtype.kind in "OSU":
        return tf.constant(x.tolist(), tf.string)
    return x


def stacked(keys: Any, hard: Any) -> Any:
    """Keys and hard negatives as one batch, for one pass of their tower."""
    return keys if hard is None else tf.nest.map_structure(lambda *both: tf.concat(both, axis=0), keys, hard)


def _rows(side: Any) -> int | None:
    return tf.nest.flatten(side)[0].shape[0]


def _in_a_row(hard: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """`[B, N, ...]` -> `[B * N, ...]`; `[B, ...]`, the shape of keys, stays."""
    if hard.shape.rank == key.shape.rank:
        return hard
    if hard.shape.rank != key.shape.rank + 1:
        raise InputError(
            '"hard_negative" must have the axes of "key", or one more after the first. '
            f"Received: {tuple(hard.shape)} beside {tuple(key.shape)}."
        )
    return tf.reshape(hard, tf.concat([[-1], tf.shape(hard)[2:]], axis=0))
