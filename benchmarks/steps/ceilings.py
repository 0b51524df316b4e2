"""What the machine could do at best, measured on the spot: copies and int8 arithmetic."""

import contextlib
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


def int8_speed(threads: int, seconds: float, level: str = "") -> float:
    """Return the multiply-adds per second that threads reach together in registers.

    Parameters
    ----------
    threads : int
    seconds : float
    level : str
        One of ``_native.cpu.convolution_levels()``; the best when empty.
    """
    level = level or cpu.convolution_levels()[-1]
    once = EXERCISES.get(level, MOST_EXERCISES)
    times = [once] * threads
    with ThreadPoolExecutor(threads) as pool:
        taken = best(lambda: list(pool.map(cpu.exercise, times, [level] * threads)), seconds)
    return threads * cpu.exercise(once, level) / taken


def multiply_adds(model: Model) -> float:
    """Count the multiply-adds of a model's convolutions, for each pixel of its input.

    Raises
    ------
    ModelError
        The file holds another network.
    """
    counter = _Counter()
    native.add_layers(model, counter)
    return counter.total


@dataclass
class _Counter:
    """Takes a network's layers and counts: each weight meets each position once."""

    total: float = 0.0
    _positions: list[float] = field(default_factory=list)

    def stem(self, kernel: NDArray[np.int8], factors: Any, offsets: Any) -> int:
        return self._convolved([kernel], 1 / 4)

    def convolution(
        self, sources: list[int], kernels: list[NDArray[np.int8]], factors: Any, offsets: Any
    ) -> int:
        return self._convolved(kernels, self._positions[sources[0]])

    def grow(self, source: int, kernel: NDArray[np.int8], factors: Any, offsets: Any) -> int:
        self.total += kernel.size * self._positions[source]
        return self._made(4 * self._positions[source])

    def pool(self, source: int) -> int:
        return self._made(self._positions[source] / 4)

    def cells(self, source: int, kernel: NDArray[np.int8], factors: Any, offsets: Any) -> None:
        self.total += kernel.size * self._positions[source]

    def _convolved(self, kernels: list[NDArray[np.int8]], positions: float) -> int:
        self.total += sum(kernel.size for kernel in kernels) * positions
        return self._made(positions)

    def _made(self, positions: float) -> int:
        """Add a tensor of so many positions per pixel of the image."""
        self._positions.append(positions)
        return len(self._positions) - 1
