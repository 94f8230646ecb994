"""Why an image has no vector, in one line."""

from __future__ import annotations

import re

_LONGEST = 300


def image_reason(message: str) -> str:
    """The line of TensorFlow's long message that names the problem, without the image's position in its batch.

    Examples:
        >>> image_reason("assertion failed: [`image_bytes` [3] is empty: it has no bytes]")
        'is empty: it has no bytes'
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["no reason is given"]
    start = next((i for i, line in enumerate(lines) if line.startswith("<stack traces")), -1)
    line = (lines[start + 1 :] or lines)[0].partition("[[")[0].strip().removeprefix("assertion failed: ").strip("[] ")
    return " ".join(re.sub(r"^`image_bytes` \[\d+\] ", "", line).split())[:_LONGEST] or "no reason is given"
