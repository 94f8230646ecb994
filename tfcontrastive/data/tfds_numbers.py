"""The number of an example in a split, from the id that tensorflow-datasets gives it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

_FILE_BITS = 40  # of a key, for the place in a file; the file has the bits above
_BUCKETS = 2**62


def numbers_by_id(parts: Sequence[tuple[str, int, int]]) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """From an id, a file's name and a place in it, to the number of the example in the order on disk.

    An order that shuffles files and reads several at once then numbers its examples as the order on disk does.

    Args:
        parts: of the split in its order: a file, the place of the first example that is read of it, and how many are.

    Returns:
        A function of scalar strings to int64 scalars; None where two files have one name. Of an example that a split holds
        twice, both times give the number of the last.

    Examples:
        >>> number_of = numbers_by_id([("x-train.tfrecord-00000-of-00001", 5, 10)])
        >>> int(number_of("x-train.tfrecord-00000-of-00001__7"))
        2
    """
    names = {path: os.path.basename(path) for path, _, _ in parts}
    hashes = tf.strings.to_hash_bucket_fast(list(names.values()), _BUCKETS).numpy()
    if len(np.unique(hashes)) < len(names):
        return None
    places = dict(zip(names, np.argsort(np.argsort(hashes)), strict=True))
    starts = np.array([(int(places[path]) << _FILE_BITS) + skip for path, skip, _ in parts], np.int64)
    firsts = np.cumsum([0, *(take for _, _, take in parts)])[:-1] - starts
    order = np.argsort(starts, kind="stable")
    with tf.init_scope():
        known, starts, firsts = (tf.constant(x) for x in (np.sort(hashes), starts[order], firsts[order]))

    def number_of(example_id: tf.Tensor) -> tf.Tensor:
        name = tf.strings.regex_replace(example_id, r"^(.*/)?([^/]*)__[0-9]+$", r"\2")
        within = tf.strings.to_number(tf.strings.regex_replace(example_id, r"^.*__", ""), tf.int64)
        file = tf.searchsorted(known, tf.strings.to_hash_bucket_fast(name, _BUCKETS)[None], out_type=tf.int64)[0]
        key = tf.bitwise.left_shift(file, tf.constant(_FILE_BITS, tf.int64)) + within
        return key + firsts[tf.searchsorted(starts, key[None], side="right", out_type=tf.int64)[0] - 1]

    return number_of
