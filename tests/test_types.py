"""What programs that read types see: the packages where they are installed, and the names that are imported on first use."""

import ast
import configparser
import pathlib

import tfcontrastive
from tfcontrastive import export

ROOT = pathlib.Path(__file__).parents[1]


def declared(file: pathlib.Path) -> dict[str, str]:
    """The module of each name that is imported, or given another name, for type checkers alone."""
    (block,) = [
        node
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    homes = {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            homes |= {alias.asname or alias.name: node.module for alias in node.names}
        else:
            new, old = (ast.unparse(part).strip("()").split(", ") for part in (node.targets[0], node.value))
            homes |= {name: homes.pop(other) for name, other in zip(new, old, strict=True)}
    return homes


def test_mypy_reads_each_package_where_it_is_installed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["package_dir"].split("\n")
    for package, folder in (line.split(" = ") for line in lines if line):
        seen = ROOT / ".ci" / "types" / package.replace(".", "/") / "__init__.py"
        assert seen.resolve() == ROOT / folder / "__init__.py"


def test_the_names_of_the_library_are_declared():
    homes = {name: home.partition(":")[0] for name, home in tfcontrastive._NAMES.items()}
    homes |= dict.fromkeys(("METHODS", "ContrastiveModel", "StepOutput", "build"), "methods")
    expected = {name: f"tfcontrastive.{home}" for name, home in homes.items()}
    assert declared(ROOT / "tfcontrastive" / "__init__.py") == expected | dict.fromkeys(
        tfcontrastive._ROOMS, "tfcontrastive"
    )


def test_the_names_of_export_are_declared():
    homes = {name: home if "." in home else f"tfcontrastive.export.{home}" for name, home in export._HOMES.items()}
    assert declared(ROOT / "export" / "__init__.py") == homes
