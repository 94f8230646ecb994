"""How one shard of embeddings is laid out on disk: ids, stored vectors, and where there are any scales and labels."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from types import ModuleType

import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.extras import from_extra
from tfcontrastive.system.names import escaped, unescaped

Label = str | int | None


@dataclasses.dataclass(frozen=True)
class Shard:
    """Rows of a set.

    Attributes:
        ids: names of the rows.
        stored: `[N, D]` as `quantize` gives them.
        scale: `[N]` float32, None where all are 1.
        labels: of the rows, all names or all numbers, None for a row without one; None where the set has none.
        named: whether they are names, in all shards of a set alike.
    """

    ids: list[str]
    stored: np.ndarray
    scale: np.ndarray | None = None
    labels: list[Label] | None = None
    named: bool = False


def write_shard(path: str, format: str, shard: Shard) -> dict[str, int]:
    """Writes the shard whole: aside, flushed to disk, renamed.

    In every format an id is written as `tfcontrastive.system.names.escaped` writes it: as it is, or as a JSON string.

    Returns:
        The size in bytes of each file that was written.
    """
    paths = _format(format)[0](path, shard)
    return {os.path.basename(path): os.path.getsize(path) for path in paths}


def read_shard(path: str, format: str) -> Shard:
    """Reads what `write_shard` wrote. The vectors of `.npy` shards stay on disk until they are used.

    Raises:
        InputError: if the file is damaged.
    """
    read = _format(format)[1]
    try:
        return read(path)
    except InputError:
        raise
    except Exception as error:  # whatever a reader makes of a damaged file
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"`path` must hold whole shards. Received: {path} ({type(error).__name__}: {reason})."
        ) from error


def write_atomically(path: str, write: Callable[[str], None]) -> None:
    """Calls `write` with the name of a file beside `path`, which then takes its place."""
    folder, name = os.path.split(path)
    aside = os.path.join(folder, f"_{name}.tmp")
    write(aside)
    with open(aside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)


def _write_npy(path: str, shard: Shard) -> list[str]:
    # The vectors are a plain .npy file for everyone; the rest lies beside them, named alike. They come last.
    written = [path + ".ids"]
    _write_lines(written[0], [escaped(name) for name in shard.ids])
    if shard.labels is not None:
        written.append(path + ".labels")
        _write_lines(written[-1], [json.dumps(label) for label in shard.labels])
    for name, array in ((path + ".scale", shard.scale), (path, shard.stored)):
        if array is not None:
            written.append(name)
            write_atomically(name, functools.partial(_save, array=array))
    return written


def _save(path: str, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, array)


def _write_lines(path: str, lines: list[str]) -> None:
    def write(aside):
        with open(aside, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)

    write_atomically(path, write)


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8", newline="\n") as file:
        return file.read().split("\n")[:-1]


def _read_npy(path: str) -> Shard:
    stored = np.load(path, mmap_mode="r")
    ids = [unescaped(line) for line in _lines(path + ".ids")]
    scale = np.load(path + ".scale") if os.path.exists(path + ".scale") else None
    labels = [json.loads(line) for line in _lines(path + ".labels")] if os.path.exists(path + ".labels") else None
    return Shard(ids, stored, scale, labels)


def _write_parquet(path: str, shard: Shard) -> list[str]:
    arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
    vectors = arrow.FixedSizeListArray.from_arrays(arrow.array(shard.stored.ravel()), shard.stored.shape[1])
    table = {"id": arrow.array([escaped(name) for name in shard.ids], arrow.string()), "embedding": vectors}
    if shard.labels is not None:
        labels = [escaped(label) if isinstance(label, str) else label for label in shard.labels]
        table["label"] = arrow.array(labels, arrow.string() if shard.named else arrow.int64())
    if shard.scale is not None:
        table["scale"] = arrow.array(shard.scale)

    def write(aside):
        with open(aside, "wb") as file:  # of any name: Arrow takes only those in UTF-8
            parquet.write_table(arrow.table(table), file)

    write_atomically(path, write)
    return [path]


def _read_parquet(path: str) -> Shard:
    with open(path, "rb") as file:
        table = _arrow("pyarrow.parquet").ParquetFile(file).read().combine_chunks()
    column = table["embedding"].combine_chunks()
    stored = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    scale = table["scale"].to_numpy() if "scale" in table.column_names else None
    labels = None
    if "label" in table.column_names:
        labels = [unescaped(label) if isinstance(label, str) else label for label in table["label"].to_pylist()]
    return Shard([unescaped(name) for name in table["id"].to_pylist()], stored, scale, labels)


def _write_tfrecord(path: str, shard: Shard) -> list[str]:
    import tensorflow as tf

    def text(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def feature(label):
        if isinstance(label, str):
            return text(escaped(label).encode())
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))

    def write(aside):
        with tf.io.TFRecordWriter(os.fsencode(aside)) as writer:
            for row, (name, vector) in enumerate(zip(shard.ids, shard.stored, strict=True)):
                features = {
                    "id": text(escaped(name).encode()),
                    "embedding": text(vector.tobytes()),
                    "dtype": text(vector.dtype.name.encode()),
                }
                if shard.scale is not None:
                    features["scale"] = tf.train.Feature(float_list=tf.train.FloatList(value=[shard.scale[row]]))
                if shard.labels is not None:
                    label = shard.labels[row]
                    features["label"] = tf.train.Feature() if label is None else feature(label)
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())

    write_atomically(path, write)
    return [path]


def _read_tfrecord(path: str) -> Shard:
    import tensorflow as tf

    ids, vectors, scales, labels = [], [], [], []
    for record in tf.data.TFRecordDataset(os.fsencode(path)).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        ids.append(unescaped(feature["id"].bytes_list.value[0].decode()))
        dtype = feature["dtype"].bytes_list.value[0].decode()
        vectors.append(np.frombuffer(feature["embedding"].bytes_list.value[0], dtype))
        if "scale" in feature:
            scales.append(feature["scale"].float_list.value[0])
        if "label" in feature:
            names, numbers = feature["label"].bytes_list.value, feature["label"].int64_list.value
            labels.append(unescaped(names[0].decode()) if names else numbers[0] if numbers else None)
    return Shard(ids, np.stack(vectors), np.array(scales, np.float32) if scales else None, labels or None)


FORMATS = {
    "npy": (_write_npy, _read_npy),
    "parquet": (_write_parquet, _read_parquet),
    "tfrecord": (_write_tfrecord, _read_tfrecord),
}


def _format(name: str) -> tuple[Callable[[str, Shard], list[str]], Callable[[str], Shard]]:
    if name not in FORMATS:
        raise InputError(f"`format` {unknown(name, FORMATS)}")
    return FORMATS[name]


def _arrow(module: str) -> ModuleType:
    return from_extra("parquet", module, "`format=parquet`")
