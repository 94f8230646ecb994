"""What the images are: counts, sizes, kinds, classes, and what is there twice; told in six lines."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.data import FolderSource, Source, labels_of
from tfcontrastive.fitting import duplicates
from tfcontrastive.fitting.looking import MOST_PIXELS, Facts, digests, looks, too_large

LOOKED_AT = 4_000
"""Images of a split whose pixels are looked at, evenly spaced; the content of all is compared."""

_SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Part:
    """What is known of a split.

    Attributes:
        ids: of its images: of a folder, their paths below it; of others, `split[number]`.
        labels: int `[N]`, -1 where there is none.
        group: int `[N]`, the same number for the same content, over all splits.
        rows: of the images that were looked at, ascending.
        facts: of these; None of one that cannot be read.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    group: np.ndarray
    rows: np.ndarray
    facts: tuple[Facts | None, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known of a source before anything is trained.

    Attributes:
        name: of the source.
        channels: that its images are decoded to.
        class_names: names of the classes; None: no labels.
        parts: by split.
        left_out: {why: number of files}.
        near: pairs of images of `train` that look alike, by their numbers there.
    """

    name: str
    channels: int
    class_names: tuple[str, ...] | None
    parts: dict[str, Part]
    left_out: dict[str, int]
    near: list[tuple[int, int]]

    @property
    def facts(self) -> list[Facts]:
        """Of every image that was looked at and can be read."""
        return [image for part in self.parts.values() for image in part.facts if image is not None]

    @property
    def short_sides(self) -> np.ndarray:
        """Of each of them, in pixels."""
        return np.array([min(image.height, image.width) for image in self.facts])

    @property
    def thumbnails(self) -> np.ndarray:
        """uint8 `[N, S, S, 3]` of each of them."""
        return np.stack([image.thumbnail for image in self.facts])

    def share(self, what: str) -> float:
        """The part of the images that are `gray` or `transparent`."""
        return float(np.mean([getattr(image, what) for image in self.facts]))

    def counts(self, split: str = "train") -> np.ndarray:
        """Images of each class in a split, int `[C]`."""
        labels = self.parts[split].labels
        return np.bincount(labels[labels >= 0], minlength=len(self.class_names or ()))

    def identical(self, split: str = "train") -> int:
        """Images of a split that are there at least twice in it."""
        return int(np.sum(np.bincount(self.parts[split].group)[self.parts[split].group] > 1))

    def shared(self, split: str) -> int:
        """Images of a split that are in `train` too."""
        return int(np.isin(self.parts[split].group, self.parts["train"].group).sum())

    def lines(self) -> list[str]:
        """Six lines: how many, how large, of which kind, classes, what is left out, what is there twice."""
        total = sum(map(len, self.parts.values()))
        sizes = ", ".join(f"{split} {len(part):,}" for split, part in self.parts.items())
        kinds = collections.Counter(image.kind for image in self.facts)
        only_looked = f" (of {len(self.facts):,} that were looked at)" if len(self.facts) < 0.9 * total else ""
        of_kind = f" Kinds: {_counted(kinds)}." if set(kinds) != {"array"} else ""
        return [
            f"{total:,} images in {self.name}: {sizes}.",
            f"Sizes{only_looked}: {_sizes(self.facts)}.{of_kind}",
            self._colors(),
            self._classes(),
            f"Left out: {_counted(collections.Counter(self.left_out)) or 'nothing'}.",
            self._twice(),
        ]

    def _colors(self) -> str:
        facts = self.facts
        gray, transparent = (sum(getattr(image, name) for image in facts) for name in ("gray", "transparent"))
        bits = sorted({image.bits for image in facts})
        color = "All are gray" if gray == len(facts) else f"{gray:,} of {len(facts):,} are gray"
        opacity = f"{transparent:,} have transparent parts" if transparent else "none has transparent parts"
        return f"{color}, {' and '.join(map(str, bits))} bits a channel; {opacity}."

    def _classes(self) -> str:
        if not self.class_names:
            return "No labels: two sub-folders or more would be classes, or give --labels=labels.csv."
        counts = self.counts()
        order = np.argsort(-counts, kind="stable")
        shown = ", ".join(f"{self.class_names[at]} {counts[at]:,}" for at in order[:_SHOWN])
        more = f", ..., {self.class_names[order[-1]]} {counts[order[-1]]:,}" if len(counts) > _SHOWN else ""
        without = int((self.parts["train"].labels < 0).sum())
        return f"{len(counts)} classes in train: {shown}{more}" + (
            f"; {without:,} without a label." if without else "."
        )

    def _twice(self) -> str:
        found = [f"{self.identical():,} images of train are there more than once"]
        found.append(f"{len(self.near):,} pairs look nearly alike" if self.near else "no two look nearly alike")
        for split in self.parts:
            shared = self.shared(split) if split != "train" else 0
            if shared:
                found.append(f"{shared:,} of {split} are in train too, and measure memory")
        return "; ".join(found) + "."


def survey(source: Source, bad_files: str | None = None) -> Survey:
    """Looks at the images of a source.

    Args:
        source: of any kind, with a split `train`.
        bad_files: file to list unreadable ones in, see `Source.check`; they are left out of the source from now on.

    Raises:
        InputError: no `train`, images that are too large, too many unreadable ones, or fewer than two images.
    """
    require_images(source)
    huge = too_large(source)
    if huge:
        path, pixels = huge
        raise InputError(
            f"`dataset` must have images of at most {MOST_PIXELS // 10**6} megapixels. Received: {path!r}, of "
            f"{pixels / 1e6:,.0f}. Cut them into tiles, or make smaller copies."
        )
    source.check(bad_files)
    found = digests(source)
    number = duplicates.groups([image for split in source.splits for image in found[split]])
    ends = np.cumsum([len(found[split]) for split in source.splits])[:-1]
    parts = {
        split: _part(source, split, group) for split, group in zip(source.splits, np.split(number, ends), strict=True)
    }
    require_images(source)  # some may have been left out
    names = source.class_names
    if source.num_classes and names is None:
        names = tuple(map(str, range(source.num_classes)))
    left_out = dict(getattr(source, "left_out", {}))
    return Survey(source.name, source.channels, names, parts, left_out, _near(parts["train"]))


def require_images(source: Source) -> None:
    """Refuses what nothing can be learned from.

    Raises:
        InputError: there is no `train`, or not two images in it.
    """
    if "train" not in source.splits:
        raise InputError(
            f"`dataset` must have images in train. Received: {source.name} with {', '.join(source.splits)}."
        )
    count = source.num_examples("train")
    if count < 2:
        raise InputError(f"`dataset` must have at least two images to learn from. Received: {count} in {source.name}.")


def _part(source: Source, split: str, group: np.ndarray) -> Part:
    rows = np.unique(np.linspace(0, len(group) - 1, min(LOOKED_AT, len(group))).astype(int))
    labels = labels_of(source, split) if source.num_classes else np.full(len(group), -1, np.int32)
    return Part(ids_of(source, split), labels, group, rows, tuple(looks(source, split, rows.tolist())))


def ids_of(source: Source, split: str) -> tuple[str, ...]:
    """Of a folder the paths below it; of others `split[number]`."""
    if isinstance(source, FolderSource):
        root = source.name.partition(":")[2]
        return tuple(os.path.relpath(path, root) for path in source.paths(split))
    return tuple(f"{split}[{row}]" for row in range(source.num_examples(split)))


def _near(part: Part) -> list[tuple[int, int]]:
    seen = [(row, image) for row, image in zip(part.rows, part.facts, strict=True) if image is not None]
    if len(seen) < 2:
        return []
    rows = np.array([row for row, _ in seen])
    pairs = duplicates.near_duplicates(np.stack([image.thumbnail for _, image in seen]), part.group[rows])
    return [(int(rows[i]), int(rows[j])) for i, j in pairs]


def _sizes(facts: Sequence[Facts]) -> str:
    shapes = {(image.height, image.width) for image in facts}
    if len(shapes) == 1:
        return "all {1:,} x {0:,} pixels".format(*shapes.pop())
    sides = np.array([min(image.height, image.width) for image in facts])
    small, *_, large = sorted(facts, key=lambda image: image.height * image.width)
    return (
        f"{small.width:,} x {small.height:,} to {large.width:,} x {large.height:,} pixels, the shorter side "
        f"{int(np.median(sides)):,} in the middle"
    )


def _counted(counts: collections.Counter) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
