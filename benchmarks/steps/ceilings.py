"""What the machine could do at best, measured on the spot: copies and int8 arithmetic."""

import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.steps.common import best
from nucleiseg._native import cpu
from nucleiseg.engines import native
from nucleiseg.model import Model

CPUS = Path("/sys/devices/system/cpu")

SMALLEST_COPY = 64 * 2**20
"""Bytes of each of the two buffers of a copy, or more where the cache is large."""

CACHES = 4
"""Times the last level of cache that each of these buffers is."""

EXERCISES = {"portable": 10_000}
"""Repetitions per call and thread at a level, which take some milliseconds."""

MOST_EXERCISES = 1_000_000
"""Repetitions at every other level."""

FLOAT = 4
"""Bytes of a value in single precision: what the first convolution reads, for which the engine
turns its input's bytes into that."""


def copy_speed(
    threads: int, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the bytes per second of a copy, read and written, with its parts in threads."""
    size = max(SMALLEST_COPY, CACHES * last_cache()) // threads
    sources, targets = (
        [np.full(size, number, np.uint8) for _ in range(threads)] for number in (1, 2)
    )
    with ThreadPoolExecutor(threads) as pool:
        taken = best(lambda: list(pool.map(np.copyto, targets, sources)), seconds, clock)
    return 2 * threads * size / taken


def last_cache() -> int:
    """Return the bytes of all caches of the last level, or 0 where Linux does not tell."""
    found: dict[tuple[int, str], int] = {}
    for cache in CPUS.glob("cpu[0-9]*/cache/index*"):
        with contextlib.suppress(OSError, ValueError):
            level, sharers, size = (
                (cache / name).read_text().strip() for name in ("level", "shared_cpu_list", "size")
            )
            found[int(level), sharers] = 1024 * int(size.removesuffix("K"))
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last)


def int8_speed(threads: int, seconds: float, level: str) -> float:
    """Return the multiply-adds per second that threads reach together in registers.

    Parameters
    ----------
    threads : int
    seconds : float
    level : str
        One of ``_native.cpu.convolution_levels()``.
    """
    once = EXERCISES.get(level, MOST_EXERCISES)
    times = [once] * threads
    with ThreadPoolExecutor(threads) as pool:
        taken = best(lambda: list(pool.map(cpu.exercise, times, [level] * threads)), seconds)
    return threads * cpu.exercise(once, level) / taken


@dataclass
class Cost:
    """What a network costs for each pixel of its input; its layers are added as to the network.

    Every layer is a launch that reads and writes memory, and what stands between two is fused into
    them. Before the first, bytes become single precision. Each weight meets each position once.
    """

    launches: int = 1
    bytes: float = 3 * (1 + FLOAT)
    multiply_adds: float = 0.0
    _tensors: list[tuple[float, int]] = field(default_factory=list)
    """Positions per pixel of the image, and channels."""

    def stem(self, kernel: NDArray[np.int8], factors: Any, offsets: Any) -> int:
        return self._made(3 * FLOAT, kernel.size / 4, 1 / 4, len(kernel))

    def convolution(
        self, sources: list[int], kernels: list[NDArray[np.int8]], factors: Any, offsets: Any
    ) -> int:
        positions, _ = self._tensors[sources[0]]
        read = sum(math.prod(self._tensors[source]) for source in sources)
        work = sum(kernel.size for kernel in kernels) * positions
        return self._made(read, work, positions, len(kernels[0]))

    def grow(self, source: int, kernel: NDArray[np.int8], factors: Any, offsets: Any) -> int:
        positions, channels = self._tensors[source]
        work = kernel.size * positions
        return self._made(positions * channels, work, 4 * positions, kernel.shape[1])

    def pool(self, source: int) -> int:
        positions, channels = self._tensors[source]
        return self._made(positions * channels, 0.0, positions / 4, channels)

    def cells(self, source: int, kernel: NDArray[np.int8], factors: Any, offsets: Any) -> None:
        self.convolution([source], [kernel], factors, offsets)

    def _made(self, read: float, work: float, positions: float, channels: int) -> int:
        """Count a layer; return the number of its tensor."""
        self.launches += 1
        self.bytes += read + positions * channels
        self.multiply_adds += work
        self._tensors.append((positions, channels))
        return len(self._tensors) - 1


def cost(model: Model) -> Cost:
    """Return what a model's network costs.

    Raises
    ------
    ModelError
        The file holds another network.
    """
    found = Cost()
    native.add_layers(model, found)
    return found
