"""The floors of the house: a room imports only lower ones."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FLOORS = {
    "config": 0,
    "values": 0,
    "protocol_settings": 0.5,
    "finetune_config": 0.5,
    "hardware": 0.5,
    "cluster": 0,
    "storage": 0,
    "names": 0,
    "signals": 0,
    "distribute": 0,
    "losses": 1,
    "augment": 1,
    "optimizers": 1,
    "data": 2,
    "encoders": 2,
    "methods": 3,
    "evaluate": 3.5,
    "objectives": 3.5,
    "classifier": 3.6,
    "callbacks": 3.7,
    "model_dir": 3.7,
    "plan": 3.8,
    "onednn": 0,
    "terminal": 0,
    "stages": 0,
    "precision": 3.8,
    "builders": 3.9,
    "train": 4,
    "settle": 3.9,
    "agreement": 3.9,
    "pace": 4.1,
    "cost": 3.9,
    "describe": 4.5,
    "supervised": 4,
    "pretrained": 4,
    "run": 4.1,
    "trained": 4.2,
    "teacher": 4.3,
    "finetune": 4.3,
    "distill": 4.4,
    "tuning": 4.5,
    "protocols": 4.7,
    "report": 5,
    "results": 5.2,
    "export": 5,
    "demo": 5.5,
    "flags": 6,
    "commands": 6,
}
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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_lower_floors(path):
    room = room_of(path)
    if room == "__init__":
        return
    floor = FLOORS[room]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "tfcontrastive" and len(parts) > 1 and parts[1] in FLOORS and parts[1] != room:
            assert FLOORS[parts[1]] <= floor, f"{room} (floor {floor}) imports {name}"
        if name.startswith("absl.flags") or name == "absl.flags":
            assert floor == 6, f"{room} uses absl flags below floor 6"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_file_knows_distribution_contexts(path):
    if room_of(path) == "distribute":
        return
    text = path.read_text(encoding="utf-8")
    for name in ("get_replica_context", "in_cross_replica_context", "merge_call", "num_replicas_in_sync_group"):
        assert name not in text, f"{path} asks tf.distribute for a context"


def test_every_module_has_a_floor():
    assert {room_of(path) for path in MODULES} - {"__init__"} <= set(FLOORS)
