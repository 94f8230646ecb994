"""A tree of image files."""

from __future__ import annotations

import copy
import os

import tensorflow as tf
from absl import logging

from tfcontrastive.config import InputError
from tfcontrastive.config.values import parse_share
from tfcontrastive.data.checked_files import CheckedFiles, as_tensor
from tfcontrastive.data.encoded import EncodedSource
from tfcontrastive.data.held_out import HeldOut
from tfcontrastive.data.label_file import read_labels
from tfcontrastive.data.opening import Opening, register_source
from tfcontrastive.data.paths import local_path
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.slices import members, parse_split
from tfcontrastive.data.tree import Tree, read_tree
from tfcontrastive.data.untuned import untuned


class FolderSource(EncodedSource):
    """Image files in a folder, of any kind and size, shuffled by name before they are read.

    JPEG, PNG, GIF, BMP and WebP; TIFF, AVIF, HEIC, PNM and JPEG 2000, where Pillow or the extra `images` reads them. The
    kind is told by the content. What is left out is counted in `left_out` and told of.

    Splits: folders named `train`, `validation`, `valid`, `val`, `dev` or `test`, in any case, are the splits; beside
    them may lie files, but no other folder of images. Without such folders all images are the split `train`. Expressions
    such as `train[90%:]` select from a fixed random order. No image is in `train` and in another split.

    Labels: if every image of a split lies in a sub-folder, and there are at least two of these, their names, sorted, are
    the classes; folders below them make no classes. Images of other splits have the label -1: those that lie flat, or all
    in one folder that is no class of the rest.

    Names that start with a dot or with `__MACOSX` are passed over. EXIF orientation is ignored.

    Args:
        path: the folder; `~` is expanded.
        channels: 3, 1 (gray) or 4 (RGBA), what the images are decoded to.
        cache: whether to hold the decoded images in memory; None decides by their size.
        rendering: of transparent and of 16-bit images; None: on white, and refused if 16 bits would come out dark.
        max_bad_files: share (`1%`) or number (`20`) of the files that may be unreadable.
        labels: a CSV file of `file,label`, which are the classes then, not the folders; see `label_file.read_labels`.
        held_out: a list of images that are not in `train` but in the split `held_out`, see `HeldOut`.

    Attributes:
        left_out: {kind or reason: number of files}.

    Raises:
        InputError: no such folder, no image in it, or splits and classes that cannot be told apart.

    Examples:
        source = FolderSource("photos")
        source.check("run/bad_files.txt")
        source.num_examples("train[90%:]")
    """

    decodes = True

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        channels: int = 3,
        cache: bool | None = None,
        rendering: Rendering | None = None,
        max_bad_files: str = "1%",
        labels: str | os.PathLike | None = None,
        held_out: str | os.PathLike | None = None,
    ):
        super().__init__(cache, rendering)
        if channels not in (1, 3, 4):
            raise InputError(f"`channels` of a folder must be 1, 3 or 4. Received: channels={channels}.")
        parse_share(max_bad_files, 1)
        path = local_path(path)
        self._told = False  # what is transparent, once
        self.name, self.channels, self._max_bad = f"folder:{path}", channels, max_bad_files
        self._listings: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        tree = read_tree(path)
        self.left_out = dict(tree.left_out)
        if not any(tree.files.values()):
            found = ", ".join(f"{count} {kind}" for kind, count in self.left_out.items()) or "nothing"
            raise InputError(f"`folder:` must hold images. Received: {path!r} with {found}.")
        if labels is not None:
            tree = tree.labelled_by(path, read_labels(labels))
        if held_out is not None:
            tree = tree.with_held_out(path, HeldOut.read(held_out))
        self._take(tree)

    def with_held_out(self, held_out: HeldOut) -> FolderSource:
        """The same images, some of `train` in a split of their own. Raises InputError: the list is of other images."""
        other = copy.copy(self)
        other._listings, other._held, other._versions = {}, {}, {}
        other._take(self._tree.with_held_out(self.name.partition(":")[2], held_out))
        return other

    def _take(self, tree: Tree) -> None:
        self._tree, self._roots, self._files = tree, tree.roots, tree.files
        self.splits, self.class_names = tuple(tree.files), tree.class_names
        self.num_classes = len(tree.class_names) if tree.class_names else None
        if tree.class_names:
            self.unlabelled_splits = tuple(split for split in self.splits if split not in tree.labelled)
            self.partly_labelled = tree.given is not None and any(
                tree.label(split, file) < 0 for split in tree.labelled for file in tree.files[split]
            )

    def num_examples(self, split: str) -> int:
        _, start, stop = parse_split(split, self._sizes())
        return stop - start

    @tf.autograph.experimental.do_not_convert
    def references(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        return self.numbered(split, seeds).map(lambda file, label, _: (file, label))

    @tf.autograph.experimental.do_not_convert
    def numbered(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        files, labels = self._listing(split)
        count = self.num_examples(split)

        def example(index):
            if seeds is not None:
                index = tf.random.experimental.index_shuffle(index, seeds, tf.constant(count - 1, tf.int64))
            return tf.gather(files, index), tf.gather(labels, index), index

        return untuned(tf.data.Dataset.range(count)).map(example)

    def content(self, reference: tf.Tensor) -> tf.Tensor:
        return tf.io.read_file(reference)

    def image_shape(self, split: str) -> tuple[int, int, int] | None:
        try:
            return tuple(self.decode(self.read(os.fsencode(self.paths(split)[0]))).shape)
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
            InputError: more files are bad than `max_bad_files` allows, or 16-bit images would come out dark.
        """
        everything = [path for split in self.splits for path in self.paths(split)]
        found = CheckedFiles(bad_files_path).look_at(everything, self.channels)
        reasons = {path: entry.reason for path, entry in found.items() if entry.reason}
        if len(reasons) > parse_share(self._max_bad, len(everything)):
            path, reason = next(iter(reasons.items()))
            raise InputError(
                f"`max_bad_files`: at most {self._max_bad} of a folder's images may be unreadable. Received: {len(reasons)} "
                f"of {len(everything)} in {self.name}, such as {path} ({reason}). Mend or remove them, or allow more: "
                f"--max_bad_files={_percent(len(reasons), len(everything))}."
            )
        if reasons:
            logging.warning("%s: %d unreadable images are left out.", self.name, len(reasons))
            self.left_out["unreadable"] = self.left_out.get("unreadable", 0) + len(reasons)
            self._leave_out(reasons)
        self.require_readable_depth([(entry.low, entry.high) for entry in found.values()])
        transparent = sum(entry.transparent for entry in found.values())
        if transparent and self.channels != 4 and not self._told:
            color = self.rendering.background_color
            logging.info(
                "%s: %d of %d images are transparent: they lie on %s.", self.name, transparent, len(found), color
            )
        self._told = True
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
            with tf.init_scope():  # tensors that traced functions share instead of each holding all paths
                labels = [self._tree.label(name, file) for name, file in self._chosen(split)]
                self._listings[split] = as_tensor(self.paths(split)), tf.constant(labels, tf.int32)
        return self._listings[split]


def _percent(count: int, total: int) -> str:
    """A share, in whole percents, that `count` does not exceed."""
    return f"{-(-100 * count // total)}%"


@register_source("folder", decodes=True)
def _open(path: str, opening: Opening) -> FolderSource:
    return FolderSource(
        path,
        channels=opening.channels or 3,
        cache=opening.cache,
        rendering=opening.rendering,
        max_bad_files=opening.max_bad_files,
        labels=opening.labels,
    )
