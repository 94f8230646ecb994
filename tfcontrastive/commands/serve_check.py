"""`tfcontrastive serve-check`: does an export work in each of its consumers?"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from rich.text import Text

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError
from tfcontrastive.system.tables import show_table

TITLE = """tfcontrastive serve-check BASE: loads an export, encoder or towers, in every way at hand and compares the vectors.

Exit code 2 if a check fails. Checks whose package is not installed are not run, and said to be so.
Example: tfcontrastive serve-check exported --server=localhost:8500"""

WORDS = {True: Text("pass", "green"), False: Text("FAIL", "red"), None: Text("not run")}


def run(argv: Sequence[str]) -> int:
    """Checks one export."""
    values = flags.FlagValues()
    flags.DEFINE_string("server", None, "HOST:PORT of the gRPC interface of a server that has the export.", values)
    flags.DEFINE_string("server_model", "encoder", "The model's name on it.", values)
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(command_line.help_text(TITLE, {"Flags": values}))
        return 0
    paths = command_line.parse(command_line.expand(argv), values, positional=True)
    if len(paths) != 1:
        raise InputError(f"`BASE` must be one export or base of versions. Received: {len(paths)} of them.")
    show_own_messages()
    from tfcontrastive import export

    checks = export.check_export(paths[0], server=values["server"].value, server_model=values["server_model"].value)
    rows = [(check.name, WORDS[check.passed], check.detail) for check in checks]
    show_table(export.latest_version(paths[0]), ("check", "result", "detail"), rows)
    return 2 if any(check.passed is False for check in checks) else 0
