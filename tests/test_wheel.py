"""The wheel holds every module and data file, and works outside the checkout."""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
IMPORT_ALL = """
import importlib, pathlib, pkgutil, sys
import tfcontrastive
home = pathlib.Path(sys.argv[1]).resolve()
names = [module.name for module in pkgutil.walk_packages(tfcontrastive.__path__, "tfcontrastive.")]
for name in ["tfcontrastive", *names]:
    module = importlib.import_module(name)
    assert home in pathlib.Path(module.__file__).resolve().parents, module.__file__
from tfcontrastive import data, flags
assert data.load("embedded").num_examples("train") == 10000
assert flags.recipe_names()
from tfcontrastive.report import Table, Column, write_report
write_report("page.html", title="Page", sections=[Table("Results", [Column("encoder")], [("random",)])])
print(" ".join(names))
"""


def test_every_module_imports_from_the_installed_wheel(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in filter(None, tracked):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target, follow_symlinks=False)
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("tfcontrastive-*.whl")
    home = tmp_path / "home"
    subprocess.run([*pip, "install", "--no-deps", "--target", home, wheel], check=True)
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, home],
        cwd=tmp_path,
        env={"PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert {"tfcontrastive.flags", "tfcontrastive.export", "tfcontrastive.commands.main"} <= set(run.stdout.split())
    assert (home / "tfcontrastive" / "py.typed").exists()
    for kind in ("*.css", "*.js", "templates/*.html"):
        ours = {path.name for path in (ROOT / "tfcontrastive" / "report").glob(kind)}
        assert {path.name for path in (home / "tfcontrastive" / "report").glob(kind)} == ours != set()
    assert not (home / "flags").exists()
    assert not (home / "export").exists()
