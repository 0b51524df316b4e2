"""Time each native kernel: milliseconds, bytes moved a second, and the ratio to a plain copy.

python benchmarks/kernels.py [--threads N] [--size PIXELS] [--level LEVEL]

A kernel's bytes are what it must read and write at least once. The copy is NumPy's, of a block as
large as the image, timed between the kernels of the same run. Times are the best of many calls.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nucleiseg._native import cpu

TILE, HALO = 256, 32
NUCLEUS_THRESHOLD, CORE_THRESHOLD, MIN_CORE, MIN_AREA = 128, 140, 4, 20
NUCLEUS_RADIUS = 11
PIXELS_PER_NUCLEUS = 2000  # about a fifth of the image is nucleus


@dataclass
class Kernel:
    name: str
    run: Callable[[], object]
    bytes_moved: int


def synthetic_image(size: int) -> np.ndarray:
    """Uneven light and grain, like a stained section."""
    rng = np.random.default_rng(1)
    rows, columns = np.indices((size, size))
    light = 190 + 30 * np.sin(rows / 91) * np.cos(columns / 67)
    grain = rng.normal(0, 12, (size, size, 3))
    return np.clip(light[..., None] + grain, 0, 255).astype(np.uint8)


def synthetic_maps(size: int) -> np.ndarray:
    """Scattered discs of uneven size, some touching, with the network's kind of noise."""
    rng = np.random.default_rng(2)
    depth = np.zeros((size, size), np.float32)
    for _ in range(size * size // PIXELS_PER_NUCLEUS):
        radius = NUCLEUS_RADIUS * rng.uniform(0.6, 1.4)
        row, column = rng.uniform(radius, size - radius, 2)
        top, left, span = int(row - radius), int(column - radius), int(2 * radius) + 2
        window = depth[top : top + span, left : left + span]
        rows, columns = np.indices(window.shape)
        disc = 1 - np.hypot(rows + top - row, columns + left - column) / radius
        np.maximum(window, disc, out=window)
    probability = np.clip(128 + 500 * (depth - 0.02), 0, 255)
    distance = np.clip(255 * depth + rng.normal(0, 2, depth.shape) * (depth > 0), 0, 255)
    return np.stack([probability, distance], axis=-1).astype(np.uint8)


def tiling(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Origins and cores of tiles that cover a square image."""
    core = TILE - 2 * HALO
    starts = range(0, size, core)
    origins = [(row - HALO, column - HALO) for row in starts for column in starts]
    cores = [
        (row, min(row + core, size), column, min(column + core, size))
        for row in starts
        for column in starts
    ]
    return np.array(origins), np.array(cores)


def kernels(size: int, threads: int) -> Iterator[Kernel]:
    """Every kernel on one image, with its output allocated before where it takes one."""
    image, maps = synthetic_image(size), synthetic_maps(size)
    grey16 = image[..., 0].astype(np.uint16) * 200
    colour_float = image.astype(np.float32)
    rgb, mask = np.empty_like(image), np.empty((size, size), bool)
    origins, cores = tiling(size)
    tiles = cpu.gather(image, origins, TILE, TILE)
    cells = np.ascontiguousarray(tiles[..., :2]).reshape(len(tiles), TILE // 2, TILE // 2, 8)
    out = np.empty((size, size, 2), np.uint8)

    for name, source in [("uint8", image), ("grey uint16", grey16), ("float32", colour_float)]:
        yield Kernel(
            f"percentiles {name}",
            lambda source=source: cpu.percentiles(source, 0.1, 99.9, threads=threads),
            source.nbytes,
        )
        yield Kernel(
            f"normalize {name}",
            lambda source=source: cpu.normalize(source, 20, 240, threads=threads, out=rgb),
            source.nbytes + rgb.nbytes,
        )
    yield Kernel(
        "gather",
        lambda: cpu.gather(image, origins, TILE, TILE, threads=threads, out=tiles),
        2 * tiles.nbytes,
    )
    yield Kernel(
        "assemble",
        lambda: cpu.assemble(cells, origins, cores, out, threads=threads),
        2 * out.nbytes,
    )
    yield Kernel(
        "mask",
        lambda: cpu.mask(maps, NUCLEUS_THRESHOLD, threads=threads, out=mask),
        maps.nbytes + mask.nbytes,
    )
    yield Kernel(
        "label",
        lambda: cpu.label(
            maps, NUCLEUS_THRESHOLD, CORE_THRESHOLD, MIN_CORE, MIN_AREA, threads=threads
        ),
        maps.nbytes + 4 * size * size,
    )


def best_seconds(run: Callable[[], object], clock: Callable[[], float], budget: float) -> float:
    """The shortest of the calls that fit into `budget` seconds."""
    run()
    best, deadline = float("inf"), time.perf_counter() + budget
    while time.perf_counter() < deadline:
        start = clock()
        run()
        best = min(best, clock() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=2048, help="pixels of the image's side")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each kernel")
    parser.add_argument("--level", choices=cpu.features()["levels"])
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of all threads, not the clock"
    )
    arguments = parser.parse_args()
    if arguments.level:
        cpu.set_simd_level(arguments.level)
    clock = time.process_time if arguments.cpu_time else time.perf_counter

    source = np.zeros((arguments.size, arguments.size, 3), np.uint8)
    target = np.empty_like(source)
    print(f"{cpu.features()['level']}, {arguments.threads} threads, {arguments.size} pixels square")
    print(f"{'kernel':<24}{'ms':>9}{'GB/s':>9}{'of copy':>9}")
    for kernel in kernels(arguments.size, arguments.threads):
        copying = best_seconds(lambda: np.copyto(target, source), clock, arguments.seconds / 4)
        seconds = best_seconds(kernel.run, clock, arguments.seconds)
        rate = kernel.bytes_moved / seconds
        ratio = rate / (2 * source.nbytes / copying)
        print(f"{kernel.name:<24}{1e3 * seconds:>9.2f}{rate / 1e9:>9.2f}{ratio:>9.2f}")


if __name__ == "__main__":
    main()
