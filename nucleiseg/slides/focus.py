"""How sharp a slide is, cell by cell.

A cell's blur is measured in a square at its middle, from the intensities and from which pixels are
nucleus there, and from nothing else. So it is the same for every region size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.report.focus import edge_blur

CELL = 512
"""Side of a cell, in pixels of the labels; regions are whole multiples of it."""

SAMPLE = 192
"""Side of the square that is measured: a seventh of a cell, with about ten nuclei in it."""

FEATURE = "edge_blur"
"""The measurement of nuclei that `blurs` becomes."""


def blurs(
    pixels: NDArray[Any], nuclei: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the blur of the edges of nuclei in each cell of a region.

    Parameters
    ----------
    pixels : ndarray, (H, W) or (H, W, C)
    nuclei, inside : ndarray, (H, W) bool
        Which pixels are nucleus, and which were looked at.

    Returns
    -------
    ndarray, (rows, columns) float32
        Standard deviation in pixels, infinity where there are slopes and no edges; NaN where the
        square is not inside as a whole, or has no edges of nuclei.
    """
    height, width = inside.shape
    found = np.full((-(-height // CELL), -(-width // CELL)), np.nan, np.float32)
    for row, column in np.ndindex(found.shape):
        top, left = (at * CELL + (CELL - SAMPLE) // 2 for at in (row, column))
        square = slice(top, top + SAMPLE), slice(left, left + SAMPLE)
        whole = top + SAMPLE <= height and left + SAMPLE <= width
        if whole and inside[square].all() and nuclei[square].any():
            blur = edge_blur(pixels[square].copy(), nuclei[square].astype(np.int32))
            if blur is not None:
                found[row, column] = blur
    return found
