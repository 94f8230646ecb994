"""From what the user wrote to a source."""

from __future__ import annotations

import os

from tfcontrastive.config import InputError
from tfcontrastive.data.arrays import ArraySource
from tfcontrastive.data.folder import FolderSource
from tfcontrastive.data.source import Source
from tfcontrastive.data.tfds import TfdsSource
from tfcontrastive.data.tfrecord import TfRecordSource


def load(
    spec: str,
    *,
    data_dir: str | None = None,
    cache: bool | None = None,
    channels: int | None = None,
    fetch: bool = True,
) -> Source:
    """Opens a data set.

    Args:
        spec: one of
            - a name of tensorflow-datasets, with an optional configuration and version (`cifar10`,
              `imagenet2012_subset/10pct:5.*.*`), or a directory that it has prepared;
            - `folder:PATH`, a tree of image files;
            - `tfrecord:GLOB`, files of `tf.train.Example` records with encoded images;
            - `npz:FILE`, arrays;
            - `embedded`, 12,000 images of Fashion-MNIST that ship with this package.
        data_dir: the root of the data that tensorflow-datasets has prepared; None takes its default.
        cache: whether to hold the decoded images in memory; None holds those of one size and at most 1 GiB.
        channels: 3 or 1 (gray), what the images of a folder or of records are decoded to; None is 3.
        fetch: False downloads and prepares nothing: a source that is not on this machine tells what it lacks in `missing`.

    Returns:
        The source.

    Raises:
        InputError: no such data, or data of another form; says what to do.

    Example:
        >>> load("embedded").num_examples("test")
        2000
    """
    kind, _, where = spec.partition(":")
    where = os.path.expanduser(where)  # the shell does not expand ~ after a colon
    if kind == "folder":
        return FolderSource(where, channels=channels or 3, cache=cache)
    if kind == "tfrecord":
        return TfRecordSource(where, channels=channels or 3, cache=cache)
    if channels is not None:
        raise InputError(f"`channels` is for folder: and tfrecord: only. Received: channels={channels} for {spec!r}.")
    if kind == "npz":
        source = ArraySource.from_npz(where)
        source.files = (os.path.abspath(where),)
        return source
    if spec == "embedded":
        return TfdsSource.embedded(cache=cache)
    return TfdsSource.open(spec, data_dir=data_dir, cache=cache, fetch=fetch)
