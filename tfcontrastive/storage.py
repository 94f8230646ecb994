"""Files on a disk or in a bucket: any place that TensorFlow's file systems know, such as `gs://bucket/run`."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
from collections.abc import Iterable, Iterator

import tensorflow as tf
from absl import logging

from tfcontrastive.config import InputError

exists = tf.io.gfile.exists
is_dir = tf.io.gfile.isdir
make_dirs = tf.io.gfile.makedirs


def names_in(directory: str) -> list[str]:
    """The names of what a directory holds; none of one that does not exist."""
    if not is_dir(directory):
        return []
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(directory))


def read_bytes(path: str) -> bytes:
    """A whole file.

    Raises:
        tf.errors.NotFoundError: there is none.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def read_text(path: str) -> str:
    """A whole file of text.

    Raises:
        tf.errors.NotFoundError: there is none.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path).decode("utf-8")


def stamp(path: str) -> str:
    """A text that changes when a file does: its size and time of change, or why these cannot be had."""
    try:
        if "://" in path:
            status = tf.io.gfile.stat(path)
            return f"{status.length} {status.mtime_nsec}"
        status = os.stat(path)
    except (OSError, tf.errors.OpError) as error:  # a link to nowhere
        return error.strerror if isinstance(error, OSError) else type(error).__name__
    return f"{status.st_size} {status.st_mtime_ns}"


def write(path: str | os.PathLike, content: str | bytes | Iterable[bytes]) -> None:
    """Writes a file aside and renames it, so that nobody ever sees half of it; of parts, one is in memory at a time."""
    path = os.fspath(path)
    with tf.io.gfile.GFile(path + ".tmp", "wb") as file:
        for part in [content] if isinstance(content, (str, bytes)) else content:
            file.write(part)
    tf.io.gfile.rename(path + ".tmp", path, overwrite=True)


def move(source: str, target: str) -> None:
    """Renames a directory.

    A bucket has no directories to rename: there it goes file by file, `saved_model.pb` last, without which a server sees
    no model.
    """
    if "://" not in source:
        os.rename(source, target)
        return
    for path in sorted(_files_in(source), key=lambda path: os.path.basename(path) == "saved_model.pb"):
        new = target + path[len(source) :]
        make_dirs(os.path.dirname(new))
        tf.io.gfile.rename(path, new)
    remove_tree(source)


def remove_tree(directory: str) -> None:
    """Removes a directory and all it holds, if it exists."""
    for path in _files_in(directory):
        tf.io.gfile.remove(path)
    # Not found: a bucket's directory goes with its last file, and TensorFlow's memory lists names that are not there.
    with contextlib.suppress(tf.errors.NotFoundError):
        tf.io.gfile.rmtree(directory)


def _files_in(directory: str) -> Iterator[str]:
    for path in (os.path.join(directory, name) for name in names_in(directory)):
        if is_dir(path):
            yield from _files_in(path)
        elif exists(path):
            yield path


def move_aside(argument: str, path: str) -> None:
    """Moves a directory to the first of `<path>.1`, `<path>.2`, ... that does not exist.

    Raises:
        InputError: naming the argument and the reason.
    """
    path = path.rstrip("/")
    with _told(argument, path):
        move(path, free_name(path))


def free_name(path: str) -> str:
    """The first of `<path>.1`, `<path>.2`, ... that does not exist."""
    return next(name for name in (f"{path}.{number}" for number in itertools.count(1)) if not exists(name))


def remove_left(path: str) -> None:
    """Removes a file or directory that a killed process left half written, unless a live one is writing it."""
    if _is_open(path):
        return
    logging.info("Removing %s, which a run that was killed has left.", path)
    tf.io.gfile.rmtree(path) if is_dir(path) else tf.io.gfile.remove(path)


def is_running(pid: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _is_open(path: str) -> bool:
    """Whether a process of this machine, of those that we may look at, has a file under a path open (Linux alone tells)."""
    own = os.path.realpath(path)
    for link in glob.iglob("/proc/[0-9]*/fd/*") if "://" not in path else ():
        with contextlib.suppress(OSError):  # another user's, or closed since
            target = os.readlink(link)
            if target == own or target.startswith(own + os.sep):
                return True
    return False


def make_writable(argument: str, path: str) -> None:
    """Makes a directory that can be written to.

    Raises:
        InputError: naming the argument and the reason.
    """
    probe = os.path.join(path, ".probe.tmp")
    with _told(argument, path):
        make_dirs(path)
        with tf.io.gfile.GFile(probe, "wb") as file:
            file.write(b"\0" * 4096)
        with contextlib.suppress(tf.errors.NotFoundError):  # another process has probed at the same time
            tf.io.gfile.remove(probe)


@contextlib.contextmanager
def _told(argument: str, path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message.rpartition("; ")[2]
        raise InputError(
            f"`{argument}` must be a directory that can be written to. Received: {path!r}: {reason}."
        ) from error
