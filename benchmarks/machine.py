"""The class of CPU that a figure was taken on: what its vector units are, and how they were used; and its GPUs."""

import os
import pathlib
import platform

_CLASSES = (
    ("amx_bf16", "AMX"),
    ("avx512_bf16", "AVX-512 with bfloat16"),
    ("avx512_vnni", "AVX-512 without bfloat16"),
    ("avx2", "AVX2"),
)

KEEPS_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**29),
}
"""The environment that PyTorch is measured in: glibc's malloc keeps its memory.

As it is, it gives the maps of a step back after the step and takes them again page by page, and jemalloc, which does so
with all that is larger than 8 MiB unless `oversize_threshold` is 0, costs PyTorch a third of its steps and more.
"""


def gpus(driver: pathlib.Path = pathlib.Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """The names of this machine's NVIDIA GPUs, as their driver tells them."""
    told = [path.read_text(encoding="ascii", errors="replace") for path in sorted(driver.glob("*/information"))]
    lines = [line.split(":", 1) for text in told for line in text.splitlines() if ":" in line]
    return [value.strip() for key, value in lines if key.strip() == "Model"]


def machine() -> str:
    """One line for above a table, such as "2 cores, AVX-512 with bfloat16, oneDNN as TensorFlow has it".

    `ONEDNN_MAX_CPU_ISA=AVX2` in the environment stands in for a CPU that has AVX2 alone, as far as oneDNN is concerned; with
    `TF_ENABLE_ONEDNN_OPTS=0` TensorFlow's own kernels run, as it chooses on such a CPU.
    """
    flags = set()
    if pathlib.Path("/proc/cpuinfo").exists():
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("flags"):
                flags = set(line.split())
                break
    found = next((name for flag, name in _CLASSES if flag in flags), platform.machine())
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    onednn = {"0": "off", "1": "on"}.get(os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""), "as TensorFlow has it")
    cards = "".join(f", {name}" for name in gpus())
    return f"{os.cpu_count()} cores, {found}, oneDNN {onednn}" + (f", limited to {limit}" if limit else "") + cards


if __name__ == "__main__":
    print(machine())
