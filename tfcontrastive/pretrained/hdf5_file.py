"""HDF5 files of weights, as Keras 2 writes them and keras.applications publishes them."""

from __future__ import annotations

import h5py
import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.pretrained.variables import Variables


def read_hdf5(path: str) -> Variables:
    """The variables of the file: `layer/weight`, in the order of the network's layers."""
    with h5py.File(path, "r") as file:
        root = "model_weights" if "model_weights" in file else "/"
        if "layer_names" not in file[root].attrs:
            raise InputError("it is an HDF5 file, but not one of weights as keras.applications publishes them")
        places = {}
        for layer in map(_text, file[root].attrs["layer_names"]):
            for weight in map(_text, file[root][layer].attrs["weight_names"]):
                name = weight.rpartition("/")[2].partition(":")[0]
                places[f"{layer}/{name}"] = f"{root}/{layer}/{weight}"
        shapes = {name: tuple(file[place].shape) for name, place in places.items()}

    def read(name: str) -> np.ndarray:
        with h5py.File(path, "r") as file:
            return np.asarray(file[places[name]])

    return Variables("HDF5", path, shapes, read)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
