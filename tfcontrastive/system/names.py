"""Names of files and classes as text: written without loss, shown as they are."""

from __future__ import annotations

import json
import re
from typing import Any

from rich.console import Console

_BYTE = re.compile("[\udc80-\udcff]")  # how `os.fsdecode` gives a byte that is not UTF-8


def escaped(name: str, *, keep_bytes: bool = False) -> str:
    r"""A name as one line of UTF-8: as it is, or as a JSON string where that could not be read back.

    A JSON string, in quotes, stands for a name with characters that do not print (line breaks and tabs among them), one
    with bytes that are not UTF-8 (as `os.fsdecode` gives them: `\udc80` to `\udcff`), and one that begins with a quote.
    `unescaped` gives the name back, and `os.fsencode` of that the bytes that the file system knows.

    Args:
        name: of a file or a class.
        keep_bytes: True where the line is written with `surrogateescape`, so that such bytes alone need no escape.

    Examples:
        >>> escaped("cats/1.png"), escaped("two\nlines.png")
        ('cats/1.png', '"two\\nlines.png"')
    """
    seen = _BYTE.sub("", name) if keep_bytes else name
    return name if seen.isprintable() and not name.startswith('"') else json.dumps(name)


def unescaped(line: str) -> str:
    """The name that `escaped` wrote.

    Raises:
        ValueError: `escaped` did not write this.
    """
    name = json.loads(line) if line.startswith('"') else line
    if not isinstance(name, str):
        raise ValueError(f"{line!r} is not a name")
    return name


def plain_console(**options: Any) -> Console:
    """A console that shows text as it is: `[b]` and `:smile:` may be parts of a file's name."""
    return Console(markup=False, emoji=False, **options)
