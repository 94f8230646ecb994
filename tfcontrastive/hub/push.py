"""From a directory to a hub."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

from tfcontrastive.config import InputError
from tfcontrastive.hub.address import FORMS, FRAMEWORKS, HubAddress
from tfcontrastive.hub.clients import hugging_face as hf
from tfcontrastive.hub.clients import kaggle, told_in_one_line
from tfcontrastive.hub.upload import README, Upload, upload_of


def push(
    path: str | os.PathLike,
    to: str,
    *,
    licence: str | None = None,
    public: bool = False,
    message: str = "Upload by tfcontrastive",
    dry_run: bool = False,
) -> Upload:
    """Uploads a model with its card, its licence and its preprocessing, by the hub's own client.

    Weights that others published keep their licence, which the card tells; for your own it must be given.

    Args:
        path: an export, the base of its versions, or a folder of `export --format=keras_hub`.
        to: `hf://user/name` (extra `huggingface`) or `kaggle://user/model/framework/variation` (extra `kaggle`), where the
            framework is tensorFlow2 for an export and keras for a preset.
        licence: such as "apache-2.0" or "cc-by-nc-4.0"; or "other:NAME".
        public: whether a new repository of Hugging Face is public; one that exists stays as it is. Kaggle's are private
            until they are opened on their page.
        message: of the commit or the version.
        dry_run: nothing is uploaded and no client is needed: only what would be is found out.

    Returns:
        what was, or would be, uploaded.

    Raises:
        InputError: nothing there to upload, an address of another form or without rights, a licence that is missing or
            another one than the weights', a client that is not installed, or a hub that refuses.

    Examples:
        >>> from tfcontrastive.export import save_model
        >>> exported = save_model(encoder, "pushed")
        >>> print(tfcontrastive.hub.push(exported, "hf://ada/flowers", licence="mit", dry_run=True).licence.text)
        mit
    """
    address = HubAddress.parse(to, "to")
    if address.version is not None:
        raise InputError(
            f"`to` must be {FORMS[address.hub]}, without a version: the hub counts them. Received: to={to!r}."
        )
    upload = upload_of(path, licence)
    _check(address, upload, public)
    if dry_run:
        return upload
    send = hf if address.hub == "hf" else kaggle
    with staged(upload) as folder, told_in_one_line(address, "to"):
        send(address, upload, folder, public=public, message=message)
    return upload


def _check(address: HubAddress, upload: Upload, public: bool) -> None:
    """Refuses what a hub would misunderstand."""
    if address.hub != "kaggle":
        return
    framework, wanted = address.name.split("/")[2], FRAMEWORKS[upload.kind]
    if framework != wanted:
        raise InputError(f"`to` must name the framework {wanted} for such a model. Received: {framework}.")
    if public:
        raise InputError("`public` is for hf://: a model of Kaggle is opened on its page. Received: public=True.")
    if upload.licence.of_kaggle is None:
        raise InputError(
            f"`to` must be a hub that knows the licence: Kaggle has no name for {upload.licence.text!r}, and would say "
            f"another. Received: to={str(address)!r}."
        )


@contextlib.contextmanager
def staged(upload: Upload) -> Iterator[str]:
    """A folder of exactly the files of an upload; the model's own stays as it is."""
    folder = tempfile.mkdtemp(prefix="tfcontrastive-push-")
    try:
        for name in upload.files:
            place = os.path.join(folder, name)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if name == README:
                with open(place, "w", encoding="utf-8") as file:
                    file.write(upload.readme)
                continue
            try:
                os.link(os.path.join(upload.folder, name), place)
            except OSError:  # on another disk
                shutil.copy2(os.path.join(upload.folder, name), place)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
