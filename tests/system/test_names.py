"""Names of any bytes: one line of text, and back."""

import ast
import io
import os
import pathlib

import hypothesis
import hypothesis.strategies as st
import pytest
from rich.table import Table

from tfcontrastive.system.names import escaped, plain_console, unescaped

FILE_NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(os.fsdecode)


@hypothesis.given(FILE_NAMES | st.text(st.characters(exclude_categories=["Cs"])))
def test_every_name_is_one_line_of_utf8_and_comes_back(name):
    line = escaped(name)
    assert unescaped(line) == name
    line.encode("utf-8")
    assert len(line.splitlines()) <= 1
    assert "\t" not in line
    kept = escaped(name, keep_bytes=True)
    assert unescaped(kept.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")) == name
    assert len(kept.splitlines()) <= 1


@pytest.mark.parametrize("name", ["cats/1.png", "é ü.jpg", "猫.png", "x[/b].png", ":smile:.png", "", "\\n.png"])
def test_ordinary_names_stay_as_they_are(name):
    assert escaped(name) == name


def test_what_escaped_did_not_write_is_refused():
    for line, message in (('"no end', "Unterminated"), ('"a" b', "Extra data")):
        with pytest.raises(ValueError, match=message):
            unescaped(line)


def test_a_console_shows_markup_and_emoji_codes_as_text():
    names = ["x[/b].png", "[red]a[/red]", ":smile:.png"]
    table = Table(title=names[0])
    table.add_column("name")
    for name in names:
        table.add_row(name)
    console = plain_console(file=io.StringIO(), width=80)
    console.print(table)
    console.print(names[0])
    assert all(name in console.file.getvalue() for name in names)


ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("room", ["tfcontrastive", "export", "flags"])
def test_no_module_makes_a_console_or_a_column_that_reads_markup(room):
    """A name that looks like markup would be shown as another one, or end the command."""
    for path in (ROOT / room).rglob("*.py"):
        if path.name == "names.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "Console", f"{path} should call plain_console"
                if node.func.id == "TextColumn" and "{" in ast.unparse(node.args[0]):
                    assert any(keyword.arg == "markup" for keyword in node.keywords), f"{path}: TextColumn"
