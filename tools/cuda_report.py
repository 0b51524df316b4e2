"""Print what each CUDA kernel needs on each GPU, from the compiler's report; fail if one spills.

    python tools/cuda_report.py [--nvcc nvcc] [--architectures 80 86 ...]

Registers and shared memory limit how many threads run at once; a spill is a register that went to
memory. The flags are those of CMakeLists.txt.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120)
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fmad=false",
    "-Werror=all-warnings",
    "-DNUCLEISEG_DEVICE=cuda",
    f"-I{ROOT / 'csrc'}",
    f"-I{ROOT / 'include'}",
    "-cubin",
    "-Xptxas=-v",
]

KERNEL = re.compile(r"Compiling entry function '(?P<name>\w+)' for")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")
NAMES = re.compile(
    r"(?:static )?(?:void )?(?:nucleiseg::cuda::)?(?:\(anonymous namespace\)::)?(.*)"
)


class Kernel(NamedTuple):
    """One kernel on one GPU; sizes are in bytes."""

    name: str
    architecture: int
    registers: int
    shared: int
    stack: int
    spilled: int


def read_report(text: str, architecture: int) -> list[Kernel]:
    """Return the kernels in the output of ``ptxas -v``."""
    found = []
    name, stack, spilled = "", 0, 0
    for line in text.splitlines():
        if match := KERNEL.search(line):
            name, stack, spilled = match["name"], 0, 0
        elif match := FRAME.search(line):
            stack, spilled = int(match[1]), int(match[2]) + int(match[3])
        elif name and (match := USED.search(line)):
            shared = SHARED.search(line)
            size = int(shared[1]) if shared else 0
            found.append(Kernel(name, architecture, int(match[1]), size, stack, spilled))
            name = ""
    return found


def readable(names: list[str]) -> dict[str, str]:
    """Turn the compiler's names into those of the source, without arguments."""
    try:
        text = subprocess.run(
            ["c++filt", "-p", *names], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return {name: name for name in names}
    short = [NAMES.match(line).group(1) for line in text.splitlines()]
    return dict(zip(names, short, strict=True))


def compile_kernels(nvcc: str, source: Path, architecture: int, folder: str) -> list[Kernel]:
    """Compile a source for one GPU and return its kernels."""
    target = Path(folder) / f"{source.stem}.cubin"
    command = [nvcc, *FLAGS, f"-arch=sm_{architecture}", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{source.name} for {architecture}: {done.stderr.strip() or done.stdout.strip()}")
    return read_report(done.stdout + done.stderr, architecture)


def print_table(kernels: list[Kernel]) -> None:
    """Print a line for each kernel."""
    names = readable(sorted({kernel.name for kernel in kernels}))
    print(f"{'GPU':>5}{'registers':>11}{'shared':>8}{'stack':>7}{'spilled':>9}  kernel")
    for kernel in kernels:
        print(
            f"{kernel.architecture:>5}{kernel.registers:>11}{kernel.shared:>8}{kernel.stack:>7}"
            f"{kernel.spilled:>9}  {names[kernel.name]}"
        )


def main() -> None:
    """Compile everything, print the table, fail if a kernel spills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--architectures", type=int, nargs="+", default=ARCHITECTURES)
    arguments = parser.parse_args()
    kernels: list[Kernel] = []
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            for architecture in arguments.architectures:
                kernels += compile_kernels(arguments.nvcc, source, architecture, folder)
    print_table(kernels)
    spilling = [kernel for kernel in kernels if kernel.spilled > 0]
    print(f"{len(kernels)} kernels, {len(spilling)} of them spill registers")
    if spilling or not kernels:
        sys.exit(1)


if __name__ == "__main__":
    main()
