"""`tfcontrastive search`: the images of an embedded collection that are nearest to given ones, or nearly equal."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.embed import MODEL_FILE
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError
from tfcontrastive.export.postgres import is_postgres
from tfcontrastive.system.names import escaped, unescaped
from tfcontrastive.system.tables import show_table

TITLE = """tfcontrastive search: nearest neighbours among the vectors of `tfcontrastive embed`.

Usage: tfcontrastive search --index=vectors [--k=10] [--html=page.html] IMAGE...
       tfcontrastive search --index=vectors --approximate [--kind=hnsw] [--effort=64] IMAGE...
       tfcontrastive search --index=vectors --duplicates=0.98 [--html=page.html]
An IMAGE that is itself one of the collection is not listed as its own neighbour."""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and searches."""
    values = search_flags()
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(command_line.help_text(TITLE, {"Flags": values}))
        return 0
    images = command_line.parse(command_line.expand(argv), values, positional=True)
    options = {name: values[name].value for name in values}
    if options["index"] is None:
        raise InputError("`index` must be given: tfcontrastive search --index=vectors IMAGE...")
    if not images and options["duplicates"] is None:
        raise InputError("`IMAGE` must be given, one or more image files, or --duplicates=0.98. Received: neither.")
    for name in ("kind", "effort"):
        if values[name].present and not options["approximate"]:
            raise InputError(f"`{name}` must be left out without --approximate. Received: {name}={options[name]}.")
    if options["approximate"] and (not images or values["backend"].present):
        raise InputError("`approximate` needs at least one IMAGE to search for, and no backend.")
    show_own_messages()
    if values["table"].present and not is_postgres(options["index"]):
        raise InputError("`table` must be left out unless the index is a database, postgresql://USER@HOST/DATABASE.")
    with open_index(options) as files:
        if images:
            show_neighbours(files, images, options, command_line.spelled("search", argv))
        if options["duplicates"] is not None:
            show_duplicates(files, options, "" if images else command_line.spelled("search", argv))
    return 0


def open_index(options: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    """A set of embeddings, in a directory or in a database, which is left at the end."""
    from tfcontrastive import export

    if not is_postgres(options["index"]):
        return contextlib.nullcontext(export.EmbeddingFiles(options["index"]))
    if options["duplicates"] is not None or options["kind"] != "ivf" or options["backend"] != "auto":
        raise InputError("`duplicates`, `kind` and `backend` must be left out with a database as index.")
    return contextlib.closing(export.PostgresSet(options["index"], options["table"]))


def search_flags() -> flags.FlagValues:
    """The command's own flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("index", None, "Directory of the vectors, or postgresql://USER@HOST/DATABASE.", values)
    flags.DEFINE_string("table", "embeddings", "Of a database, the table.", values)
    flags.DEFINE_string("saved_model", None, "The model they are from; default: where `embed` found it.", values)
    flags.DEFINE_integer(
        "k", None, "Neighbours of each image; default: 10, or all others where there are fewer.", flag_values=values
    )
    flags.DEFINE_enum(
        "backend", "auto", ["auto", "numpy", "faiss"], "auto takes faiss where it is installed; both are exact.", values
    )
    flags.DEFINE_boolean(
        "approximate",
        False,
        "Nearly exact, for large sets: by an index of faiss that is built once, beside the vectors.",
        values,
    )
    flags.DEFINE_enum(
        "kind", "ivf", ["ivf", "hnsw"], "With --approximate: lists, or a graph, which is slow to build.", values
    )
    flags.DEFINE_integer("effort", 64, "With --approximate: lists or candidates that are compared.", flag_values=values)
    flags.DEFINE_string("data_dir", None, "With --html: as given to `embed`.", values)
    flags.DEFINE_string(
        "html", None, "Also write a page of pictures: the neighbours, or without IMAGE the near duplicates.", values
    )
    flags.DEFINE_float("duplicates", None, "List all pairs at least this similar, in (-1, 1].", flag_values=values)
    flags.DEFINE_integer("most", 1000, "Pairs to list at most.", flag_values=values)
    return values


def show_neighbours(files: Any, images: Sequence[str], options: dict[str, Any], command: str = "") -> None:
    """The table, and the page if it is asked for."""
    from tfcontrastive import export, report
    from tfcontrastive.data import Preprocessing

    saved_model = find_model(files, options["saved_model"])
    queries = export.embed_files(saved_model, images)
    own = own_ids(files, images)
    others = len(files) - any(name is not None for name in own)
    if not others:
        raise InputError(f"`index` must hold other images than IMAGE. Received: {files.path}, with that alone.")
    k = min(10, others) if options["k"] is None else options["k"]
    if isinstance(files, export.PostgresSet):
        how = {"approximate": options["approximate"], "effort": options["effort"]}
        ids, similarities = files.nearest(queries, k=k, exclude=own, **how)
    elif options["approximate"]:
        index = export.ApproximateIndex(files, options["kind"], building=lambda line: print(line, file=sys.stderr))
        ids, similarities = index.nearest(queries, k=k, effort=options["effort"], exclude=own)
    else:
        ids, similarities = export.nearest(files, queries, k=k, backend=options["backend"], exclude=own)
    rows: list[tuple[str, str, str]] = []
    ends = []
    for image, row, values in zip(images, ids, similarities, strict=True):
        for rank, (name, value) in enumerate(zip(row, values, strict=True)):
            rows.append((image if rank == 0 else "", f"{value:.4f}", name))
        ends.append(len(rows) - 1)
    title = f"Nearest of {len(files):,} images, by cosine similarity"
    show_table(title, ("image", "similarity", "neighbour"), rows, right=("similarity",), ends=ends)
    if options["html"] is not None:
        wanted = {name for row in ids for name in row}
        picture = pictures(files.facts.get("source") or "", options["data_dir"], wanted)
        rule = export.read_card(saved_model).get("preprocessing", {}).get("rule", {})
        rendering = Preprocessing(**rule).rendering()
        source = files.facts.get("source") or ""
        export.write_gallery(
            options["html"],
            images,
            ids,
            similarities,
            picture,
            read_bytes,
            rendering,
            subtitle=f"{k} of {len(files):,} images each, by the vectors of {saved_model}.",
            provenance=report.Provenance(command, data=source, facts={"Model": saved_model, "k": k}),
        )
        print(f"pictures: {escaped(options['html'])}")


def own_ids(files: Any, images: Sequence[str]) -> list[str | None]:
    """For each image its id in the collection, None for one that is not of it."""
    source = files.facts.get("source") or ""
    if not source.startswith("folder:"):
        return [None] * len(images)
    folder = source.removeprefix("folder:")

    def names(image):
        yield os.path.relpath(os.path.abspath(image), folder)
        yield os.path.relpath(os.path.realpath(image), os.path.realpath(folder))

    inside = [[name for name in names(image) if not name.startswith(os.pardir + os.sep)] for image in images]
    ids = files.known(itertools.chain.from_iterable(inside))
    return [next((name for name in some if name in ids), None) for some in inside]


def find_model(files: Any, given: str | None) -> str:
    """The model that made the vectors; another one is refused."""
    from tfcontrastive import export, storage

    path = given
    if path is None:
        path = noted_model(files)
        if not storage.is_dir(path):
            raise InputError(f"`saved_model` must be given: the model is no longer at {path}.")
    path = export.latest_version(path)
    if export.model_digest(path) != files.facts.get("model", {}).get("digest"):
        raise InputError(f"`saved_model` must be the model that made the vectors. Received: {path}, another one.")
    return path


def noted_model(files: Any) -> str:
    """Where the model was as the set was made."""
    from tfcontrastive import export

    if isinstance(files, export.PostgresSet):
        return files.saved_model
    try:
        with open(files.beside(MODEL_FILE), encoding="utf-8") as file:
            return unescaped(file.read().removesuffix("\n"))
    except (OSError, ValueError) as error:
        raise InputError("`saved_model` must be given: the index does not say where its model is.") from error


def pictures(source: str, data_dir: str | None, wanted: set[str]) -> Callable[[str], bytes | None]:
    """The file of an image of the collection by its id, for those that are wanted; None where it cannot be had again."""
    if source.startswith("folder:"):
        return lambda name: read_bytes(os.path.join(source.removeprefix("folder:"), name))
    if not source:
        return lambda name: None
    from tfcontrastive import data, export
    from tfcontrastive.data.encoded import EncodedSource

    spec, _, split = source.rpartition(" ")
    try:
        found = data.load(spec, data_dir=data_dir)
        if isinstance(found, EncodedSource):
            left, files = set(wanted), {}
            for name, content, _ in export.encoded_items(found, split)(0):
                if name in left:
                    files[name] = content
                    left.remove(name)
                if not left:
                    break
            return files.get
        held = found.arrays(split)[0]
    except InputError:  # the images are gone, the vectors are not
        return lambda name: None
    return lambda name: as_png(held[int(name.rpartition("/")[2])])


def as_png(pixels: np.ndarray) -> bytes | None:
    """An image `[H, W, C]` as a file, if it is gray, RGB or RGBA."""
    from PIL import Image

    if pixels.shape[-1] not in (1, 3, 4):
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def read_bytes(path: str) -> bytes | None:
    """A file's content, None where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return None


def show_duplicates(files: Any, options: dict[str, Any], command: str) -> None:
    """The pairs, as they are found, and the page if it is asked for by a command without images."""
    from tfcontrastive import export, report

    found = []
    pairs = export.near_duplicates(files, options["duplicates"])
    for first, second, similarity in itertools.islice(pairs, options["most"]):
        print(f"{similarity:.4f}\t{escaped(first)}\t{escaped(second)}")
        found.append((first, second, similarity))
    more = ", the first of them" if next(pairs, None) else ""
    print(f"{len(found):,} pairs{more} with similarity >= {options['duplicates']:g}")
    if options["html"] is None or not command:
        return
    source, wanted = files.facts.get("source") or "", {name for first, second, _ in found for name in (first, second)}
    export.write_duplicates(
        options["html"],
        found,
        pictures(source, options["data_dir"], wanted),
        rendering_of(files, options["saved_model"]),
        threshold=options["duplicates"],
        subtitle=f"Among {len(files):,} images{f', the first {len(found):,} pairs: raise --most for more' if more else ''}.",
        provenance=report.Provenance(command, data=source),
    )
    print(f"pictures: {escaped(options['html'])}")


def rendering_of(files: Any, given: str | None) -> Any:
    """How the model that made the vectors decodes images; None, as plain pictures, where it is no longer there."""
    from tfcontrastive import export
    from tfcontrastive.data import Preprocessing

    try:
        saved_model = find_model(files, given)
    except InputError:
        if given is not None:
            raise
        return None
    return Preprocessing(**export.read_card(saved_model).get("preprocessing", {}).get("rule", {})).rendering()
