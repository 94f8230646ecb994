"""ONNX Runtime as on a CPU without AVX-512: ONEDNN_MAX_CPU_ISA=AVX2 limits TensorFlow's kernels, and nothing limits its.

    python benchmarks/only_avx2.py copy                  # needs objdump and a C compiler
    LD_PRELOAD=copy/cpuid.so PYTHONPATH=copy ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/export.py --batch 1 32 ...

Copies the installed package; in the copy each `cpuid` instruction is a breakpoint, which cpuid.so answers as the CPU does,
but for the bits of everything after AVX2 and FMA. The kernels are the package's own.
"""

import argparse
import pathlib
import re
import shutil
import subprocess

ANSWER = r"""
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>

static void answer(int signal, siginfo_t *info, void *context) {
  greg_t *held = ((ucontext_t *)context)->uc_mcontext.gregs;
  unsigned leaf = held[REG_RAX], part = held[REG_RCX], a, b, c, d;
  __cpuid_count(leaf, part, a, b, c, d);
  if (leaf == 7 && part == 0) {
    b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31); /* AVX-512 F .. VL */
    c &= ~(1u << 1 | 1u << 6 | 1u << 8 | 1u << 11 | 1u << 12 | 1u << 14); /* VBMI, VBMI2, GFNI, VNNI, BITALG, VPOPCNTDQ */
    d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25); /* ..., AMX, AVX512-FP16 */
  }
  if (leaf == 7 && part == 1) {
    a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23); /* AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA */
    d &= ~(1u << 4 | 1u << 5 | 1u << 10 | 1u << 19); /* AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16, AVX10 */
  }
  held[REG_RAX] = a, held[REG_RBX] = b, held[REG_RCX] = c, held[REG_RDX] = d;
}

__attribute__((constructor)) static void install(void) {
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGTRAP, &action, 0);
}
"""
CPUID, BREAKPOINT = b"\x0f\xa2", b"\xcc\x90"


def limit(library: pathlib.Path) -> int:
    """Makes every cpuid instruction a breakpoint, in place; how many there were."""
    told = subprocess.run(["objdump", "-d", str(library)], capture_output=True, text=True, check=True).stdout
    content = bytearray(library.read_bytes())
    places = re.findall(r"^ *([0-9a-f]+):\t0f a2 +\tcpuid", told, re.MULTILINE)
    sections = subprocess.run(["objdump", "-h", str(library)], capture_output=True, text=True, check=True).stdout
    _, address, _, offset = next(line.split()[2:6] for line in sections.splitlines() if " .text " in line)
    for place in places:
        at = int(place, 16) - int(address, 16) + int(offset, 16)
        assert content[at : at + 2] == CPUID, f"{library}: no cpuid at {at}"
        content[at : at + 2] = BREAKPOINT
    library.write_bytes(content)
    return len(places)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="a new one")
    folder = parser.parse_args().folder
    import onnxruntime

    copy = folder / "onnxruntime"
    shutil.copytree(pathlib.Path(onnxruntime.__file__).parent, copy)
    for library in sorted(copy.glob("capi/*.so*")):
        print(f"{library.name}: {limit(library)} cpuid instructions")
    compiler = ["cc", "-x", "c", "-", "-shared", "-fPIC", "-O1", "-o", str(folder / "cpuid.so")]
    subprocess.run(compiler, input=ANSWER, text=True, check=True)
    print(f"LD_PRELOAD={folder}/cpuid.so PYTHONPATH={folder}")


if __name__ == "__main__":
    main()
