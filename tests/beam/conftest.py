"""Tests of the Apache Beam transform, in an environment of its own: Beam asks for an older protobuf and pyarrow.

python -m venv beam && beam/bin/pip install -e '.[beam]' pytest
beam/bin/python -m pytest -o addopts= --confcutdir=tests/beam -m beam tests/beam
"""


def pytest_configure(config):
    config.addinivalue_line("markers", "beam: needs an environment with the extra `beam`; see tests/beam")


def pytest_collection_modifyitems(config, items):
    if "beam" in config.option.markexpr:
        return
    left = [item for item in items if item.get_closest_marker("beam")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
