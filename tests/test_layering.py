"""The floors of the house, as docs/design.md has them: a room imports only rooms that stand before it."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
TABLE = re.findall(r"^\| (\d+) \| ([\w, ]+) \|", (ROOT / "docs" / "design.md").read_text(encoding="utf-8"), re.M)
ROOMS = [room for _, rooms in TABLE for room in rooms.split(", ")]
MODULES = sorted(
    path
    for room in ("tfcontrastive", "flags", "export")
    for path in (ROOT / room).rglob("*.py")
    if "build" not in path.parts
)


def room_of(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] != "tfcontrastive" else parts[1]


def imports(path: pathlib.Path) -> set[str]:
    """Dotted names that a module imports, function bodies included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_floors_are_whole_numbers_in_order():
    assert [int(floor) for floor, _ in TABLE] == list(range(len(TABLE)))
    assert len(set(ROOMS)) == len(ROOMS)


def test_the_picture_shows_the_rooms_of_the_table():
    shown = re.findall(r">(\w+)</text>", (ROOT / "docs" / "rooms.svg").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted([*ROOMS, *(floor for floor, _ in TABLE)])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_those_before_it(path):
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    place = ROOMS.index(room)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "tfcontrastive" and len(parts) > 1 and parts[1] in ROOMS and parts[1] != room:
            assert ROOMS.index(parts[1]) < place, f"{room} imports {name}"
        if name.startswith("absl.flags") or name == "absl.flags":
            assert room in ("flags", "commands"), f"{room} uses absl flags"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_file_knows_distribution_contexts(path):
    if room_of(path) == "distribute":
        return
    text = path.read_text(encoding="utf-8")
    for name in ("get_replica_context", "in_cross_replica_context", "merge_call", "num_replicas_in_sync_group"):
        assert name not in text, f"{path} asks tf.distribute for a context"


def test_every_module_has_a_room():
    assert {room_of(path) for path in MODULES} - {"__init__", "__main__"} == set(ROOMS)
