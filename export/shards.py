"""How one shard of embeddings is laid out on disk: ids, stored vectors `[N, D]` and their scales `[N]`, in one file."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType

import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.extras import from_extra

Shard = tuple[list[str], np.ndarray, np.ndarray]


def write_shard(path: str, format: str, ids: list[str], stored: np.ndarray, scale: np.ndarray) -> None:
    """Writes the shard whole: aside, flushed to disk, renamed."""
    write_atomically(path, lambda aside: _format(format)[0](aside, ids, stored, scale))


def read_shard(path: str, format: str) -> Shard:
    """Reads what `write_shard` wrote. The vectors of `.npy` shards stay on disk until they are used."""
    return _format(format)[1](path)


def write_atomically(path: str, write: Callable[[str], None]) -> None:
    """Calls `write` with the name of a file beside `path`, which then takes its place."""
    aside = f"{path}.tmp"
    write(aside)
    with open(aside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)


def _write_npy(path, ids, stored, scale):
    # The vectors are a plain .npy file for everyone; ids and scales lie beside them, named alike.
    _beside(path.removesuffix(".tmp"), ids, scale)
    with open(path, "wb") as file:
        np.save(file, stored)


def _beside(path, ids, scale):
    write_atomically(path + ".ids", lambda aside: _write_text(aside, "".join(f"{_line(name)}\n" for name in ids)))
    if (scale != 1).any():
        def save(aside):
            with open(aside, "wb") as file:
                np.save(file, scale)
        write_atomically(path + ".scale", save)


def _line(name: str) -> str:
    if "\n" in name:
        raise InputError(f"`ids` must not contain line breaks in .npy sets. Received: {name!r}. Use format='parquet'.")
    return name


def _write_text(path, text):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _read_npy(path):
    stored = np.load(path, mmap_mode="r")
    with open(path + ".ids", encoding="utf-8", newline="\n") as file:
        ids = file.read().split("\n")[:-1]
    scale = np.load(path + ".scale") if os.path.exists(path + ".scale") else np.ones(len(ids), np.float32)
    return ids, stored, scale


def _write_parquet(path, ids, stored, scale):
    arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
    vectors = arrow.FixedSizeListArray.from_arrays(arrow.array(stored.ravel()), stored.shape[1])
    table = {"id": arrow.array(ids, arrow.string()), "embedding": vectors, "scale": arrow.array(scale)}
    parquet.write_table(arrow.table(table), path)


def _read_parquet(path):
    table = _arrow("pyarrow.parquet").read_table(path).combine_chunks()
    column = table["embedding"].combine_chunks()
    stored = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    return table["id"].to_pylist(), stored, table["scale"].to_numpy()


def _write_tfrecord(path, ids, stored, scale):
    import tensorflow as tf

    def feature(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    with tf.io.TFRecordWriter(path) as writer:
        for name, vector, factor in zip(ids, stored, scale, strict=True):
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                "id": feature(name.encode()),
                "embedding": feature(vector.tobytes()),
                "dtype": feature(vector.dtype.name.encode()),
                "scale": tf.train.Feature(float_list=tf.train.FloatList(value=[factor])),
            })).SerializeToString())


def _read_tfrecord(path):
    import tensorflow as tf

    ids, vectors, scales = [], [], []
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        ids.append(feature["id"].bytes_list.value[0].decode())
        dtype = feature["dtype"].bytes_list.value[0].decode()
        vectors.append(np.frombuffer(feature["embedding"].bytes_list.value[0], dtype))
        scales.append(feature["scale"].float_list.value[0])
    return ids, np.stack(vectors), np.array(scales, np.float32)


FORMATS = {
    "npy": (_write_npy, _read_npy),
    "parquet": (_write_parquet, _read_parquet),
    "tfrecord": (_write_tfrecord, _read_tfrecord),
}


def _format(name: str) -> tuple[Callable[..., None], Callable[[str], Shard]]:
    if name not in FORMATS:
        raise InputError(f"`format` {unknown(name, FORMATS)}")
    return FORMATS[name]


def _arrow(module: str) -> ModuleType:
    return from_extra("parquet", module, "`format=parquet`")
