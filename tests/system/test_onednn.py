"""oneDNN is turned on by the import, unless the user chose or TensorFlow is there already; never for what serves."""

import os
import subprocess
import sys

import pytest

IMPORT = "import os, tfcontrastive; "
SHOW = "print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))"
SERVE = "from tfcontrastive import onednn; onednn.leave_to_tensorflow(); "
# A stand-in for an imported TensorFlow, with its own word on whether oneDNN is on.
LOADED = """
import sys, types
for name in ("tensorflow", "tensorflow.python", "tensorflow.python.util"):
    sys.modules[name] = types.ModuleType(name)
port = types.SimpleNamespace(IsMklEnabled=lambda: {enabled})
sys.modules["tensorflow.python.util"]._pywrap_util_port = port
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if "ONEDNN" not in name}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    ("program", "environment", "shown"),
    [
        (IMPORT + SHOW, {}, "1"),
        (IMPORT + SHOW, {"TF_ENABLE_ONEDNN_OPTS": "0"}, "0"),
        (IMPORT + SERVE + SHOW, {}, "None"),
        (IMPORT + SERVE + SHOW, {"TF_ENABLE_ONEDNN_OPTS": "1"}, "1"),
        (LOADED.format(enabled=True) + IMPORT + SHOW, {}, "None"),
    ],
    ids=["on by default", "the user's choice", "off for serving", "the user's choice in serving", "too late"],
)
def test_the_variable_after_the_import(program, environment, shown):
    assert run(program, **environment).stdout.strip() == shown


@pytest.mark.parametrize(
    ("enabled", "environment", "lines"),
    [(False, {}, 1), (True, {}, 0), (False, {"TF_ENABLE_ONEDNN_OPTS": "0"}, 0)],
    ids=["off", "on", "off as asked for"],
)
def test_one_line_where_tensorflow_came_first_without_it(enabled, environment, lines):
    messages = run(LOADED.format(enabled=enabled) + IMPORT, **environment).stderr
    assert messages.count("twice the time") == lines
