"""What goes wrong between a client and a server."""

from __future__ import annotations


class ServingError(RuntimeError):
    """The server's answer, or its silence: `code` by gRPC's canonical name, and a message.

    An answer that is not what was asked for (too few vectors, NaN, no JSON) has the code INTERNAL.

    Args:
        code: such as UNAVAILABLE.
        message: what was said, or what is wrong with the answer.
    """

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message
