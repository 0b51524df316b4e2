"""The known answer: one tile through an engine of a GPU, against the integer network on the CPU."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.engines import cuda, native
from nucleiseg.model import Model

SIDE = 128
"""Side of the tile, in pixels."""

MEAN, MOST = 1.0, 64
"""Levels of 255 by which an engine may differ in the mean, which a different order of rounding does
not reach; and at most, where correct int8 engines reach 38 on whole images."""

_DISCS = ((20, 24, 9), (30, 90, 12), (62, 56, 14), (70, 108, 8), (100, 20, 11), (106, 76, 13))
_STAIN, _GROUND = (92, 60, 140), (226, 190, 214)


def picture(side: int = SIDE) -> NDArray[np.uint8]:
    """Return dark discs on a bright, grainy background: (side, side, 3) uint8."""
    rows, columns = np.mgrid[:side, :side]
    inside = np.zeros((side, side), bool)
    for row, column, radius in _DISCS:
        inside |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    grain = (rows * 37 + columns * 101 + rows * columns * 7) % 24
    colours = np.where(inside[..., np.newaxis], _STAIN, _GROUND) + grain[..., np.newaxis]
    return np.asarray(colours, np.uint8)


def difference(model: Model, engine: Any, kernels: ModuleType) -> tuple[float, int]:
    """Return the mean and the maximum difference from the integer network, in levels of 255.

    The engine (see `nucleiseg.engines.cuda.device`) runs on the current device, and is waited for.
    """
    tiles = picture(min(SIDE, engine.largest_tile))[np.newaxis]
    expected = native.Engine(model, threads=1).infer(tiles)
    # Whatever an engine leaves unwritten is as wrong as possible.
    cells = np.where(expected < 128, 255, 0).astype(np.uint8)
    cuda.device(kernels, engine).infer(tiles, cells)
    apart = np.abs(cells.astype(int) - expected)
    return float(apart.mean()), int(apart.max())


def check(model: Model, engine: Any, kernels: ModuleType) -> None:
    """Raise RuntimeError if an engine's answer is not within `MEAN` and `MOST`."""
    mean, most = difference(model, engine, kernels)
    if mean > MEAN or most > MOST:
        raise RuntimeError(
            f"its known answer is wrong: it differs by {mean:.2f} of 255 levels in the mean and by "
            f"up to {most}; accepted are {MEAN:g} and {MOST}"
        )
