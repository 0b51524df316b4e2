"""The native kernels of the CPU, and the bytes that each must move."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.benchmark import pictures
from nucleiseg.model import Model

TILE, HALO = 256, 32
"""Of the tiles that are gathered and assembled. In use there are fewer and larger ones."""

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


def kernels(size: int, threads: int, model: Model) -> Iterator[Kernel]:
    """Give every kernel on a drawn picture.

    Parameters
    ----------
    size : int
        Pixels of the picture's side.
    threads : int
    model : Model
        Whose percentiles and thresholds are used.
    """
    image = pictures.draw("stained", size, size)
    sources: dict[str, Callable[[], NDArray[np.generic]]] = {
        "uint8": lambda: image,
        "grey uint16": lambda: pictures.draw("fluorescence", size, size),
        "float32": lambda: image.astype(np.float32),
    }
    for name, source in sources.items():
        yield _limits(name, source(), threads, model)
        yield _normalize(name, source(), threads)
    yield from _tiles(image, threads)
    yield from _decoding(pictures.maps(size, size), threads, model)


def _limits(name: str, image: NDArray[np.generic], threads: int, model: Model) -> Kernel:
    return Kernel(
        f"limits {name}",
        lambda: cpu.limits(image, *model.percentiles, threads=threads),
        image.nbytes,
    )


def _normalize(name: str, image: NDArray[np.generic], threads: int) -> Kernel:
    rgb = np.empty((*image.shape[:2], 3), np.uint8)
    return Kernel(
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
    """Give origins and cores of tiles that cover an image."""
    core = TILE - 2 * HALO
    corners = [(row, column) for row in range(0, height, core) for column in range(0, width, core)]
    origins = [(row - HALO, column - HALO) for row, column in corners]
    cores = [
        (row, min(row + core, height), column, min(column + core, width)) for row, column in corners
    ]
    return np.array(origins, np.int64), np.array(cores, np.int64)
