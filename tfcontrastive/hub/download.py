"""From a hub to a directory."""

from __future__ import annotations

from tfcontrastive.hub.address import FORMS, HubAddress
from tfcontrastive.hub.clients import snapshot


def is_address(path: str) -> bool:
    """Whether a path names a model on a hub.

    Examples:
        >>> is_address("hf://ada/flowers"), is_address("runs/flowers")
        (True, False)
    """
    return path.startswith(tuple(f"{hub}://" for hub in FORMS))


def local_path(path: str, argument: str = "path") -> str:
    """The path itself, or the directory in the client's own cache that a hub's model was fetched to.

    Args:
        path: any, or `hf://user/name[@revision]`, `kaggle://user/model/framework/variation[/version]`.
        argument: that it was given as, for errors.

    Raises:
        InputError: of another form, its client is not installed, or its hub refuses.

    Examples:
        >>> local_path("runs/flowers")
        'runs/flowers'
    """
    return snapshot(HubAddress.parse(path, argument), argument) if is_address(path) else path
