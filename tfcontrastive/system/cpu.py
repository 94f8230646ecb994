"""What kind of CPU this is, as far as the speed of a network is concerned."""

from __future__ import annotations

import os
import pathlib
import platform

_CLASSES = (
    ("amx_bf16", "AMX"),
    ("avx512_bf16", "AVX-512 with bfloat16"),
    ("avx512f", "AVX-512"),
    ("avx2", "AVX2"),
)


def describe_cpu() -> str:
    """In words, with the limit that the environment sets oneDNN, such as `2 cores with AVX2`."""
    path = pathlib.Path("/proc/cpuinfo")
    text = path.read_text(encoding="ascii", errors="replace") if path.exists() else ""
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    found = next((name for flag, name in _CLASSES if flag in flags), platform.machine())
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return f"{os.cpu_count()} cores with {found}" + (f", oneDNN limited to {limit}" if limit else "")
