"""How the results of an evaluation are put into words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfcontrastive.evaluate.evaluator import PARTS


def title(result: Mapping[str, Any]) -> str:
    """The protocol in words, with its variant where it has several."""
    variant = result["settings"].get(f"{result['protocol']}_optimizer")
    return result["protocol"].replace("_", " ") + (f" ({variant})" if variant else "")


def heading(result: Mapping[str, Any]) -> str:
    """A section's heading: the protocol, and on what."""
    return title(result) + (f" on {result['dataset']}" if result["dataset"] else "")


def settings_sentence(result: Mapping[str, Any]) -> str:
    """The settings that the values depend on, on one line."""
    settings = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in result["settings"].items() if value is not None]  # fmt: skip
    seeds = [f"seeds {', '.join(result['runs'])}"] if result["runs"] else []
    return "; ".join([*settings, *seeds]) + "."


def spoken(name: str, protocol: str) -> str:
    """A value's name without its protocol, in words: knn_mean_per_class -> mean per class."""
    return name.removeprefix(f"{protocol}_").replace("_", " ").replace("/", ", ")


def shown(name: str, value: float) -> str:
    """A value as it should read: parts of one as percentages."""
    return f"{value:.1%}" if is_part(name) else f"{value:.4g}"


def is_part(name: str) -> bool:
    """Whether a value of this name is a part of one."""
    return name.split("/")[0].rpartition("_")[2] in PARTS
