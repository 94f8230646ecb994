"""`tfcontrastive serve-check`: does an export work in each of its consumers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from absl import flags
from rich.text import Text

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError
from tfcontrastive.system.tables import show_table

TITLE = """tfcontrastive serve-check BASE: loads an export, encoder or towers, in every way at hand and compares the vectors.

Exit code 2 if a check fails. Checks whose package is not installed are not run, and said to be so.
With --benchmark: times the export instead, with each setting that matters, and the ONNX and LiteRT files beside it.
Example: tfcontrastive serve-check exported --server=localhost:8500
         tfcontrastive serve-check exported --benchmark --batch_size=8 --write"""

WORDS = {True: Text("pass", "green"), False: Text("FAIL", "red"), None: Text("not run")}


def run(argv: Sequence[str]) -> int:
    """Checks or times one export."""
    values = serve_check_flags()
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(command_line.help_text(TITLE, {"Flags": values}))
        return 0
    paths = command_line.parse(command_line.expand(argv), values, positional=True)
    if len(paths) != 1:
        raise InputError(f"`BASE` must be one export or base of versions. Received: {len(paths)} of them.")
    wanted = values["benchmark"].value
    for name in ("server", "server_model") if wanted else ("batch_size", "seconds", "image_size", "write"):
        if values[name].present:
            given = f"{name}={values[name].value}"
            raise InputError(
                f"`{name}` must be left out {'with' if wanted else 'without'} --benchmark. Received: {given}."
            )
    show_own_messages()
    return benchmark(paths[0], values) if wanted else check(paths[0], values)


def serve_check_flags() -> flags.FlagValues:
    """The command's own flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("server", None, "HOST:PORT of the gRPC interface of a server that has the export.", values)
    flags.DEFINE_string("server_model", "encoder", "The model's name on it.", values)
    flags.DEFINE_boolean("benchmark", False, "Which artefact and setting embeds fastest on this machine.", values)
    flags.DEFINE_integer("batch_size", 1, "With --benchmark: images in a request.", flag_values=values)
    flags.DEFINE_float("seconds", 30.0, "With --benchmark: to measure for, after all have started.", flag_values=values)
    flags.DEFINE_integer("image_size", None, "With --benchmark: default, the export's own.", flag_values=values)
    flags.DEFINE_boolean(
        "write",
        False,
        "With --benchmark: configure a server so, in serving/ beside the versions, and say so in README.md.",
        values,
    )
    return values


def check(path: str, values: flags.FlagValues) -> int:
    """The table of checks."""
    from tfcontrastive import export

    checks = export.check_export(path, server=values["server"].value, server_model=values["server_model"].value)
    rows = [(check.name, WORDS[check.passed], check.detail) for check in checks]
    show_table(export.latest_version(path), ("check", "result", "detail"), rows)
    return 2 if any(check.passed is False for check in checks) else 0


def benchmark(path: str, values: flags.FlagValues) -> int:
    """The table of timings, and the line that says what to set."""
    from tfcontrastive import export
    from tfcontrastive.export import benchmark as timings
    from tfcontrastive.export.serving_files import write_serving_files

    batch_size = values["batch_size"].value
    found = export.benchmark_export(
        path, batch_size=batch_size, seconds=values["seconds"].value, image_size=values["image_size"].value
    )
    rows = [
        (
            timing.artefact,
            in_words(timing.settings),
            f"{timing.images_per_second:.4g}",
            f"{timing.milliseconds:.4g}",
            f"{timing.cosine:.4f}",
        )
        for timing in found
        if timing.images_per_second is not None
    ]
    columns = ("artefact", "settings", "images/s", "ms a batch", "cosine")
    show_table(f"{export.latest_version(path)}, batches of {batch_size}", columns, rows, right=columns[2:])
    for timing in found:
        if timing.error:
            print(f"not timed: {timing.artefact}, {in_words(timing.settings)}: {timing.error}")
    print(timings.advice(found, batch_size))
    if values["write"].value:
        print(f"configured: {write_serving_files(path, found, batch_size)}")
    return 0 if any(timing.images_per_second for timing in found) else 2


def in_words(settings: Mapping[str, str]) -> str:
    """Settings as a table has them; the line below it has the variables."""
    onednn = {"0": "oneDNN off, ", "1": "oneDNN on, "}.get(settings.get("TF_ENABLE_ONEDNN_OPTS", ""), "")
    one = "1" in (settings.get("TF_NUM_INTRAOP_THREADS"), settings.get("threads"))
    return f"{onednn}{'1 thread' if one else 'all cores'}"
