"""Weights made by a rule from a variable's original name, and the numbers that the original code gives with them.

No published file is needed: fixtures/published_weights.json states the rule, every variable's name and shape, and the
outputs. An importer is right when it reproduces them.
"""

from __future__ import annotations

import json
import pathlib
import zlib

import numpy as np

CASES = {
    case["case"]: case
    for case in json.loads((pathlib.Path(__file__).parent / "fixtures" / "published_weights.json").read_text())["cases"]
}


def weight(name: str, shape) -> np.ndarray:
    """The value of a variable, by the rule."""
    x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    last = name.replace("/", ".").rpartition(".")[2]
    if len(shape) >= 2:
        fan_in = np.prod(shape[:-1] if last == "kernel" else shape[1:])
        return x * np.float32(np.sqrt(2 / fan_in))
    if last in ("gamma", "weight"):
        return 1 + np.float32(0.1) * x
    return 1 + np.float32(0.1) * np.abs(x) if last in ("moving_variance", "running_var") else np.float32(0.1) * x


def images(case: dict) -> np.ndarray:
    """The images `[2, H, W, 3]` that the outputs are of."""
    return np.random.default_rng(0).random((2, case["image_size"], case["image_size"], 3), dtype=np.float32)


def assert_published(output, expected: dict) -> None:
    """The original's numbers, to a relative 1e-3."""
    output = np.asarray(output)
    assert list(output.shape) == expected["shape"]
    tolerance = 1e-3 * np.abs(output).max()
    np.testing.assert_allclose(output[0, :8], expected["first_row_first_8"], rtol=1e-3, atol=tolerance)
    np.testing.assert_allclose(output[1, :8], expected["second_row_first_8"], rtol=1e-3, atol=tolerance)
    np.testing.assert_allclose(np.linalg.norm(output), expected["l2"], rtol=1e-3)
