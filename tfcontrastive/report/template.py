"""The templates of the pages: every value is escaped but what a template itself made."""

from __future__ import annotations

import functools
import html
import json
import pathlib
import re
from typing import Any

import jinja2
from markupsafe import Markup, escape

from tfcontrastive.system.names import escaped

HOME = pathlib.Path(__file__).parent
_SEPARATORS = re.compile(r"(?<=[/_])(?=[^/_\s])")
_FLAG = re.compile(r"(?<!\S)(--[a-z_]+(?:=[\w.]+)?)")


def printable(value: Any) -> Any:
    """A value as it may stand in a file of UTF-8: text with characters that do not print as the JSON string of it."""
    if isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable():
        return escaped(value)
    return value


def breakable(value: Any) -> Markup:
    """A path or another long name, which may break after its separators rather than amid a word."""
    return Markup("<wbr>").join(_SEPARATORS.split(str(printable(str(value)))))


def sentence(value: Any) -> Markup:
    """A sentence whose flags stay in one piece: a browser may break a line after two hyphens."""
    return Markup(_FLAG.sub(r'<span class="flag">\1</span>', str(escape(printable(value)))))


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HOME / "templates"),
        autoescape=True,
        finalize=printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"breakable": breakable, "sentence": sentence}
    return made


def render(template: str, **values: Any) -> Markup:
    """A template with its values filled in: HTML that other templates take as it is."""
    return Markup(_environment().get_template(template).render(values))


def asset(name: str) -> Markup:
    """A style sheet or a script that lies beside the templates."""
    return Markup((HOME / name).read_text(encoding="utf-8"))


def text(value: Any) -> str:
    """A value as text that is safe between tags and in quoted attributes."""
    return html.escape(str(printable(str(value))), quote=True)


def data_block(value: Any) -> Markup:
    """A value as JSON that is safe between the tags of a script: no markup can end or open in it."""
    found = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
