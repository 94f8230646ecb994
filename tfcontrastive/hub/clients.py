"""The hubs' own clients, which know who is logged in and where files are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType

from tfcontrastive.config import InputError
from tfcontrastive.hub.address import HubAddress
from tfcontrastive.hub.upload import Upload
from tfcontrastive.system.extras import from_extra

_LOGIN = {
    "hf": "log in with `hf auth login`, as someone who may use it",
    "kaggle": "put a token of someone who may use it into ~/.kaggle/kaggle.json",
}
_OTHER_FORMATS = ["*.gguf", "*.msgpack", "*.ot", "*.onnx", "onnx/*", "openvino/*", "flax_model*", "coreml/*"]
"""What a repository may hold beside and no reader here takes."""

_OF_MODELS = ["saved_model.pb", "fingerprint.pb", "variables/*", "assets/*", "assets.extra/*", "model_card.json",
              "config.json", "metadata.json", "image_converter.json", "*.weights.h5", "model.weights.json"]  # fmt: skip
"""Files of the models that are pushed, of which no other's may stay."""


def client_of(address: HubAddress, argument: str) -> ModuleType:
    """The client's module.

    Raises:
        InputError: it is not installed.
    """
    extra, module = {"hf": ("huggingface", "huggingface_hub"), "kaggle": ("kaggle", "kagglehub")}[address.hub]
    return from_extra(extra, module, argument=f"`{argument}` {address}")


def hugging_face(address: HubAddress, upload: Upload, folder: str, *, public: bool, message: str) -> None:
    """One commit of all files, which takes the place of a model that lies there; the repository keeps its history."""
    api = client_of(address, "to").HfApi()
    api.create_repo(address.name, private=not public, exist_ok=True)
    api.upload_folder(
        repo_id=address.name, folder_path=folder, commit_message=message, delete_patterns=_OF_MODELS, repo_type="model"
    )


def kaggle(address: HubAddress, upload: Upload, folder: str, *, public: bool, message: str) -> None:
    """One version of the variation, which is made where it is new."""
    del public
    client_of(address, "to").model_upload(
        address.name, folder, license_name=upload.licence.of_kaggle, version_notes=message
    )


def snapshot(address: HubAddress, argument: str) -> str:
    """Fetches a model into its client's cache; returns the directory."""
    client = client_of(address, argument)
    with told_in_one_line(address, argument):
        if address.hub == "hf":
            return client.snapshot_download(address.name, revision=address.version, ignore_patterns=_OTHER_FORMATS)
        return client.model_download(address.name if address.version is None else f"{address.name}/{address.version}")


@contextlib.contextmanager
def told_in_one_line(address: HubAddress, argument: str) -> Iterator[None]:
    """What a client raises (no rights, no such model, no network) as one line.

    Raises:
        InputError: in its place.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each client has errors of its own, which share no base
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), "") or type(error).__name__
        hint = f"; {_LOGIN[address.hub]}" if status in (401, 403, 404) or "auth" in why.lower() else ""
        raise InputError(
            f"`{argument}` must be a model that you may use, on a hub that can be reached. Received: {address}, "
            f"and it says: {why[:300]}{hint}."
        ) from error
