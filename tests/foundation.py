"""Files of published foundation encoders with weights by a rule, and the features that the original library gives.

fixtures/foundation/FAMILY.json has for each case the names and shapes of the variables as the library writes them, the
settings that lie beside, and the features; `tests.foundation_make` wrote it, where timm, transformers and OpenCLIP are.
"""

from __future__ import annotations

import json
import pathlib
import re
import zlib
from typing import Any

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "fixtures" / "foundation"
CASES: dict[str, dict[str, Any]] = {
    case["case"]: {"family": file.stem, **case}
    for file in sorted(FOLDER.glob("*.json"))
    for case in json.loads(file.read_text())["cases"]
}

_SHOWN = 48


def weight(name: str, shape) -> np.ndarray:
    """The value of a variable, by its name: places and tokens that matter, scales near 1, maps that keep the variance."""
    x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    last = name.rpartition(".")[2]
    if re.search("pos|token|latent|probe|class_embedding", name):
        return np.float32(0.3) * x
    if len(shape) >= 2:
        return x * np.float32(1 / np.sqrt(np.prod(shape[1:])))
    if "bias" in last:
        return np.float32(0.1) * x
    return 1 + np.float32(0.1) * x


def images(size) -> np.ndarray:
    """Two inputs `[2, H, W, 3]` of the network, after any normalisation."""
    return np.random.default_rng(0).standard_normal((2, *size, 3)).astype(np.float32)


def values(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """All variables of a case."""
    made = {}
    for name, shape, *how in case["variables"]:  # zeros; or the values of another name, of which it is a copy
        made[name] = np.zeros(shape, np.float32) if how == ["zeros"] else weight(*how or [name], shape)
    return made


def stored(features: np.ndarray) -> dict[str, Any]:
    """Features as a fixture has them."""
    rows = [[float(f"{value:.7g}") for value in row[:_SHOWN]] for row in features]
    return {"shape": list(features.shape), "rows": rows, "l2": float(f"{np.linalg.norm(features):.7g}")}


def assert_features(features, expected: dict[str, Any]) -> None:
    """The original's, to a relative 1e-4."""
    features = np.asarray(features)
    assert list(features.shape) == expected["shape"]
    rows = np.array(expected["rows"])
    error = np.linalg.norm(features[:, :_SHOWN] - rows) / np.linalg.norm(rows)
    assert error < 1e-4, f"a relative {error:.1e} away"
    np.testing.assert_allclose(np.linalg.norm(features), expected["l2"], rtol=1e-4)
