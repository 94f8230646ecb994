"""`tfcontrastive serve-check`: does an export work in each of its consumers, and which is the fastest?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from absl import flags
from rich.text import Text

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError
from tfcontrastive.system.tables import show_table

TITLE = """tfcontrastive serve-check BASE: loads an export in every way that is at hand and compares the vectors.

Exit code 2 if a check fails. Checks whose package is not installed are not run, and said to be so.
Example: tfcontrastive serve-check exported --server=localhost:8500
With --benchmark: which setting, and which artefact, is the fastest on this machine.
Example: tfcontrastive serve-check exported encoder.onnx encoder.tflite --benchmark --batch_size=1 --compose=serving"""

WORDS = {True: Text("pass", "green"), False: Text("FAIL", "red"), None: Text("not run")}
OF_BENCHMARK = ("batch_size", "seconds", "compose")


def run(argv: Sequence[str]) -> int:
    """Checks one export, or times it."""
    values = check_flags()
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(command_line.help_text(TITLE, {"Flags": values}))
        return 0
    paths = command_line.parse(command_line.expand(argv), values, positional=True)
    options = {name: values[name].value for name in values}
    if not paths or (len(paths) > 1 and not options["benchmark"]):
        raise InputError(f"`BASE` must be one export or base of versions. Received: {len(paths)} of them.")
    for name in OF_BENCHMARK if not options["benchmark"] else ("server", "server_model"):
        if values[name].present:
            rule = "left out with --benchmark" if options["benchmark"] else "given with --benchmark"
            raise InputError(f"`{name}` must be {rule}. Received: {name}={options[name]}.")
    show_own_messages()
    if options["benchmark"]:
        return benchmark(paths, options)
    from tfcontrastive import export

    checks = export.check_export(paths[0], server=options["server"], server_model=options["server_model"])
    rows = [(check.name, WORDS[check.passed], check.detail) for check in checks]
    show_table(export.latest_version(paths[0]), ("check", "result", "detail"), rows)
    return 2 if any(check.passed is False for check in checks) else 0


def check_flags() -> flags.FlagValues:
    """The command's own flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("server", None, "HOST:PORT of the gRPC interface of a server that has the export.", values)
    flags.DEFINE_string("server_model", "encoder", "The model's name on it.", values)
    flags.DEFINE_boolean(
        "benchmark",
        False,
        "Times the export, and .onnx and .tflite files named after it, in place of the checks.",
        values,
    )
    flags.DEFINE_integer("batch_size", 1, "With --benchmark: images a call.", flag_values=values)
    flags.DEFINE_float(
        "seconds", 30.0, "With --benchmark: of measuring, of all together; starting comes on top.", flag_values=values
    )
    flags.DEFINE_string(
        "compose", None, "With --benchmark: directory for TensorFlow Serving's files, with the fastest setting; it is "
        "written into the version's README.md too.", values,
    )  # fmt: skip
    return values


def benchmark(paths: Sequence[str], options: dict[str, Any]) -> int:
    """Shows a table, the fastest first."""
    from tfcontrastive import export
    from tfcontrastive.export.benchmark import NAMES
    from tfcontrastive.export.serving_files import refuse_present, write_serving_files
    from tfcontrastive.system.cpu import describe_cpu

    base, *files = paths
    if options["compose"] is not None:
        refuse_present(options["compose"])
    size, machine = options["batch_size"], describe_cpu()
    speeds = export.benchmark_export(base, files, batch_size=size, seconds=options["seconds"])
    rows = [
        (
            NAMES[speed.artefact],
            speed.setting,
            f"{speed.images_per_second:.4g}" if speed.images_per_second else "not run",
            speed.problem or f"similarity {speed.similarity:.5f}",
        )
        for speed in speeds
    ]
    path = export.latest_version(base)
    show_table(f"{path}: batch {size}, {machine}", ("artefact", "setting", "images/s", "vectors"), rows)
    if speeds[0].images_per_second is None:
        return 2
    settings = " ".join(f"{name}={value}" for name, value in speeds[0].environment.items())
    fastest = f"{NAMES[speeds[0].artefact]}, {speeds[0].setting}"
    print(f"the fastest: {fastest}" + (f" ({settings}, set before TensorFlow is imported)" if settings else ""))
    if options["compose"] is not None:
        best = write_serving_files(options["compose"], path, speeds, batch_size=size, machine=machine)
        print(f"TensorFlow Serving with {best.setting}: {os.path.join(options['compose'], 'docker-compose.yml')}")
    return 0
