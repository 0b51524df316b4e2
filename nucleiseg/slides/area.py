"""Which pixels of a slide are looked at: tissue, within a rectangle if one was given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nucleiseg import resizing
from nucleiseg.slides.grid import Region

Rectangle = tuple[int, int, int, int]
"""First row, first column, and those after the last."""

_ALL = np.ones((1, 1), np.bool_)

_nearest = lru_cache(8)(resizing.nearest)


@dataclass(frozen=True)
class Part:
    """Which pixels of a region are looked at.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the region.
    corner : tuple of int
        The first row and column of the region that are looked at.
    rows, columns : ndarray, (h,) and (w,) int32
        For each row and column from ``corner`` on, that of the mask.
    mask : ndarray, (., .) bool
    """

    shape: tuple[int, int]
    corner: tuple[int, int]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    mask: NDArray[np.bool_]

    def pixels(self) -> NDArray[np.bool_]:
        """Return the pixels that are looked at, (H, W) bool."""
        found = np.zeros(self.shape, np.bool_)
        row, column = self.corner
        place = found[row : row + len(self.rows), column : column + len(self.columns)]
        # Columns first: the mask has a hundredth of the rows.
        place[:] = self.mask.all() or self.mask[:, self.columns][self.rows]
        return found


@dataclass(frozen=True)
class Area:
    """Pixels of the labels, whatever regions they are in.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the labels.
    mask : ndarray, (h, w) bool, or None
        Tissue, at any size; a pixel of the labels takes that in which its centre lies. None is all.
    rectangle : Rectangle
        Outside of it nothing is looked at.
    """

    shape: tuple[int, int]
    mask: NDArray[np.bool_] | None
    rectangle: Rectangle

    def part(self, region: Region) -> Part | None:
        """Return the pixels of a region that are in the area, None where there are none."""
        top, left, bottom, right = self.rectangle
        top, left = max(top, region.row), max(left, region.column)
        bottom, right = min(bottom, region.bottom), min(right, region.right)
        if top >= bottom or left >= right:
            return None
        whole, rows, columns = self._masked((top, left, bottom, right))
        mask = whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if not mask.any():
            return None
        return Part(
            (region.height, region.width),
            (top - region.row, left - region.column),
            (rows - rows[0]).astype(np.int32),
            (columns - columns[0]).astype(np.int32),
            np.ascontiguousarray(mask),
        )

    def count(self) -> int:
        """Return how many pixels of the labels are in the area."""
        mask, *places = self._masked(self.rectangle)
        rows, columns = map(np.bincount, places)
        return int(rows @ mask[: len(rows), : len(columns)].astype(np.int64) @ columns)

    def _masked(
        self, rectangle: Rectangle
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """Return a mask, and which of its rows and columns those of a rectangle take."""
        top, left, bottom, right = rectangle
        mask = _ALL if self.mask is None else self.mask
        rows, columns = map(_nearest, self.shape, mask.shape)
        return mask, rows[top:bottom], columns[left:right]


def rectangle(
    wanted: tuple[int, int, int, int] | None, size: tuple[int, int], shape: tuple[int, int]
) -> Rectangle:
    """Return a rectangle of level 0 in pixels of the labels.

    Parameters
    ----------
    wanted : tuple of int or None
        Column, row, width and height in level 0; None is all.
    size : tuple of int
        Height and width of level 0.
    shape : tuple of int
        Of the labels.

    Raises
    ------
    ValueError
        It has no pixels, or is not inside the slide.
    """
    if wanted is None:
        return (0, 0, *shape)
    x, y, width, height = wanted
    if min(x, y) < 0 or min(width, height) < 1 or x + width > size[1] or y + height > size[0]:
        raise ValueError(
            f"region: got {','.join(map(str, wanted))}; accepted is X,Y,WIDTH,HEIGHT within "
            f"{size[1]} x {size[0]} pixels"
        )
    down, across = shape[0] / size[0], shape[1] / size[1]
    return (
        math.floor(y * down),
        math.floor(x * across),
        math.ceil((y + height) * down),
        math.ceil((x + width) * across),
    )
