"""How a connection is encrypted."""

from __future__ import annotations

import dataclasses
import os

from tfcontrastive.config import InputError


@dataclasses.dataclass(frozen=True)
class Tls:
    """The PEM files of an encrypted connection.

    Args:
        roots: certificates that the server's must be signed by; None takes those of the system.
        chain, key: the client's own certificate and its private key, for servers that ask for one; both or neither.

    Raises:
        InputError: if one of the files cannot be read, or only one of `chain` and `key` is given.
    """

    roots: str | os.PathLike | None = None
    chain: str | os.PathLike | None = None
    key: str | os.PathLike | None = None

    def __post_init__(self):
        if (self.chain is None) != (self.key is None):
            raise InputError("`client_certificate` must be a pair of files: (certificate, private key).")
        for argument, path in (
            ("tls", self.roots),
            ("client_certificate", self.chain),
            ("client_certificate", self.key),
        ):
            try:
                if path is not None:
                    with open(path, "rb"):
                        pass
            except (OSError, TypeError, ValueError) as error:
                raise InputError(f"`{argument}` must be readable PEM files. Received: {path!r} ({error}).") from error
