"""Published weights as models of this package."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator

import h5py
import keras
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfcontrastive import hub, storage
from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.data.preprocessing import Preprocessing
from tfcontrastive.pretrained.efficientnet_lite import recognise_efficientnet_lite
from tfcontrastive.pretrained.foundation import recognise_foundation
from tfcontrastive.pretrained.hdf5_file import read_hdf5
from tfcontrastive.pretrained.keras_applications import BY_NAME, read_by_name, recognise_applications
from tfcontrastive.pretrained.keras_hub_folder import is_preset, read_preset
from tfcontrastive.pretrained.keras_hub_preset import recognise_hub_resnet, with_card
from tfcontrastive.pretrained.mapping import Recognised, Report, fill
from tfcontrastive.pretrained.moco_vit import recognise_vit
from tfcontrastive.pretrained.model_folder import is_index, read_index, weights_in
from tfcontrastive.pretrained.safetensors_file import read_safetensors
from tfcontrastive.pretrained.simclr_counted import recognise_counted
from tfcontrastive.pretrained.simclr_tf2 import recognise_checkpoint
from tfcontrastive.pretrained.tensorflow_file import checkpoint_in, read_checkpoint, read_saved_model
from tfcontrastive.pretrained.torch_file import read_torch_legacy, read_torch_zip
from tfcontrastive.pretrained.torchvision import recognise_torchvision
from tfcontrastive.pretrained.variables import Variables

FAMILIES = (
    recognise_applications, recognise_counted, recognise_checkpoint, recognise_efficientnet_lite, recognise_foundation,
    recognise_vit, recognise_hub_resnet, recognise_torchvision,
)  # fmt: skip
"""Each tells its own files from the names of their variables."""

_DAMAGE = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error,
           pickle.UnpicklingError, zipfile.BadZipFile, tarfile.TarError, MemoryError, OverflowError,
           RuntimeError, DecodeError, tf.errors.OpError)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Published networks, with their weights.

    Attributes:
        encoder: the network alone: preprocessed images `[B, H, W, 3]` -> features `[B, F]`.
        projection_head: features -> projections, None where the file has none.
        supervised_head: features -> logits, None where the file has none.
        preprocessing: what its images go through.
        config: the encoder's, as a run would state it.
        report: what was recognised, and what became of every variable.
    """

    encoder: keras.Model
    projection_head: keras.layers.Layer | None
    supervised_head: keras.layers.Layer | None
    preprocessing: Preprocessing
    config: EncoderConfig
    report: Report

    def on_pixels(self) -> keras.Model:
        """The encoder of this package's kind, for images in [0, 1]: with its normalisation in it, and these weights."""
        return self.preprocessing.on_pixels(self.encoder)


def load(path: str | os.PathLike, *, image_size: int | None = None, ft_proj_selector: int | None = None) -> Pretrained:
    """Loads published weights, whatever they were written by.

    The format and the architecture are recognised from the variables, and from a config.json beside them where these do not
    tell all. Every variable of the file is used, or listed
    in the report with the reason why not; every variable of the networks is filled, or it is an error that names it. No
    code in the file is run, and torch is not needed.

    Args:
        path: a checkpoint of TensorFlow (its prefix, or its directory), a hub module, a SavedModel, a file of
            `torch.save`, safetensors or HDF5, a folder of a model hub with such a file (or several, and their index), or
            keras.applications/NAME, whose weights Keras downloads; or `hf://user/name`, see `tfcontrastive.load`.
        image_size: height and width that the encoder is built for; None: any.
        ft_proj_selector: for the files of google-research/simclr: how many layers of the projection head the supervised
            head is on. None tells it from the optimizer's slots, and takes 0 where there are none.

    Raises:
        InputError: there is no such file, it is damaged, it is none of the known families, or it does not fit.

    Examples:
        >>> pretrained = load("moco_v2_800ep_pretrain.pth.tar")
        >>> print(pretrained.report)
        >>> features = pretrained.encoder(pretrained.preprocessing.normalize(images))
    """
    with _told_in_one_sentence(path):
        variables = read_variables(os.fspath(path))
        recognised = _recognised(variables, image_size, ft_proj_selector)
        report = fill(recognised, variables)
    return Pretrained(
        recognised.encoder,
        recognised.projection_head,
        recognised.supervised_head,
        Preprocessing.named(recognised.config.preprocessing),
        recognised.config,
        report,
    )


def recognise(path: str | os.PathLike) -> Recognised:
    """What `load` would find in a file: its networks, not filled, and where each of their variables would come from.

    Args:
        path: as `load` takes it.

    Raises:
        InputError: as `load`, but for what only shows when the variables are read.
    """
    with _told_in_one_sentence(path):
        return _recognised(read_variables(os.fspath(path)), None, None)


def recognise_preset(variables: Variables) -> Recognised:
    """The same of variables that were read from a preset folder of keras_hub."""
    return _recognised(variables, None, None)


@contextlib.contextmanager
def _told_in_one_sentence(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"`{path}` cannot be imported: {error}.") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"`{path}` cannot be read; it may be cut short or of another kind: {reason}.") from error


def _recognised(variables: Variables, image_size: int | None, ft_proj_selector: int | None) -> Recognised:
    for family in FAMILIES:
        found = family(variables, image_size, ft_proj_selector)
        if found is not None:
            return with_card(found, variables)
    some = ", ".join(list(variables.shapes)[:5]) or "none"
    raise InputError(f"its variables are those of no family that is known: {some}, ... ({variables.kind})")


def read_variables(path: str) -> Variables:
    """The variables of a file or directory, its kind told from its first bytes.

    Raises:
        InputError: nothing is there, or it is of no known kind.
    """
    if path.startswith(BY_NAME):
        return read_by_name(path)
    path = hub.local_path(path)
    if storage.is_dir(path):
        return _of_directory(path)
    prefix = path.removesuffix(".index")
    if storage.exists(f"{prefix}.index"):
        return read_checkpoint(prefix)
    if not storage.exists(path):
        raise InputError("there is no such file or directory")
    if "://" in path:
        raise InputError("a file of torch, safetensors or HDF5 is read from a disk only; copy it there")
    if is_index(path):
        return read_index(path, read_variables)
    if h5py.is_hdf5(path):
        return read_hdf5(path)
    if zipfile.is_zipfile(path):
        return read_torch_zip(path)
    with open(path, "rb") as file:
        start = file.read(9)
    if start[:2] == b"\x80\x02" or start[:2] == b"\x80\x03":
        return read_torch_legacy(path)
    if len(start) == 9 and start[8:] == b"{":
        return read_safetensors(path)
    if start[:4] == b"PK\x03\x04":
        raise InputError("it is a zip archive that is cut short")
    if tarfile.is_tarfile(path):
        raise InputError("it is a tar archive of torch before 0.1.10; write it anew with torch: "
                         "pip install torch, then torch.save(torch.load(old), new)")  # fmt: skip
    return read_checkpoint(path)  # of the first version: one file


def _of_directory(path: str) -> Variables:
    """A SavedModel or hub module, which may lie under saved_model; a folder of a model hub; or the newest checkpoint."""
    for place in (path, os.path.join(path, "saved_model")):
        if storage.exists(os.path.join(place, "saved_model.pb")):
            return read_saved_model(place)
    if is_preset(path):
        return read_preset(path)
    weights = weights_in(path)
    if weights is not None:
        return read_variables(weights)
    prefix = checkpoint_in(path)
    if prefix is None:
        raise InputError("the directory holds no run, no checkpoint and no SavedModel")
    return read_checkpoint(prefix)
