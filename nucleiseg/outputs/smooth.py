"""Smooth outlines: rings that follow a nucleus without the stairs of its pixels.

Each ring is cut into steps of one pixel, every point is replaced by the binomial mean of the
points around it, and the ring is enlarged until it bounds the area that it had before smoothing
shrank it. Points at the border of the image stay there. Sums are of whole numbers, so every machine
gives the same result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.outlines import Outlines

PASSES = 6
"""Passes of the filter 1, 2, 1: a standard deviation of 1.7 pixels along the outline."""

SHORT = 16
"""Steps below which a ring keeps a point for each; of longer ones every second is enough."""

DECIMALS = 2
"""Decimal places of a coordinate in pixels."""


def smoothed(outlines: Outlines, shape: tuple[int, ...]) -> Outlines:
    """Return outlines whose points are smoothed, (P, 2) float64.

    Parameters
    ----------
    outlines : Outlines
        Along the edges of pixels.
    shape : tuple of int
        Height and width of the image, which no point leaves.
    """
    if not len(outlines.points):
        return outlines
    points, firsts = _steps(outlines.points.astype(np.int64), outlines.rings)
    pinned = (points == 0) | (points == np.array(shape))  # a nucleus that is cut stays cut straight
    # Counted from a point of the ring itself, so that whole numbers stay small.
    origins = points[firsts[:-1]]
    points -= np.repeat(origins, np.diff(firsts), axis=0)
    before, after = _neighbours(firsts, len(points))
    soft = points
    for _ in range(PASSES):
        soft = np.where(pinned, 4 * soft, soft[before] + 2 * soft + soft[after])
    soft, ends = _thinned(soft, firsts)
    unit, lengths = 4**PASSES, np.diff(ends)
    grown = np.sqrt(_areas(points, firsts) * unit**2 / _areas(soft, ends))
    # What touches the border of the image grows away from it, all else about its middle.
    fixed = np.add.reduceat(soft, ends[:-1]) / (unit * lengths)[:, None]
    starts, (low, high) = firsts[:-1], (np.zeros(2), np.array(shape))
    fixed = np.where(np.maximum.reduceat(points, starts) + origins == high, high - origins, fixed)
    fixed = np.where(np.minimum.reduceat(points, starts) + origins == low, low - origins, fixed)
    shifts = origins + fixed * (1 - grown[:, None])
    placed = soft / unit * np.repeat(grown, lengths)[:, None] + np.repeat(shifts, lengths, axis=0)
    placed = placed.clip(0, shape).round(DECIMALS)
    return Outlines(placed, ends, outlines.owners, outlines.holes)


def _thinned(
    points: NDArray[np.int64], firsts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Leave out every second point of rings that are long enough."""
    lengths = np.diff(firsts)
    places = np.arange(len(points)) - np.repeat(firsts[:-1], lengths)
    kept = (places % 2 == 0) | np.repeat(lengths < SHORT, lengths)
    return points[kept], np.concatenate([[0], np.cumsum(kept)])[firsts]


def _steps(
    points: NDArray[np.int64], rings: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a point for every pixel along the rings, and where each ring begins and the last ends.

    Sides are along rows or columns.
    """
    _, after = _neighbours(rings, len(points))
    sides = points[after] - points
    lengths = np.abs(sides).sum(1)
    ends = np.cumsum(lengths)
    along = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    placed = np.repeat(points, lengths, 0) + np.repeat(np.sign(sides), lengths, 0) * along[:, None]
    return placed, np.concatenate([[0], ends])[rings]


def _neighbours(
    firsts: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for every point the one before and the one after it in its ring."""
    before, after = np.arange(count) - 1, np.arange(count) + 1
    before[firsts[:-1]] = firsts[1:] - 1
    after[firsts[1:] - 1] = firsts[:-1]
    return before, after


def _areas(points: NDArray[np.int64], firsts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return twice the area of each ring, with the sign of its direction."""
    _, after = _neighbours(firsts, len(points))
    crosses = points[:, 0] * points[after, 1] - points[after, 0] * points[:, 1]
    found: NDArray[np.int64] = np.add.reduceat(crosses, firsts[:-1])
    return found
