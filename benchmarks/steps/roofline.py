"""Arithmetic, not measurement: the least time that each step can take on each GPU.

A step takes at least its bytes over the memory's bandwidth, and its operations over the peak rate.
Bytes are counted as if every launch read and wrote memory, each value once: neighbours are cached
within a launch, nothing is between two. Caches that hold a whole image (50 MB on an H100, 72 MB on
an RTX 4090, 4 MB on Orin) can beat that; launches, waits and ragged edges cannot.
Prints the tables of docs/gpu.md.
"""

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.steps.ceilings import Cost, cost
from nucleiseg import Model

MODEL = "nuclei-fast"
"""The model for cameras, whose tables docs/gpu.md has."""


class Gpu(NamedTuple):
    """Bytes per second; int8 operations per second without sparsity, an addition being one."""

    name: str
    memory: float
    operations: float
    link: float | None  # bytes per second to the host, one way; None where memory is shared


# Sources:
# Orin Nano 8 GB, "Super" mode: 102 GB/s, 67 TOPS with sparsity, NVIDIA's blog of 17 December 2024,
#   developer.nvidia.com/blog/nvidia-jetson-orin-nano-developer-kit-gets-a-super-boost.
# AGX Orin 64 GB: 204.8 GB/s, Jetson AGX Orin Series Technical Brief v1.2; 171 TOPS with sparsity on
#   the GPU alone, github.com/NVIDIA/Deep-Learning-Accelerator-SW.
# RTX 4090: 1,008 GB/s, 660.6 TOPS, NVIDIA Ada GPU Architecture whitepaper v2.01, appendix A.
# H100 SXM: 3.35 TB/s, 3,958 TOPS with sparsity, NVIDIA H100 datasheet.
# Sparsity doubles all of these rates. PCI Express 4.0 and 5.0 with 16 lanes of 16 and 32 Gbit/s,
#   128 bits sent as 130: PCI-SIG.
GPUS = (
    Gpu("Orin Nano", 102e9, 67e12 / 2, None),
    Gpu("AGX Orin", 204.8e9, 171e12 / 2, None),
    Gpu("RTX 4090", 1008e9, 660.6e12, 16 * 16e9 / 8 * 128 / 130),
    Gpu("H100 SXM", 3350e9, 3958e12 / 2, 16 * 32e9 / 8 * 128 / 130),
)

NUCLEUS = 0.2
"""Share of the pixels that are nucleus: an assumption. The example images have 4 % to 41 %."""


class Step(NamedTuple):
    """What one pixel of the image costs."""

    name: str
    launches: int
    bytes: float
    multiply_adds: float = 0.0
    linked: bool = False  # goes to or comes from the host


# Every pass of csrc/cuda/label.cu and label_merge.cu: bytes that every pixel costs, and every
# nucleus pixel. A cell is 4 bytes, a height 2, and of a basin's pass, area and first pixel there is
# one for 2 x 2 pixels; an addition in memory reads and writes. Joins, the rounds after the first
# and merging look at peaks and at pixels on borders alone, which are too few to count. Six sums are
# added to once in 16 pixels.
LABEL_PASSES = {
    "clear passes, marks": (2 + 1, 0),
    "smooth_across": (2 + 2, 0),
    "smooth_down": (2 + 2 + 2, 0),
    "climb": (2 + 4, 0),
    "jump": (4, 4 + 4),
    "jump again": (4, 4 + 4),
    "reach": (4, 4 + 4),
    "first_passes": (4, 2 + 4),
    "join": (0, 0),
    "find_passes": (0, 0),
    "last_rounds": (0, 0),
    "clear_moments": (0, 0),
    "sum_moments": (4, 4 + 6),
    "find_highest": (0, 0),
    "merge": (0, 0),
    "clear areas, firsts": (2, 0),
    "measure": (4, 2 + 4 + 8),
    "mark": (2, 0),
    "running sum": (1 + 4, 0),
    "paint": (4, 4 + 4 + 4),
}
LABEL_LAUNCHES = 27
"""The passes, of which the joins and further rounds are eight, a memset for each table, two kernels
for the running sum."""


def steps(network: Cost) -> Iterator[Step]:
    """What happens to an RGB uint8 image of one tile, from host memory to labels there."""
    label = sum(every + NUCLEUS * nucleus for every, nucleus in LABEL_PASSES.values())
    yield Step("upload", 1, 3, linked=True)
    yield Step("limits", 7, 6)
    yield Step("normalize", 1, 3 + 3)
    yield Step("gather", 1, 3 + 3)
    yield Step("network, int8", network.launches, network.bytes, network.multiply_adds)
    yield Step("assemble", 1, 2 + 2)
    yield Step("mask", 1, 2 + 1)
    yield Step("label", LABEL_LAUNCHES, label)
    yield Step("download of labels", 1, 4, linked=True)


def microseconds(step: Step, gpu: Gpu, pixels: int) -> float:
    """Return the time that a step cannot beat."""
    if step.linked:
        return 0.0 if gpu.link is None else step.bytes * pixels / gpu.link * 1e6
    moving = step.bytes * pixels / gpu.memory
    computing = 2 * step.multiply_adds * pixels / gpu.operations
    return max(moving, computing) * 1e6


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def print_steps(found: list[Step], side: int) -> None:
    print(row([f"{side} x {side}", "launches", "MB", "Gop", *(f"{gpu.name}, us" for gpu in GPUS)]))
    print("|---|" + "---:|" * (3 + len(GPUS)))
    pixels = side * side
    for step in found:
        work = f"{2 * step.multiply_adds * pixels / 1e9:.1f}" if step.multiply_adds else ""
        size = f"{step.bytes * pixels / 1e6:.1f}"
        times = [f"{microseconds(step, gpu, pixels):.0f}" for gpu in GPUS]
        print(row([step.name, str(step.launches), size, work, *times]))
    totals = [f"{sum(microseconds(step, gpu, pixels) for step in found):.0f}" for gpu in GPUS]
    launches = sum(step.launches for step in found)
    print(row(["**all, one after the other**", str(launches), "", "", *totals]))


def print_label_passes() -> None:
    print(row(["pass of `label`", "bytes per pixel", "more per nucleus pixel"]))
    print("|---|---:|---:|")
    for name, (every, nucleus) in LABEL_PASSES.items():
        print(row([name, str(every), str(nucleus) if nucleus else ""]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=MODEL, help="shipped model or ONNX file")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])


def main(options: argparse.Namespace) -> None:
    network = cost(Model.load(options.model))
    print(
        f"The network: {network.multiply_adds:,.0f} multiply-adds and {network.bytes:.1f} bytes "
        f"per pixel, in {network.launches} launches."
    )
    for side in options.sides:
        print()
        print_steps(list(steps(network)), side)
    print()
    print_label_passes()
