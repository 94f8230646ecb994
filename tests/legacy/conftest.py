"""Tests against TensorFlow 2.15, Keras 2 and tensorflow-addons, in an environment of their own.

They run with `pytest -m legacy`, which makes the environment once (1.7 GB), in pytest's cache or where
`TFCONTRASTIVE_LEGACY_VENV` says. It needs Python 3.10 or 3.11.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

PACKAGES = [
    "tensorflow==2.15.*",
    "keras==2.15.*",
    "tensorflow-addons==0.23.*",
    "tensorflow-hub==0.16.1",
    "numpy<2",
    "setuptools<82",
]


def pytest_configure(config):
    config.addinivalue_line("markers", "legacy: needs the environment of TensorFlow 2.15; see tests/legacy")


def pytest_collection_modifyitems(config, items):
    if "legacy" in config.option.markexpr:
        return
    legacy = [item for item in items if item.get_closest_marker("legacy")]
    if legacy:
        config.hook.pytest_deselected(items=legacy)
        items[:] = [item for item in items if item not in legacy]


@pytest.fixture(scope="session")
def legacy(pytestconfig, tmp_path_factory):
    """Runs a script of this directory in the old environment, on a folder that both sides read and write."""
    place = os.environ.get("TFCONTRASTIVE_LEGACY_VENV") or pytestconfig.cache.mkdir("legacy") / "venv"
    python = _environment(pathlib.Path(place))

    def run(script, folder):
        script = pathlib.Path(__file__).parent / script
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
        done = subprocess.run([python, str(script), str(folder)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]

    return run


def _environment(place):
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        subprocess.run([_old_python(), "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (place / "complete").touch()
    return str(python)


def _old_python():
    if sys.version_info < (3, 12):
        return sys.executable
    found = shutil.which("python3.11") or shutil.which("python3.10")
    assert found, "TensorFlow 2.15 needs Python 3.10 or 3.11: install python3.11"
    return found
