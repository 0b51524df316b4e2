"""What the benchmarks share: pictures of real tissue, and the best of many calls."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nucleiseg import images
from nucleiseg.data import mirrored

ROOT = Path(__file__).parents[2]

EXAMPLES = ROOT / "tests" / "data" / "images"


def picture(size: int, name: str = "purple_on_violet") -> np.ndarray:
    """Return an example image and its mirror images, (size, size, 3) or (size, size)."""
    return mirrored(images.read(EXAMPLES / f"{name}.png"), size, size)


def best(
    run: Callable[[], object], budget: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the shortest of the calls, at least two, that fit into ``budget`` seconds."""
    run()
    shortest, deadline = seconds(run, clock), time.perf_counter() + budget
    while time.perf_counter() < deadline:
        shortest = min(shortest, seconds(run, clock))
    return shortest


def seconds(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the time of one call."""
    begin = clock()
    run()
    return clock() - begin
