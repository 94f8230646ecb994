"""Embedding on a cluster, as a transform of Apache Beam (extra `beam`): the same vectors as `tfcontrastive embed`."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.extras import from_extra
from tfcontrastive.export.manifest import BAD_FILES, FORMAT, MANIFEST, bad_files, shard_entry, side_file
from tfcontrastive.export.quantize import DTYPES, quantize
from tfcontrastive.export.shards import Label, Shard
from tfcontrastive.system.names import escaped

try:
    import apache_beam as beam
    from apache_beam.io import fileio
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
except ImportError:  # the module can be read without the extra; what is made of its names says what is missing
    beam = None

_Transform: Any = beam.PTransform if beam else object
_DoFn: Any = beam.DoFn if beam else object
_Handler: Any = ModelHandler if beam else object

_IMAGE = re.compile(r"\.(jpe?g|jpe|jfif|png|gif|bmp|webp)$", re.IGNORECASE)
_PLACE = "saved_model.txt"


class ReadImages(_Transform):
    """Images from files that Beam's file systems know: an element is `(id, bytes or reason, label)`.

    - `folder:PATH`: files below PATH by their suffix; the id is the path from there. No labels.
    - `tfrecord:GLOB`: `tf.train.Example` with `image/encoded` or `image`, and `image/class/label` or `label`; the id is the
      file's name and the number of the record in it, `part-0.tfrecord/17`.
    - `parquet:GLOB`: columns `id`, `image` (bytes, or a struct with a field `bytes`), and maybe `label`.

    Args:
        source: as above.

    Raises:
        InputError: another kind, or Beam is not installed.

    Examples:
        >>> images = pipeline | ReadImages("folder:gs://bucket/photos")
    """

    def __init__(self, source: str):
        from_extra("beam", "apache_beam", "`ReadImages`")
        super().__init__()
        self._kind, _, self._place = source.partition(":")
        if self._kind not in _READERS or not self._place:
            raise InputError(
                f"`source` must be one of {', '.join(f'{kind}:...' for kind in _READERS)}. Received: {source!r}."
            )

    def expand(self, begin: Any) -> Any:
        """The elements, in no order."""
        root = self._place.rstrip("/")
        pattern = f"{root}/**" if self._kind == "folder" else self._place
        return (
            begin
            | "Match" >> fileio.MatchFiles(pattern)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_READERS[self._kind](root))
        )


class EmbedImages(_Transform):
    """Embeds images and writes them as a Parquet set, with the side files that `embed` writes.

    An element is `(id, bytes)` or `(id, bytes, label)`, as `ReadImages` gives them. Beam's RunInference loads the SavedModel
    once a process and cuts the batches. An image that cannot be decoded is a dead letter: it is listed in `_bad_files.txt`
    and in the output `bad`. The shard of an image is decided by its id: a bundle that a runner tries again writes the same
    file, and the manifest, which comes last, makes the set whole. A set with the same name is refused.

    Args:
        saved_model: the directory of a version, as every worker reaches it.
        output: a new or empty directory, as every worker reaches it: a shared disk or a bucket.
        shards: files; some ten thousand vectors each are a good size.
        dtype: float32, float16 or int8, with one scale a vector.
        normalize: vectors of unit length.
        batch_size: most images a call.
        labels: whether rows have labels, and of which kind: name, number, or None for none.
        source: a name for the images, kept with the vectors.

    Returns:
        `{"vectors": (id, vector), "bad": (id, reason), "manifest": path}`, three collections.

    Raises:
        InputError: a bad value, an output that is not empty, or Beam is not installed.

    Examples:
        >>> with beam.Pipeline(options=options) as pipeline:
        ...     images = pipeline | ReadImages("folder:photos")
        ...     done = images | EmbedImages("exported/1", "vectors", shards=100)

    Source: https://beam.apache.org/documentation/ml/about-ml/
    """

    def __init__(
        self,
        saved_model: str,
        output: str,
        *,
        shards: int = 1,
        dtype: str = "float32",
        normalize: bool = False,
        batch_size: int = 64,
        labels: str | None = None,
        source: str = "",
    ):
        from_extra("beam", "apache_beam", "`EmbedImages`")
        super().__init__()
        if dtype not in DTYPES:
            raise InputError(f"`dtype` {unknown(dtype, DTYPES)}")
        if labels not in (None, "name", "number"):
            raise InputError(f"`labels` must be name, number or None. Received: labels={labels!r}.")
        for name, value in (("shards", shards), ("batch_size", batch_size)):
            if value < 1:
                raise InputError(f"`{name}` must be >= 1. Received: {name}={value}.")
        if _files_in(output):
            raise InputError(f"`output` must be a new or empty directory. Received: {output}, which holds files.")
        self._path, self._output, self._shards, self._batch_size = saved_model, output.rstrip("/"), shards, batch_size
        self._made: dict[str, Any] = {
            "format": "parquet",
            "dtype": dtype,
            "labels": labels,
            "normalize": normalize,
            "source": source,
        }

    def expand(self, images: Any) -> Any:
        """See the class."""
        handler = KeyedModelHandler(EmbeddingHandler(self._path, self._made["normalize"], self._batch_size))
        answers = (
            images
            | "Key" >> beam.Map(_keyed)
            | "RunInference" >> RunInference(handler)
            | "Sort" >> beam.ParDo(_Sort()).with_outputs("bad", main="rows")
        )
        entries = (
            answers.rows
            | "ShardOf" >> beam.Map(_with_shard, self._shards)
            | "Shards" >> beam.GroupByKey()
            | "Write" >> beam.Map(_write, self._output, self._made)
        )
        manifest = (
            images.pipeline
            | "Once" >> beam.Create([self._path])
            | "Manifest"
            >> beam.Map(
                _finish,
                self._output,
                {**self._made, "shards": self._shards},
                beam.pvalue.AsList(entries),
                beam.pvalue.AsList(answers.bad),
            )
        )
        vectors = answers.rows | "Vectors" >> beam.Map(lambda row: (row[0], row[2]))
        return {"vectors": vectors, "bad": answers.bad, "manifest": manifest}


class EmbeddingHandler(_Handler):
    """What Beam's RunInference runs: image files to vectors, or to the reason why there is none.

    Args:
        saved_model: the directory of a version.
        normalize: vectors of unit length.
        batch_size: most images a call.

    Raises:
        InputError: Beam is not installed.

    Examples:
        >>> vectors = files | RunInference(EmbeddingHandler("exported/1"))
    """

    def __init__(self, saved_model: str, normalize: bool = False, batch_size: int = 64):
        from_extra("beam", "apache_beam", "`EmbeddingHandler`")
        super().__init__(max_batch_size=batch_size)
        self._path, self._output = saved_model, "embedding_l2" if normalize else "embedding"

    def load_model(self) -> Any:
        """The SavedModel, once a process."""
        from tfcontrastive.export.embed import _Encoder

        return _Encoder(self._path, self._output)

    def run_inference(
        self, batch: Sequence[bytes], model: Any, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[np.ndarray | str]:
        """As `embed`: a batch that fails is halved until the image that cannot be decoded is alone."""
        from tfcontrastive.export.items import _readable

        return list(model([_readable(content, None) for content in batch]))


def _keyed(element: tuple) -> tuple[tuple[str, Label, str | None], bytes]:
    """What could not be read goes the same way, as an empty file, so that its batch is not another's."""
    name, content, label = (*element, None)[:3]
    return ((name, label, content), b"") if isinstance(content, str) else ((name, label, None), content)


class _Sort(_DoFn):
    """Vectors, and dead letters."""

    def process(self, element: tuple) -> Iterator[Any]:
        (name, label, unread), vector = element
        reason = unread or (vector if isinstance(vector, str) else None)
        if reason is None and not np.isfinite(vector).all():
            reason = "has a vector that is not finite"
        yield (name, label, np.asarray(vector)) if reason is None else beam.pvalue.TaggedOutput("bad", (name, reason))


def _with_shard(row: tuple[str, Label, np.ndarray], shards: int) -> tuple[int, tuple]:
    digest = hashlib.sha256(row[0].encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % shards, row


def _write(shard: tuple[int, Iterable[tuple]], output: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """One file of the set; the rows lie by their ids, so that it is the same each time."""
    number, rows = shard
    ids, labels, vectors = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    doubled = next((name for name, after in itertools.pairwise(ids) if name == after), None)
    if doubled is not None:
        raise InputError(f"`images` must have ids of their own. Received: {doubled!r} twice.")
    stored, scale = quantize(np.stack(vectors), made["dtype"])
    if made["dtype"] != "int8" and (scale == 1).all():
        scale = None
    named = made["labels"] == "name"
    block = Shard(list(ids), stored, scale, list(labels) if made["labels"] else None, named)
    with tempfile.TemporaryDirectory() as folder:
        entry = shard_entry(folder, number, "parquet", block)
        for name in entry["bytes"]:
            with open(os.path.join(folder, name), "rb") as file:
                _put(f"{output}/{name}", file.read())
    return {**entry, "dim": int(stored.shape[1])}


def _finish(
    saved_model: str,
    output: str,
    made: Mapping[str, Any],
    entries: Sequence[dict[str, Any]],
    bad: Sequence[tuple[str, str]],
) -> str:
    """The side files, the manifest last; a shard without a vector has no file."""
    from tfcontrastive.export.embed import model_facts

    if not entries:
        first = f"; the first: {': '.join(min(bad))}" if bad else ""
        raise InputError(f"`images` must hold a readable image. Received: {len(bad)} unreadable{first}.")
    skipped = [list(row) for row in sorted(bad)]
    listed = sorted(entries, key=lambda entry: entry["file"])
    rows = sum(entry["rows"] for entry in listed)
    facts = {
        "dim": listed[0]["dim"],
        "format": "parquet",
        "dtype": made["dtype"],
        "shard_rows": max(entry["rows"] for entry in listed),
        "labels": made["labels"],
        "model": model_facts(saved_model),
        "normalize": made["normalize"],
        "source": made["source"],
        "items": f"by Apache Beam in {made['shards']} shards",
    }
    manifest = {
        "format": FORMAT,
        "made": facts,
        "position": rows + len(skipped),
        "complete": True,
        "shards": [{key: value for key, value in entry.items() if key != "dim"} for entry in listed],
        "skipped": skipped,
    }
    if skipped:
        _put(f"{output}/{side_file(BAD_FILES, 'parquet')}", bad_files(skipped).encode())
    _put(f"{output}/{side_file(_PLACE, 'parquet')}", (escaped(saved_model) + "\n").encode())
    path = f"{output}/{side_file(MANIFEST, 'parquet')}"
    _put(path, (json.dumps(manifest, indent=1) + "\n").encode())
    return path


def _put(path: str, content: bytes) -> None:
    """Writes a file whole, anywhere: aside, and renamed."""
    folder, _, name = path.rpartition("/")
    if not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except OSError:  # another worker was first
            if not FileSystems.exists(folder):
                raise
    aside = f"{folder}/_{name}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    with FileSystems.create(aside) as file:
        file.write(content)
    FileSystems.rename([aside], [path])


def _files_in(output: str) -> bool:
    (found,) = FileSystems.match([f"{output.rstrip('/')}/*"], [1])
    return bool(found.metadata_list)


class _ReadFolder(_DoFn):
    def __init__(self, root: str):
        self._root = root

    def process(self, metadata: Any) -> Iterator[tuple]:
        path = metadata.path
        if _IMAGE.search(path):
            try:
                with FileSystems.open(path, compression_type="uncompressed") as file:
                    content = file.read()
            except OSError as error:
                content = f"cannot be read: {error.strerror or error}"
            yield path.removeprefix(f"{self._root}/"), content, None


class _ReadRecords(_DoFn):
    def __init__(self, root: str):
        pass

    def process(self, metadata: Any) -> Iterator[tuple]:
        import tensorflow as tf

        name = metadata.path.rpartition("/")[2]
        records = tf.data.TFRecordDataset(metadata.path).as_numpy_iterator()
        for number, record in enumerate(records):
            features = tf.train.Example.FromString(record).features.feature
            image = _first(features, ("image/encoded", "image"), "bytes_list")
            label = _first(features, ("image/class/label", "label"), "int64_list")
            yield f"{name}/{number}", "has no image" if image is None else image, label


def _first(features: Mapping[str, Any], names: Sequence[str], kind: str) -> Any:
    found = (value for name in names if name in features for value in getattr(features[name], kind).value)
    return next(found, None)


class _ReadParquet(_DoFn):
    def __init__(self, root: str):
        pass

    def process(self, metadata: Any) -> Iterator[tuple]:
        parquet = from_extra("parquet", "pyarrow.parquet", "`parquet:`")
        with FileSystems.open(metadata.path, compression_type="uncompressed") as opened:
            table = parquet.ParquetFile(opened)
            columns = [name for name in ("id", "image", "label") if name in table.schema_arrow.names]
            if not {"id", "image"} <= set(columns):
                raise InputError(f"`parquet:` must have columns id and image. Received: {metadata.path}.")
            for batch in table.iter_batches(batch_size=64, columns=columns):
                for row in batch.to_pylist():
                    image = row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"]
                    yield str(row["id"]), "has no image" if image is None else image, row.get("label")


_READERS: dict[str, Any] = {"folder": _ReadFolder, "tfrecord": _ReadRecords, "parquet": _ReadParquet}
