"""From what the user wrote to a source."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re

from tfcontrastive.config import InputError
from tfcontrastive.config.values import parse_share
from tfcontrastive.data.arrays import ArraySource
from tfcontrastive.data.folder import FolderSource
from tfcontrastive.data.held_out import HELD_OUT, HeldOut
from tfcontrastive.data.opening import DECODES, SOURCES, Opening
from tfcontrastive.data.paths import local_path
from tfcontrastive.data.rendering import render_as
from tfcontrastive.data.source import Source
from tfcontrastive.data.subset import Subset
from tfcontrastive.system.user_code import load_object


def load(
    spec: str,
    *,
    data_dir: str | None = None,
    cache: bool | None = None,
    channels: int | None = None,
    background_color: str | None = None,
    intensity_range: str | None = None,
    max_bad_files: str = "1%",
    labels: str | None = None,
    held_out: str | None = None,
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
            - `embedded`, 12,000 images of Fashion-MNIST that ship with this package;
            - `file.py:FUNCTION` or `package.module:FUNCTION`, a function of your own that returns a `Source`.

            In a path `~` is expanded.
        data_dir: the root of the data that tensorflow-datasets has prepared; None takes its default.
        cache: whether to hold the decoded images in memory; None holds those of one size and at most 1 GiB.
        channels: 3, 1 (gray) or 4 (RGBA), what the images of a folder or of records are decoded to; None is 3.
        background_color: what transparent images lie on: a name, `#rrggbb` or `rgb(r,g,b)`; None is white.
        intensity_range: `LOW,HIGH`, the values of 16-bit images that become black and white. None keeps the whole range,
            and images that fill less than half of it are refused.
        max_bad_files: share (`1%`) or number (`20`) of a folder's files that may be unreadable.
        labels: a CSV file of `file,label` for the images of a folder, in place of its sub-folders.
        held_out: a list of images of `train` that are the split `held_out` instead, as `tfcontrastive fit` writes it.
        fetch: False downloads and prepares nothing: a source that is not on this machine tells what it lacks in `missing`.

    Returns:
        The source.

    Raises:
        InputError: no such data, or data of another form; says what to do.

    Examples:
        >>> load("embedded").num_examples("test")
        2000
    """
    parse_share(max_bad_files, 1)
    opening = Opening(
        data_dir=data_dir,
        cache=cache,
        channels=channels,
        rendering=render_as(background_color, intensity_range),
        max_bad_files=max_bad_files,
        labels=labels,
        fetch=fetch,
    )
    kind, _, where = spec.partition(":")
    sources = _registered()
    if channels is not None and kind not in DECODES:
        names = " and ".join(f"{name}:" for name in sorted(DECODES))
        raise InputError(f"`channels` is for {names} only. Received: channels={channels} for {spec!r}.")
    if labels is not None and kind != "folder":
        raise InputError(f"`labels` is for folder: only. Received: labels={labels!r} for {spec!r}.")
    if kind in sources:
        source = sources[kind](local_path(where), opening)
    elif _OF_CODE.match(spec):
        source = _own(spec)
    else:
        source = sources["tfds"](spec, opening)
    return source if held_out is None or source.missing else with_held_out(source, HeldOut.read(held_out))


def with_held_out(source: Source, held_out: HeldOut) -> Source:
    """A source with some images of its `train` in a split of their own, `held_out`.

    Raises:
        InputError: the list is of other images.
    """
    if isinstance(source, (FolderSource, ArraySource)):
        return source.with_held_out(held_out)
    kept, out = held_out.rows(source.num_examples("train"), source.name)
    return Subset(source, {"train": ("train", kept), HELD_OUT: ("train", out)})


_OF_CODE = re.compile(r".+\.py:\w+$|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+:[A-Za-z_]\w*$")


def _own(spec: str) -> Source:
    """A source of your own."""
    source = load_object("dataset", spec, "function")()
    if not isinstance(source, Source):
        raise InputError(
            f"`dataset` {spec} must return a tfcontrastive.data.Source. Received: {type(source).__name__}."
        )
    return source


@functools.cache
def _registered() -> dict:
    """`SOURCES`, once the modules of this room have filled it."""
    room = __package__
    for module in pkgutil.iter_modules(importlib.import_module(room).__path__):
        importlib.import_module(f"{room}.{module.name}")
    return SOURCES
