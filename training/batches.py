"""Batches of changed crops, made in other processes while the network learns from the last ones."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from . import augment
from .augment import Material
from .samples import Sample

AHEAD = 2
"""Batches made before they are needed, for each process; one of 8 crops takes 5 MB."""

PROCESSES = multiprocessing.get_context("forkserver")
"""Each begins clean: a fork of a process whose libraries have threads may wait for them forever."""

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


@dataclass
class Recipe:
    """How batches are made, and where they are put: `ring` is (slots, 3, batch, size, size, 3).

    The images and the ring are files in memory that all processes share.
    """

    materials: list[Material]
    styles: NDArray[np.float32]
    chances: NDArray[np.float64]
    settings: augment.Settings
    seed: int
    pixels: Path
    ring: Path

    def open(self) -> Recipe:
        """Return the recipe with its images, which are sent to no process."""
        pixels = np.load(self.pixels, mmap_mode="r").view(np.ndarray)
        materials, begin = [], 0
        for material in self.materials:
            height, width = material.shape
            both = pixels[begin : begin + height * width * 6].reshape(2, height, width, 3)
            materials.append(replace(material, image=both[0], maps=both[1]))
            begin += both.size
        return replace(self, materials=materials)

    def fill(self, number: int, place: NDArray[np.uint8]) -> None:
        """Make a batch in its place of the ring, (3, batch, size, size, 3)."""
        rng = np.random.default_rng((self.seed, number))
        chosen = rng.choice(len(self.materials), place.shape[1], p=self.chances)
        for at, index in enumerate(chosen):
            material = self.materials[index]
            crop = augment.crop(material, self.styles, rng, self.settings)
            place[0, at], place[1, at], place[2, at] = crop


class Source(Iterator[Batch]):
    """Processes that make batches, in the order of their numbers.

    A batch is three arrays of (batch, size, size, 3) uint8: the images; nucleus, distance and
    emphasis; and the images before their colours and sharpness were changed. It depends on the
    seed and its number alone.

    Parameters
    ----------
    samples : list of Sample
    chances : ndarray, (len(samples),) float64
        Each image's chance of being drawn; their sum is 1.
    batch : int
        Crops a batch.
    seed : int
    settings : augment.Settings, optional
    """

    def __init__(
        self,
        samples: list[Sample],
        chances: NDArray[np.float64],
        batch: int,
        seed: int,
        settings: augment.Settings | None = None,
    ) -> None:
        settings = settings or augment.Settings()
        # The network's step keeps the rest of the processor busy.
        self.processes = max(1, (os.cpu_count() or 1) - 1)
        self.slots = AHEAD * self.processes
        self.folder = tempfile.TemporaryDirectory(prefix="nucleiseg-crops-")
        pixels, ring = (Path(self.folder.name) / name for name in ("pixels.npy", "ring.npy"))
        with ProcessPoolExecutor(self.processes + 1, PROCESSES, _settle) as pool:
            materials = list(
                pool.map(partial(augment.prepare, settings=settings), samples, chunksize=8)
            )
        np.save(pixels, np.concatenate([x.ravel() for m in materials for x in (m.image, m.maps)]))
        shape = (self.slots, 3, batch, settings.size, settings.size, 3)
        self.ring = np.lib.format.open_memmap(ring, "w+", np.uint8, shape)
        styles = np.array([one.style for one in materials if not one.grey], np.float32)
        light = [one.without_images() for one in materials]
        self.recipe = Recipe(light, styles, chances, settings, seed, pixels, ring)

    def endless(self, first: int = 0) -> Source:
        """Begin to make batches at once, number ``first`` first, until the source is closed."""
        self.numbers = itertools.count(first)
        self.pool = ProcessPoolExecutor(self.processes, PROCESSES, _begin, (self.recipe,))
        ahead = range(first, first + self.slots)
        self.coming = deque(self.pool.submit(_fill, number) for number in ahead)
        return self

    def __next__(self) -> Batch:
        """Wait for the next batch."""
        number = next(self.numbers)
        self.coming.popleft().result()
        images, maps, clean = self.ring[number % self.slots]
        batch = images.copy(), maps.copy(), clean.copy()
        self.coming.append(self.pool.submit(_fill, number + self.slots))
        return batch

    def close(self) -> None:
        """End the processes, and remove the files that they share."""
        self.pool.shutdown(cancel_futures=True)
        self.folder.cleanup()


_recipe: Recipe
_ring: NDArray[np.uint8]
"""The shared memory of a process that makes batches."""


def _settle() -> None:
    cv2.setNumThreads(1)
    # Ctrl-C reaches all processes; the one that learns saves first, and then ends these.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's processes would wait for ever for one that was killed."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _begin(recipe: Recipe) -> None:
    global _recipe, _ring
    _settle()
    _recipe = recipe.open()
    _ring = np.load(recipe.ring, mmap_mode="r+")


def _fill(number: int) -> None:
    _recipe.fill(number, _ring[number % len(_ring)])
