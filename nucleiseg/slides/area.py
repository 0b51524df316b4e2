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
        For each row and column from ``corner`` on, that of the mask; empty without a mask.
    mask : ndarray, (., .) bool, or None
    size : tuple of int
        h and w.
    """

    shape: tuple[int, int]
    corner: tuple[int, int]
    size: tuple[int, int]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    mask: NDArray[np.bool_] | None

    def pixels(self) -> NDArray[np.bool_]:
        """Return the pixels that are looked at, (H, W) bool."""
        is_all = self.mask is None or self.mask.all()
        if is_all and self.size == self.shape:
            return np.ones(self.shape, np.bool_)
        found = np.zeros(self.shape, np.bool_)
        row, column = self.corner
        place = found[row : row + self.size[0], column : column + self.size[1]]
        if is_all:
            place[:] = True
        else:
            assert self.mask is not None
            # Columns first: the mask has a hundredth of the rows.
            place[:] = self.mask[:, self.columns][self.rows]
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
        shape, size = (region.height, region.width), (bottom - top, right - left)
        corner = (top - region.row, left - region.column)
        none = np.zeros(0, np.int32)
        if self.mask is None:
            return Part(shape, corner, size, none, none, None)
        rows = _nearest(self.shape[0], self.mask.shape[0])[top:bottom]
        columns = _nearest(self.shape[1], self.mask.shape[1])[left:right]
        mask = self.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if not mask.any():
            return None
        own_rows, own_columns = (
            (places - places[0]).astype(np.int32) for places in (rows, columns)
        )
        return Part(shape, corner, size, own_rows, own_columns, np.ascontiguousarray(mask))

    def holds(self, row: int, column: int) -> bool:
        """Return whether a pixel of the labels is in the area."""
        return self.part(Region(0, row, column, 1, 1)) is not None

    def count(self) -> int:
        """Return how many pixels of the labels are in the area."""
        top, left, bottom, right = self.rectangle
        if self.mask is None:
            return (bottom - top) * (right - left)
        rows = np.bincount(_nearest(self.shape[0], self.mask.shape[0])[top:bottom])
        columns = np.bincount(_nearest(self.shape[1], self.mask.shape[1])[left:right])
        return int(rows @ self.mask[: len(rows), : len(columns)].astype(np.int64) @ columns)


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
