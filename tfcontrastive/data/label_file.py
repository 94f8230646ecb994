"""Labels of images from a CSV file: a column of files, a column of labels."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable

import tensorflow as tf
from absl import logging

from tfcontrastive import storage
from tfcontrastive.config import InputError

_FILE = ("file", "filename", "file_name", "path", "image", "image_path")
_LABEL = ("label", "class", "class_name", "category", "target")


def read_labels(path: str | os.PathLike) -> dict[str, str]:
    """What a CSV file says of each image; a file with an empty label has none.

    The first line names the columns: one `file` (or filename, path, image), one `label` (or class, category, target);
    others are passed over. Columns are separated by commas, semicolons or tabs.

    Args:
        path: of the CSV file, in UTF-8.

    Returns:
        {file: label}, as they are written there.

    Raises:
        InputError: no such file, no such columns, no label in it, or one file with two labels.

    Examples:
        >>> with open("labels.csv", "w") as file:
        ...     written = file.write("file,label\\ncat.jpg,cat\\n")
        >>> read_labels("labels.csv")
        {'cat.jpg': 'cat'}
    """
    path = os.path.expanduser(os.fspath(path))
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.message.rpartition("; ")[2]
        raise InputError(f"`labels` must be a CSV file of files and labels. Received: {path!r}: {reason}.") from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"`labels` must be a CSV file of files and labels. Received: {path!r}: {error}.") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    file_at, label_at = _column(names, _FILE), _column(names, _LABEL)
    if file_at is None or label_at is None:
        raise InputError(
            f"`labels` must have a first line with the columns file and label. Received: {path!r}, which begins with "
            f"{head.strip()[:100]!r}."
        )
    found: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(value.strip() for value in row):
            continue
        if len(row) <= max(file_at, label_at) or not row[file_at].strip():
            raise InputError(f"`labels` must name a file and a label in each line. Received: {path!r}, line {number}.")
        file, label = row[file_at].strip(), row[label_at].strip()
        if found.setdefault(file, label) != label:
            raise InputError(
                f"`labels` must give a file one label. Received: {path!r}: {file!r} is {found[file]!r} and {label!r}."
            )
    found = {file: label for file, label in found.items() if label}
    if not found:
        raise InputError(f"`labels` must hold at least one label. Received: {path!r}, with none.")
    return found


def matched(labels: dict[str, str], files: Iterable[str], root: str) -> dict[str, str]:
    """The label of each image of a folder that has one.

    A file is meant by its path below the folder, by its absolute path, or, where these name no image at all, by its name
    alone or its name without the extension, if only one image has it.

    Args:
        labels: from `read_labels`.
        files: paths of the images below the folder.
        root: the folder.

    Returns:
        {path below the folder: label}.

    Raises:
        InputError: no line names an image, or a name may mean several.
    """
    files = list(files)
    own = {os.path.normpath(file): file for file in files}
    found = {}
    for name, label in labels.items():
        file = own.get(os.path.normpath(os.path.relpath(name, os.path.abspath(root)) if os.path.isabs(name) else name))
        if file is not None:
            found[file] = label
    for key in (os.path.basename, lambda file: os.path.splitext(os.path.basename(file))[0]):
        if found:
            break
        alike: dict[str, list[str]] = {}
        for file in files:
            alike.setdefault(key(file), []).append(file)
        for name, label in labels.items():
            meant = alike.get(os.path.basename(name), [])
            if len(meant) > 1:
                raise InputError(
                    f"`labels` must name each image by its path below {root!r}. Received: {name!r}, which is {meant[0]!r} "
                    f"or {meant[1]!r}."
                )
            if meant:
                found[meant[0]] = label
    if not found:
        name = next(iter(labels))
        raise InputError(
            f"`labels` must name images of {root!r}. Received: none of its {len(labels):,} files is there, such as {name!r}."
        )
    if len(found) < len(labels):
        logging.warning("`labels` names %d files that are not among the images.", len(labels) - len(found))
    return found


def class_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The classes, sorted; by value where all are whole numbers.

    Examples:
        >>> class_order(["10", "9", "9"]), class_order(["b", "a"])
        (('9', '10'), ('a', 'b'))
    """
    names = set(labels)
    numbers = all(name.isascii() and name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if numbers else (0, name)))


def _column(names: list[str], known: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)
