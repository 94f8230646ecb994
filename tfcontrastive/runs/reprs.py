"""What a run's result looks like at a prompt and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfcontrastive.report.template import text


def in_words(result: Any, kind: str, steps: int) -> str:
    """One line: the kind of run, its length, where it lies, and its metrics."""
    metrics = ", ".join(f"{name}={value:.4g}" for name, value in result.metrics.items())
    where = result.config.loop.model_dir
    return f"{type(result).__name__}({kind}, {steps:,} steps in {result.seconds:.0f} s, {where!r}: {metrics})"


def as_html(metrics: Mapping[str, float]) -> str:
    """The metrics as a table."""
    rows = "".join(f"<tr><th>{text(name)}</th><td>{value:.4f}</td></tr>" for name, value in metrics.items())
    return f"<table>{rows}</table>"
