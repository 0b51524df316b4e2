"""Each native kernel of the CPU: milliseconds, bytes moved a second, and the ratio to a copy.

The bytes are what a kernel must read and write at least once. The copy is ``memcpy`` between
buffers far larger than the cache, with as many threads. Times are the best of many calls. Needs the
development build, which binds single kernels.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.steps.ceilings import copy_speed
from benchmarks.steps.common import best, picture
from nucleiseg import Segmenter
from nucleiseg._native import cpu
from nucleiseg.model import Model

TILE, HALO = 256, 32
"""Side and halo of the tiles that are gathered and assembled; in use they are fewer and larger."""

FULL = (20.0, 240.0)
"""Intensities that are stretched; they do not change the time."""


@dataclass(frozen=True)
class Kernel:
    """One kernel on one image.

    Attributes
    ----------
    name : str
    run : callable
        Calls it, with its output allocated before where it takes one.
    bytes_moved : int
        What it must read and write at least once.
    """

    name: str
    run: Callable[[], object]
    bytes_moved: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=2048, help="pixels of the image's side")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each kernel")
    parser.add_argument("--level", choices=cpu.features()["levels"])
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of all threads, not the clock"
    )


def main(options: argparse.Namespace) -> None:
    if not hasattr(cpu, "assemble"):
        raise SystemExit("this build has no kernels by themselves: make the development build")
    if options.level:
        cpu.set_simd_level(options.level)
    clock = time.process_time if options.cpu_time else time.perf_counter
    print(f"{cpu.features()['level']}, {options.threads} threads, {options.size} pixels square")
    copying = copy_speed(options.threads, options.seconds, clock)
    print(f"copy {copying / 1e9:.2f} GB/s, read and written")
    print(f"{'kernel':<24}{'ms':>9}{'GB/s':>9}{'of copy':>9}")
    for kernel in kernels(options.size, options.threads, Model.load()):
        seconds = best(kernel.run, options.seconds, clock)
        rate = kernel.bytes_moved / seconds
        milliseconds, ratio = 1e3 * seconds, rate / copying
        print(f"{kernel.name:<24}{milliseconds:>9.2f}{rate / 1e9:>9.2f}{ratio:>9.2f}")


def kernels(size: int, threads: int, model: Model) -> Iterator[Kernel]:
    """Return every kernel on a picture of real tissue.

    Parameters
    ----------
    size : int
        Pixels of the picture's side.
    threads : int
    model : Model
        Whose percentiles and thresholds are used.
    """
    image = picture(size)
    sources: dict[str, Callable[[], NDArray[np.generic]]] = {
        "uint8": lambda: image,
        "grey uint16": lambda: picture(size, "fluorescence_crowded").astype(np.uint16),
        "float32": lambda: image.astype(np.float32),
    }
    for name, source in sources.items():
        yield from _stretching(name, source(), threads, model)
    yield from _tiles(image, threads)
    maps = Segmenter(model, device="cpu").segment(image, "maps", scale=1)
    yield from _decoding(np.ascontiguousarray(maps), threads, model)


def _stretching(
    name: str, image: NDArray[np.generic], threads: int, model: Model
) -> Iterator[Kernel]:
    yield Kernel(
        f"limits {name}",
        lambda: cpu.limits(image, *model.percentiles, threads=threads),
        image.nbytes,
    )
    rgb = np.empty((*image.shape[:2], 3), np.uint8)
    yield Kernel(
        f"normalize {name}",
        lambda: cpu.normalize(image, *FULL, threads=threads, out=rgb),
        image.nbytes + rgb.nbytes,
    )


def _tiles(image: NDArray[np.uint8], threads: int) -> Iterator[Kernel]:
    height, width = image.shape[:2]
    origins, cores = _tiling(height, width)
    tiles = np.empty((len(origins), TILE, TILE, 3), np.uint8)
    yield Kernel(
        "gather",
        lambda: cpu.gather(image, origins, TILE, TILE, threads=threads, out=tiles),
        2 * tiles.nbytes,
    )
    cells = np.ascontiguousarray(tiles[..., :2]).reshape(len(tiles), TILE // 2, TILE // 2, 8)
    out = np.empty((height, width, 2), np.uint8)
    yield Kernel(
        "assemble",
        lambda: cpu.assemble(cells, origins, cores, out, threads=threads),
        2 * out.nbytes,
    )


def _decoding(maps: NDArray[np.uint8], threads: int, model: Model) -> Iterator[Kernel]:
    mask = np.empty(maps.shape[:2], np.bool_)
    yield Kernel(
        "mask",
        lambda: cpu.mask(maps, model.nucleus_threshold, threads=threads, out=mask),
        maps.nbytes + mask.nbytes,
    )
    yield Kernel(
        "label",
        lambda: cpu.label(maps, *model.label_rule(), threads=threads),
        maps.nbytes + np.dtype(np.int32).itemsize * math.prod(maps.shape[:2]),
    )


def _tiling(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return origins and cores of tiles that cover an image."""
    core = TILE - 2 * HALO
    corners = [(row, column) for row in range(0, height, core) for column in range(0, width, core)]
    origins = [(row - HALO, column - HALO) for row, column in corners]
    cores = [
        (row, min(row + core, height), column, min(column + core, width)) for row, column in corners
    ]
    return np.array(origins, np.int64), np.array(cores, np.int64)
