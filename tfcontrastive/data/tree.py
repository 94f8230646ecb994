"""What a tree of files means: which of them are images, of which split, and of which class."""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import NoReturn

from absl import logging

from tfcontrastive.config import InputError
from tfcontrastive.data.held_out import HELD_OUT, HeldOut
from tfcontrastive.data.label_file import class_order, matched
from tfcontrastive.data.transcode import SNIFFED_BYTES, kind_of, why_not

SPLIT_NAMES = ("train", "validation", "valid", "val", "dev", "test")
"""Folders of these names, in any case, are splits."""

_USUAL = (".jpg", ".jpeg", ".png", ".bmp", ".gif")  # taken for images unseen; reading 32 bytes of millions takes long
_SHOWN = 10  # classes named in a message


@dataclasses.dataclass
class Listing:
    """The files below one folder.

    Attributes:
        images: paths relative to it, sorted.
        links: those that are links to files.
        folders: (device, number) of every folder that was walked, and a path that leads there.
        left_out: what is not among `images`: {kind: paths}. The kind None is of files that are no images.
    """

    images: list[str] = dataclasses.field(default_factory=list)
    links: set[str] = dataclasses.field(default_factory=set)
    folders: dict[tuple[int, int], list[str]] = dataclasses.field(default_factory=dict)
    left_out: dict[str | None, list[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Tree:
    """The splits of a folder: where each lies, its images, and their classes.

    Attributes:
        roots: {split: folder}.
        files: {split: paths of its images, relative to its root, sorted}.
        class_names: sorted, None where nothing is labelled.
        labelled: the splits whose images have labels.
        left_out: {why: number of files}.
        given: {path of an image: its class}, where a list says so; None: the first folder of its path is its class.
    """

    roots: dict[str, str]
    files: dict[str, list[str]]
    class_names: tuple[str, ...] | None
    labelled: set[str]
    left_out: collections.Counter
    given: dict[str, str] | None = None

    def label(self, split: str, file: str) -> int:
        """The class of an image by number, -1 where it has none."""
        if split not in self.labelled:
            return -1
        if self.given is None:
            return self.class_names.index(top(file))
        name = self.given.get(os.path.join(self.roots[split], file))
        return -1 if name is None else self.class_names.index(name)

    def labelled_by(self, path: str, labels: dict[str, str]) -> Tree:
        """The same images with the classes of a list, see `label_file`; the folders are no classes then.

        Args:
            path: the folder that was read.
            labels: {file: label}.

        Raises:
            InputError: the list names no image of the folder, or fewer than two classes.
        """
        full = {split: [os.path.join(self.roots[split], file) for file in some] for split, some in self.files.items()}
        below = {os.path.relpath(file, path): file for some in full.values() for file in some}
        given = {below[file]: label for file, label in matched(labels, below, path).items()}
        names = class_order(given.values())
        if len(names) < 2:
            raise InputError(f"`labels` must hold at least two classes. Received: {names[0]!r} alone.")
        labelled = {split for split, some in full.items() if any(file in given for file in some)}
        without = {split: sum(file not in given for file in some) for split, some in full.items()}
        for split, count in without.items():
            shown = f"{len(full[split]) - count:,} of {len(full[split]):,} images of {split} have labels"
            logging.info("folder:%s: %s, of %d classes.", path, shown, len(names))
        return dataclasses.replace(self, class_names=names, labelled=labelled, given=given)

    def with_held_out(self, path: str, held_out: HeldOut) -> Tree:
        """The same images, some of `train` in a split of their own.

        Raises:
            InputError: there is no `train`, or the list is of other images.
        """
        if "train" not in self.files:
            raise InputError(
                f"`held_out` needs images in train. Received: folder:{path} with {_some(list(self.files))}."
            )
        root = self.roots["train"]
        names = {os.path.relpath(os.path.join(root, file), path): file for file in self.files["train"]}
        kept, out = held_out.files(list(names), f"folder:{path}")
        files = {**self.files, "train": [names[name] for name in kept], HELD_OUT: [names[name] for name in out]}
        labelled = self.labelled | ({HELD_OUT} if "train" in self.labelled else set())
        return dataclasses.replace(self, roots={**self.roots, HELD_OUT: root}, files=files, labelled=labelled)


def read_tree(path: str) -> Tree:
    """Reads a folder, and tells what of it is left out, unlabelled, or likely not meant.

    Raises:
        InputError: no such folder, one that cannot be listed, or one whose splits and classes cannot be told apart.
    """
    name = f"folder:{path}"
    roots, listings, left_out = _splits(path)
    for split, listing in listings.items():
        _refuse_splits_inside(roots[split], listing.images)
        for kind, files in listing.left_out.items():
            left_out[kind or "no image"] += len(files)
    _tell_left_out(name, listings, left_out)
    _keep_apart(roots, listings, left_out, name)
    images = {split: listing.images for split, listing in listings.items()}
    class_names, labelled = _classes(images, name)
    _tell_classes(images, class_names, labelled, listings, name)
    return Tree(roots, images, class_names, labelled, left_out)


def list_images(root: str, *, within: str | None = None) -> Listing:
    """All image files below a folder; kinds are told by the content. Links are followed, but not back up.

    Names that start with a dot or with `__MACOSX` are passed over.

    Args:
        root: the folder.
        within: the folder that holds it, where links to that lead back up too.
    """
    found = Listing()
    _walk(root, "", () if within is None else (_identity(within),), found)
    found.images.sort()
    return found


def image_files(root: str) -> list[str]:
    """Paths of the image files below a folder, relative to it, sorted. What is left out is told."""
    listing = list_images(root)
    _tell_left_out(root, {"": listing}, collections.Counter())
    return listing.images


def file_classes(root: str) -> dict[str, str]:
    """The class of each image file that has one, by its path relative to the folder.

    A folder whose splits and classes cannot be told apart has none, and that is told.
    """
    try:
        tree = read_tree(root)
    except InputError as error:
        logging.info("No labels: %s", error)
        return {}
    return {
        os.path.join(os.path.relpath(tree.roots[split], root), file) if tree.roots[split] != root else file: top(file)
        for split in tree.labelled
        for file in tree.files[split]
    }


def top(file: str) -> str | None:
    """The first folder of a relative path, None if it lies in none."""
    return file.split(os.sep, 1)[0] if os.sep in file else None


def _identity(directory: str) -> tuple[int, int]:
    try:
        status = os.stat(directory)
    except OSError as error:
        refuse(error)
    return status.st_dev, status.st_ino


def _walk(directory: str, relative: str, above: tuple[tuple[int, int], ...], found: Listing) -> None:
    identity = _identity(directory)
    try:
        with os.scandir(directory) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        refuse(error)
    if identity in above:  # a link that leads back
        return
    found.folders.setdefault(identity, []).append(relative)
    for entry in entries:
        if _is_hidden(entry.name):
            continue
        path = os.path.join(relative, entry.name)
        if entry.is_dir():
            _walk(entry.path, path, (*above, identity), found)
            continue
        readable, kind = _kind(entry.path)
        if readable:
            found.images.append(path)
            if entry.is_symlink():
                found.links.add(path)
        else:
            found.left_out.setdefault(kind, []).append(path)


def _kind(path: str) -> tuple[bool, str | None]:
    """(whether it is taken for an image, its kind)."""
    if path.lower().endswith(_USUAL):
        return True, None
    if not os.path.isfile(path):  # a link to nowhere, a pipe
        return False, None
    try:
        with open(path, "rb") as file:
            kind = kind_of(file.read(SNIFFED_BYTES))
    except OSError as error:
        refuse(error)
    return kind is not None and why_not(kind) is None, kind


def _splits(path: str) -> tuple[dict[str, str], dict[str, Listing], collections.Counter]:
    """The root and the content of each split, and the images that lie in none."""
    if not os.path.isdir(path):
        raise InputError(f"`folder:` must name a folder. Received: {path!r}.")
    try:
        names = sorted(name for name in os.listdir(path) if not _is_hidden(name))
    except OSError as error:
        refuse(error)
    folders = [name for name in names if os.path.isdir(os.path.join(path, name))]
    named = [name for name in folders if name.lower() in SPLIT_NAMES]
    if not named:
        return {"train": path}, {"train": list_images(path)}, collections.Counter()
    content = {name: list_images(os.path.join(path, name), within=path) for name in folders}
    splits = [name for name in named if content[name].images]
    others = [name for name in folders if name not in named and content[name].images]
    if not splits:  # nothing but empty folders of these names
        return {"train": path}, {"train": list_images(path)}, collections.Counter()
    if others:
        raise InputError(
            f"`folder:` must hold either splits or classes. Received: {path!r} with {_some(splits)} beside {_some(others)}. "
            f"If {splits[0]} is a split, move the others elsewhere; if it is a class, put all of them into one folder, as "
            f"train{os.sep}{splits[0]}."
        )
    lower = [name.lower() for name in splits]
    twice = next((name for name in splits if lower.count(name.lower()) > 1), None)
    if twice:
        raise InputError(f"`folder:` must hold each split once. Received: {path!r} with {_some(splits)}.")
    loose = [name for name in names if name not in folders and _kind(os.path.join(path, name)) != (False, None)]
    left_out = collections.Counter({"beside the splits": len(loose)} if loose else {})
    if loose:
        logging.warning(
            "folder:%s: %d images beside the splits %s are left out, such as %s.",
            path, len(loose), _some(splits), loose[0],
        )  # fmt: skip
    left_out["no image"] += sum(name not in folders and name not in loose for name in names)
    for name in folders:
        if name not in splits:
            for kind, files in content[name].left_out.items():
                left_out[kind or "no image"] += len(files)
    return (
        {name.lower(): os.path.join(path, name) for name in splits},
        {name.lower(): content[name] for name in splits},
        +left_out,
    )


def _refuse_splits_inside(root: str, files: Iterable[str]) -> None:
    """Splits further down would all be trained on."""
    below: dict[str, set[str]] = {}
    for file in files:
        folder = os.path.dirname(file)
        while folder:
            parent, name = os.path.split(folder)
            below.setdefault(parent, set()).add(name)
            folder = parent
    for parent, names in sorted(below.items()):
        if len(names) > 1 and all(name.lower() in SPLIT_NAMES for name in names):
            where = os.path.join(root, parent) if parent else root
            raise InputError(
                f"`folder:` must hold its splits at its top. Received: {root!r} with {_some(sorted(names))} in "
                f"{where!r}. Give folder:{where}, or bring the splits to the top: train{os.sep}CLASS, test{os.sep}CLASS."
            )


def _keep_apart(
    roots: Mapping[str, str], listings: Mapping[str, Listing], left_out: collections.Counter, name: str
) -> None:
    """No image is both trained on and held out."""
    train = listings.get("train")
    if train is None or len(listings) == 1:
        return
    for split, other in listings.items():
        both = train.folders.keys() & other.folders.keys()
        if split != "train" and both:
            here, there = (listing.folders[min(both)][0] for listing in (train, other))
            raise InputError(
                f"{name}: train must share no images with {split}. Received: "
                f"{os.path.join(roots['train'], here)!r} and {os.path.join(roots[split], there)!r}, the same folder."
            )
    if not any(listing.links for listing in listings.values()):
        return
    held_out = {
        os.path.realpath(os.path.join(roots[split], file))
        for split, listing in listings.items() if split != "train" for file in listing.images
    }  # fmt: skip
    shared = {file for file in train.images if os.path.realpath(os.path.join(roots["train"], file)) in held_out}
    if shared:
        train.images = [file for file in train.images if file not in shared]
        left_out["held out too"] += len(shared)
        logging.warning(
            "%s: %d images of train are links to held-out ones, or the reverse, and are left out of train, such as %s.",
            name, len(shared), min(shared),
        )  # fmt: skip


def _classes(files: Mapping[str, list[str]], name: str) -> tuple[tuple[str, ...] | None, set[str]]:
    """The names of the classes, and the splits that have labels."""
    tops = {split: {top(file) for file in some} for split, some in files.items()}
    in_folders = {split for split, names in tops.items() if names and None not in names}
    for split in sorted(in_folders - {"train"}):  # one folder for all, as test/unknown or test/images
        others = set().union(*(tops[other] for other in in_folders - {split}))
        if len(tops[split]) == 1 and len(in_folders) > 1 and not tops[split] <= others:
            in_folders = in_folders - {split}
    names = set().union(*(tops[split] for split in in_folders))
    if len(names) < 2:
        _tell_loose("train", files.get("train", []), name)
        return None, set()
    for split in sorted(files.keys() - in_folders):
        if not _tell_loose(split, files[split], name):
            count = len(files[split])
            logging.warning("%s: the %d images of %s lie in no class folder: they have no labels.", name, count, split)
    return tuple(sorted(names)), in_folders


def _tell_loose(split: str, files: list[str], name: str) -> bool:
    """Tells of images beside class folders, which cost a split its labels."""
    loose = [file for file in files if os.sep not in file]
    if not loose or len(loose) == len(files):
        return False
    logging.warning(
        "%s: %d images of %s lie beside its class folders, such as %s: no image of it has a label.",
        name, len(loose), split, loose[0],
    )  # fmt: skip
    return True


def _tell_left_out(name: str, listings: Mapping[str, Listing], others: collections.Counter) -> None:
    kinds: dict[str | None, list[str]] = {}
    for listing in listings.values():
        for kind, paths in listing.left_out.items():
            kinds.setdefault(kind, []).extend(paths)
    for kind, paths in sorted(kinds.items(), key=lambda item: item[0] or ""):
        if kind is not None:
            reason = why_not(kind)
            logging.warning(
                "%s: %d %s images are left out, such as %s: %s.", name, len(paths), kind, min(paths), reason
            )
    none = kinds.get(None, [])
    if none or others["no image"]:
        endings = collections.Counter(os.path.splitext(path)[1].lower() or "no extension" for path in none)
        shown = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(5))
        logging.info("%s: %d files are no images%s.", name, others["no image"] or len(none), shown and f": {shown}")


def _tell_classes(
    files: Mapping[str, list[str]],
    class_names: tuple[str, ...] | None,
    labelled: set[str],
    listings: Mapping[str, Listing],
    name: str,
) -> None:
    """Classes with their counts, and what of them is likely not meant."""
    for split, some in files.items():
        if split not in labelled:
            logging.info("%s: %s: %d images without labels.", name, split, len(some))
            continue
        counts = collections.Counter(map(top, some))
        shown = ", ".join(f"{one} {counts[one]}" for one in class_names[:_SHOWN])
        more = ", ..." if len(class_names) > _SHOWN else ""
        logging.info("%s: %s: %d images in %d classes: %s%s.", name, split, len(some), len(counts), shown, more)
        if all(file.count(os.sep) > 1 for file in some):
            logging.warning(
                "%s: the class folders of %s (%s) hold only folders, such as %s. If these are data sets or the classes, "
                "give the folder above them: %s.",
                name, split, _some(sorted(counts)), os.path.dirname(some[0]), f"{name}{os.sep}{top(some[0])}",
            )  # fmt: skip
        for paths in listings[split].folders.values():
            classes = sorted({path.split(os.sep)[0] for path in paths})
            if len(classes) > 1:
                logging.warning("%s: the classes %s of %s hold the same folder.", name, _some(classes), split)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def refuse(error: OSError) -> NoReturn:
    """A folder that cannot be listed may be a whole class."""
    raise InputError(
        f"`folder:` must be readable as a whole. Received: {error.filename!r}: {error.strerror}."
    ) from error


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
