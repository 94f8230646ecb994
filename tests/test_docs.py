"""What README and docs say is there: names, commands, flags, pages."""

import importlib
import pathlib
import re
import shlex

import pytest

import tfcontrastive
from tfcontrastive.commands.main import COMMANDS, main

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = (
    "augment",
    "callbacks",
    "data",
    "encoders",
    "evaluate",
    "export",
    "hub",
    "losses",
    "optimizers",
    "pretrained",
    "report",
    "towers",
)
# Methods whose flags a command line may hold beside those of the default one.
METHODS = ("simclr", "moco")


def page_id(path):
    return str(path.relative_to(ROOT))


def resolved(dotted: str) -> object:
    """The module, class or function of a dotted name."""
    value, parts = tfcontrastive, dotted.split(".")[1:]
    for depth, part in enumerate(parts, start=1):
        try:
            value = getattr(value, part)
        except AttributeError:
            value = importlib.import_module(".".join(["tfcontrastive", *parts[:depth]]))
    return value


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_dotted_name_is_there(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith(":::"))  # the build of the pages checks those
    for found in re.findall(r"(?<![\w/.])(?:tfc|tfcontrastive)((?:\.[A-Za-z_]\w*)+)", text):
        assert resolved(f"tfcontrastive{found}") is not None


def commands(page) -> list[str]:
    """The command lines of this program in a page's blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if part.strip().startswith("tfcontrastive ")]


@pytest.fixture(scope="module")
def known_flags():
    """command -> its flags' names, of every method that pages show."""
    return {}


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in commands(page)}))
def test_every_command_line_has_flags_that_exist(line, known_flags, capsys):
    _, command, *words = shlex.split(line)
    assert command in COMMANDS
    given = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    protocol = [word for word in words if word.startswith("--protocol=") or word == "--from=features"]
    if ":" in "".join(protocol):  # a file that the page shows: its test runs the line
        return
    for more in [[f"--method={method}"] for method in METHODS] if command == "train" else [protocol]:
        key = (command, *more)
        if key not in known_flags:
            assert main([command, *more, "--help"]) == 0
            known_flags[key] = set(re.findall(r"--(?:\[no\])?(\w+)", capsys.readouterr().out))
    known = set().union(*(flags for key, flags in known_flags.items() if key[0] == command))
    unknown = {name for name in given if name not in known and name.removeprefix("no") not in known}
    assert not unknown - {"recipe"}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_class_and_function_has_its_place_in_the_api_pages(room):
    page = (ROOT / "docs" / "api" / f"{room}.md").read_text(encoding="utf-8")
    module = importlib.import_module(f"tfcontrastive.{room}")
    for name in module.__all__:
        if callable(getattr(module, name)) and room != "export":
            assert re.search(rf"^::: tfcontrastive\.[\w.]+\.{name}$", page, re.M), f"{room}.{name}"


def rows_of(page: str, first_column: str) -> list[list[str]]:
    """The cells of a page's table whose first column is headed so."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = text[text.index(f"| {first_column} |") :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in (table[0], *table[2:])]


def test_the_table_of_methods_has_every_one_whole():
    head, *rows = rows_of("methods.md", "`--method=` | paper")
    assert {re.match(r"`(\w+)`", row[0])[1] for row in rows} == set(tfcontrastive.METHODS)
    incomplete = [row[0] for row in rows if len(row) != len(head) or not all(row)]
    assert incomplete == []
    recipes = {path.stem for path in (ROOT / "flags" / "recipes").glob("*.flags")}
    named = {name for row in rows for name in re.findall(r"`([a-z]\w+)`", row[head.index("published recipes")])}
    assert named - recipes == set()


def test_every_method_is_some_ones_choice():
    chosen = {name for row in rows_of("choosing.md", "your case") for name in re.findall(r"\w+", row[1])}
    assert set(tfcontrastive.METHODS) - chosen == set()


def test_every_page_is_in_the_navigation():
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        assert page.relative_to(ROOT / "docs").as_posix() in listed


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 220
