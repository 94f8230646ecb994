"""The devices that `tfcontrastive plan` knows, in their makers' figures, and this machine. No TensorFlow is needed."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import platform

from tfcontrastive.config import InputError, unknown


@dataclasses.dataclass(frozen=True)
class Hardware:
    """One replica's device, in its maker's figures.

    Args:
        float32, half: peak FLOP/s of products of float32 tensors (TPUs round them to bfloat16, A100 and later to TF32,
            as TensorFlow sets them) and of bfloat16 or float16 ones.
        memory: bytes.
        bandwidth: bytes/s of that memory.
        link: bytes/s that a replica receives from others, inside one machine or pod.
        auto_precision: what `--mixed_precision=auto` becomes there.
    """

    float32: float
    half: float
    memory: float
    bandwidth: float
    link: float
    auto_precision: str = "bfloat16"


HARDWARE = {
    "tpu_v3": Hardware(61.5e12, 61.5e12, 16e9, 450e9, 41e9),  # one core of two on a chip
    "tpu_v4": Hardware(275e12, 275e12, 32e9, 1228e9, 150e9),
    "tpu_v5e": Hardware(197e12, 197e12, 16e9, 819e9, 100e9),
    "v100": Hardware(15.7e12, 125e12, 32e9, 900e9, 150e9, auto_precision="float32"),
    "a100": Hardware(156e12, 312e12, 80e9, 2039e9, 300e9),
    "h100": Hardware(494e12, 989e12, 80e9, 3350e9, 450e9),
    "h200": Hardware(494e12, 989e12, 141e9, 4800e9, 450e9),
    "cpu": Hardware(0.46e12, 0.76e12, 16e9, 20e9, 1.25e9),  # two cores, measured; 10 Gbit/s between machines
}


def hardware_of(name: str) -> Hardware:
    """An entry of `HARDWARE`.

    Raises:
        InputError: no such name.
    """
    if name not in HARDWARE:
        raise InputError(f"`hardware` {unknown(name, HARDWARE)}")
    return HARDWARE[name]


_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # version 2, version 1


def machine_memory() -> int | None:
    """Bytes of main memory that this process may use: the machine's, or its container's share; None where not told."""
    try:
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (ValueError, OSError, AttributeError):  # not a POSIX system
        return None
    for path in map(pathlib.Path, _CGROUPS):
        limit = path.read_text().strip() if path.is_file() else "max"
        found += [int(limit)] if limit.isdecimal() else []
    return min(found)


_CLASSES = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 with bfloat16",
    "avx512_vnni": "AVX-512 without bfloat16",
    "avx2": "AVX2",
}


def cpu_class() -> str:
    """What the vector units of this machine's CPU are, such as "AVX2"; its architecture where that is not told."""
    told = pathlib.Path("/proc/cpuinfo")
    text = told.read_text(encoding="ascii", errors="replace") if told.exists() else ""
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return next((name for flag, name in _CLASSES.items() if flag in flags), platform.machine())
