"""A tree of image files."""

from __future__ import annotations

import os

import tensorflow as tf
from absl import logging

from tfcontrastive.config import InputError
from tfcontrastive.data.checked_files import CheckedFiles, as_tensor
from tfcontrastive.data.encoded import EncodedSource
from tfcontrastive.data.images import decode
from tfcontrastive.data.slices import members, parse_split

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_OTHER_IMAGES = (".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2")
_SPLIT_NAMES = ("train", "test", "val", "validation")
_BAD_SHARE = 0.01  # of the files, that may be left out


class FolderSource(EncodedSource):
    """JPEG, PNG, BMP and GIF files in a folder, of any size, shuffled by name before they are read.

    Splits: if the folder holds nothing but sub-folders named `train`, `test`, `val` or `validation`, these are the
    splits; otherwise all images are the split `train`. Expressions such as `train[90%:]` select from a fixed random
    order.

    Labels: if every image lies in a sub-folder (of its split) and there are at least two of these, their names, sorted,
    are the classes; folders below them make no classes. Otherwise the images are unlabelled.

    Names that start with a dot or with `__MACOSX` are passed over. EXIF orientation is ignored.

    Args:
        path: the folder.
        channels: 3 or 1 (gray), what the images are decoded to.
        cache: whether to hold the decoded images in memory; None decides by their size.

    Raises:
        InputError: no such folder, or no image in it.

    Example:
        source = FolderSource("photos")
        source.check("run/bad_files.txt")
        source.num_examples("train[90%:]")
    """

    def __init__(self, path: str, *, channels: int = 3, cache: bool | None = None):
        super().__init__(cache)
        if channels not in (1, 3):
            raise InputError(f"`channels` of a folder must be 1 or 3. Received: channels={channels}.")
        self.name, self.channels = f"folder:{path}", channels
        self._listings: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        self._roots = _split_roots(path)
        self._files = {split: image_files(root) for split, root in self._roots.items()}
        if not any(self._files.values()):
            raise InputError(f"`folder:` must hold image files ({' '.join(EXTENSIONS)}). Received: {path!r}.")
        self.splits = tuple(self._files)
        self.class_names = _class_names([file for files in self._files.values() for file in files])
        self.num_classes = len(self.class_names) if self.class_names else None

    def num_examples(self, split: str) -> int:
        _, start, stop = parse_split(split, self._sizes())
        return stop - start

    @tf.autograph.experimental.do_not_convert
    def references(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        files, labels = self._listing(split)
        count = self.num_examples(split)

        def example(index):
            if seeds is not None:
                index = tf.random.experimental.index_shuffle(index, seeds, tf.constant(count - 1, tf.int64))
            return tf.gather(files, index), tf.gather(labels, index)

        return tf.data.Dataset.range(count).map(example)

    def read(self, reference: tf.Tensor) -> tf.Tensor:
        return tf.io.read_file(reference)

    def image_shape(self, split: str) -> tuple[int, int, int] | None:
        try:
            return tuple(decode(tf.io.read_file(os.fsencode(self.paths(split)[0])), self.channels).shape)
        except tf.errors.OpError:
            return None

    def paths(self, split: str) -> list[str]:
        """The files of a split, in the order of `eval_batches`."""
        return [os.path.join(self._roots[name], file) for name, file in self._chosen(split)]

    def check(self, bad_files_path: str | None = None) -> list[str]:
        """Decodes every file once and leaves out what cannot be decoded, so that a run never meets it.

        Args:
            bad_files_path: file to list the bad ones in, with the reason. Beside it, `checked_files.json` remembers
                what was found of which file (by path, size and time), so that the next check is quick.

        Returns:
            The bad files' paths.

        Raises:
            InputError: more than 1% of the files are bad.
        """
        everything = [path for split in self.splits for path in self.paths(split)]
        reasons = CheckedFiles(bad_files_path).bad_among(everything, self.channels)
        if len(reasons) > _BAD_SHARE * len(everything):
            path, reason = next(iter(reasons.items()))
            raise InputError(
                f"At most {_BAD_SHARE:.0%} of a folder's images may be unreadable. Received: {len(reasons)} of "
                f"{len(everything)} in {self.name}, such as {path} ({reason})."
            )
        if reasons:
            logging.warning("%s: %d unreadable images are left out.", self.name, len(reasons))
            self._leave_out(reasons)
        return list(reasons)

    def _leave_out(self, bad) -> None:
        self._held.clear()
        self._listings.clear()
        for split, root in self._roots.items():
            self._files[split] = [file for file in self._files[split] if os.path.join(root, file) not in bad]

    def _sizes(self) -> dict[str, int]:
        return {split: len(files) for split, files in self._files.items()}

    def _chosen(self, split: str) -> list[tuple[str, str]]:
        """(name of the split, file) of each image that an expression selects."""
        name, start, stop = parse_split(split, self._sizes())
        files = self._files[name]
        return [(name, files[index]) for index in members(len(files), start, stop)]

    def _listing(self, split: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Paths, string `[N]`, and labels, int32 `[N]`, -1 where there are no classes."""
        if split not in self._listings:
            label_of = {name: label for label, name in enumerate(self.class_names or ())}
            with tf.init_scope():  # tensors that traced functions share instead of each holding all paths
                labels = [label_of.get(_top(file), -1) for _, file in self._chosen(split)]
                self._listings[split] = as_tensor(self.paths(split)), tf.constant(labels, tf.int32)
        return self._listings[split]


def _split_roots(path: str) -> dict[str, str]:
    """{split: folder}."""
    if not os.path.isdir(path):
        raise InputError(f"`folder:` must name a folder. Received: {path!r}.")
    try:
        names = sorted(name for name in os.listdir(path) if not _is_hidden(name))
    except OSError as error:
        _refuse(error)
    if names and all(name in _SPLIT_NAMES and os.path.isdir(os.path.join(path, name)) for name in names):
        return {name: os.path.join(path, name) for name in names}
    return {"train": path}


def image_files(root: str) -> list[str]:
    """Paths of the image files below a folder, relative to it, sorted. Images of other kinds are told of."""
    found, others, seen = [], [], set()
    for directory, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(directory)
        folders[:] = [name for name in folders if not _is_hidden(name)] if real not in seen else []
        if real in seen:  # a link that leads back
            continue
        seen.add(real)
        for kinds, paths in ((EXTENSIONS, found), (_OTHER_IMAGES, others)):
            paths += [
                os.path.relpath(os.path.join(directory, name), root)
                for name in files
                if name.lower().endswith(kinds) and not _is_hidden(name)
            ]
    if others:
        kinds = " ".join(EXTENSIONS)
        logging.warning(
            "%s: %d images that are not %s are left out, such as %s. Convert them.", root, len(others), kinds, min(others)
        )
    return sorted(found)


def file_labels(root: str, files: list[str]) -> list[str] | None:
    """The class of each image file of a folder by the rule of `FolderSource`, None where they have none.

    Args:
        root: the folder.
        files: paths relative to it, as `image_files` gives them.
    """
    if root not in _split_roots(root).values():  # below a folder for each split
        files = [file.split(os.sep, 1)[1] for file in files]
    return [_top(file) for file in files] if _class_names(files) else None


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed may be a whole class."""
    raise InputError(f"`folder:` must be readable as a whole. Received: {error.filename!r}: {error.strerror}.") from error


def _class_names(files: list[str]) -> tuple[str, ...] | None:
    names = {_top(file) for file in files}
    return tuple(sorted(names)) if None not in names and len(names) > 1 else None


def _top(file: str) -> str | None:
    """The first folder of a relative path, None if it lies in none."""
    return file.split(os.sep, 1)[0] if os.sep in file else None


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
