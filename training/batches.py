"""Batches of changed crops, made while the network learns from the last ones."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from training import augment
from training.augment import Material
from training.data import Sample
from training.teacher import Teacher

AHEAD = 8
"""Batches made before they are needed; one of 8 crops takes 3 MB."""

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def endless(
    samples: list[Sample],
    chances: NDArray[np.float64],
    batch: int,
    seed: int,
    first: int = 0,
    settings: augment.Settings | None = None,
    teacher: Teacher | None = None,
) -> Generator[Batch, None, None]:
    """Make batches in threads of their own, until the generator is closed.

    Parameters
    ----------
    samples : list of Sample
    chances : ndarray, (len(samples),) float64
        Each image's chance of being drawn; their sum is 1.
    batch : int
        Crops a batch.
    seed, first : int
        Batch number ``first`` comes first. Each depends on the seed and its number alone.
    settings : augment.Settings, optional
    teacher : Teacher, optional
        Gives its opinion of each crop.

    Yields
    ------
    images : ndarray, (batch, size, size, 3) uint8
    maps : ndarray, (batch, size, size, 3) uint8
        Nucleus, distance, emphasis.
    """
    settings = settings or augment.Settings()
    # The network's step keeps the other half of the processor's cores busy.
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2)) as pool:
        materials = list(pool.map(augment.prepare, samples))
        styles = np.array([one.style for one in materials if not one.grey], np.float32)
        make = partial(_make, materials, styles, chances, batch, settings, teacher)
        coming: deque[Future[Batch]] = deque()
        try:
            for number in itertools.count(first):
                coming.append(pool.submit(make, (seed, number)))
                if len(coming) == AHEAD:
                    yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _make(
    materials: list[Material],
    styles: NDArray[np.float32],
    chances: NDArray[np.float64],
    batch: int,
    settings: augment.Settings,
    teacher: Teacher | None,
    seed: tuple[int, int],
) -> Batch:
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(materials), batch, p=chances)
    crops = [augment.crop(materials[index], styles, rng, settings, teacher) for index in chosen]
    return np.stack([image for image, _ in crops]), np.stack([maps for _, maps in crops])
