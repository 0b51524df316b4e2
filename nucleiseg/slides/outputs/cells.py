"""Sums over the square cells of a grid on the slide, from which its maps are drawn."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import overlays
from nucleiseg.outputs.extras import cv2
from nucleiseg.slides import focus
from nucleiseg.slides.nuclei import Nuclei, SlideInfo

_T = TypeVar("_T", bound=np.generic)

SIDE = 100.0
"""Of a cell, in micrometres: a few dozen nuclei in most tissue."""

MOST = 400
"""Cells along the longer side of a slide, which has larger cells if it would have more."""

LONGEST = 1024
"""Pixels of a map's longer side."""

OPACITY = 0.65
"""Of the colours of cells over a picture of the slide."""

UNMEASURABLE_BLUR = 16.0
"""Pixels that stand for a blur of infinity, where there are slopes and no edges."""


class Cells:
    """Counts and sums of nuclei by the cell that their centroid is in.

    Attributes
    ----------
    info : SlideInfo
    side : float
        Of a cell, in micrometres.
    count : ndarray, (rows, columns) int64
        Nuclei.
    area, diameter, confidence : ndarray, (rows, columns) float64
        Sums of areas, and of diameters and confidences times the area, so that fragments hardly
        count in their means (`nucleiseg.autoscale.usual_diameter`). In pixels of the labels.
    blur, blur_count : ndarray, (rows, columns) float64 and int64
        Sum of what is known of `focus.FEATURE`, and of how many nuclei it is.
    """

    def __init__(self, info: SlideInfo) -> None:
        self.info = info
        self._extent = info.height * info.mpp[1], info.width * info.mpp[0]
        self.side = max(SIDE, max(self._extent) / MOST)
        rows, columns = (max(1, math.ceil(length / self.side - 1e-9)) for length in self._extent)
        self.shape = (rows, columns)
        self.count, self.blur_count = (np.zeros(self.shape, np.int64) for _ in range(2))
        self.area, self.diameter, self.confidence, self.blur = (
            np.zeros(self.shape) for _ in range(4)
        )

    def add(self, nuclei: Nuclei) -> None:
        """Count nuclei."""
        mpp = self.info.mpp[::-1]
        places = (nuclei.centroid * (np.array(mpp) / self.side)).astype(np.int64)
        rows, columns = (np.clip(places[:, axis], 0, self.shape[axis] - 1) for axis in range(2))
        index = rows * self.shape[1] + columns
        self.count += self._sum(index)
        scale = self.info.scale
        area, diameter = nuclei.area / scale**2, nuclei.diameter / scale
        self.area += self._sum(index, area)
        self.diameter += self._sum(index, diameter * area)
        self.confidence += self._sum(index, nuclei.confidence * area)
        blur = nuclei.features.get(focus.FEATURE)
        if blur is not None:
            known = ~np.isnan(blur)
            values = np.minimum(blur[known], UNMEASURABLE_BLUR)
            self.blur += self._sum(index[known], values)
            self.blur_count += self._sum(index[known])

    def density(self) -> NDArray[np.float64]:
        """Return nuclei per square millimetre of each cell, (rows, columns) float64."""
        sides = (
            np.diff(np.minimum(np.arange(cells + 1) * self.side, length))
            for cells, length in zip(self.shape, self._extent, strict=True)
        )
        rows, columns = sides
        area: NDArray[np.float64] = np.outer(rows, columns) / 1e6
        return self.count / area

    def nuclei_per_mm2(self) -> float:
        """Return the density over all cells that have nuclei."""
        occupied = self.count > 0
        if not occupied.any():
            return 0.0
        area = (self.count[occupied] / self.density()[occupied]).sum()
        return float(self.count.sum() / area)

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Return x and y of a cell's upper left corner in pixels of level 0."""
        x, y = (at * self.side / mpp for at, mpp in zip((column, row), self.info.mpp, strict=True))
        return min(round(x), self.info.width), min(round(y), self.info.height)

    def enlarged(self, values: NDArray[_T]) -> NDArray[_T]:
        """Return a map of the slide, (h, w, ...), from values of the cells, (rows, columns, ...).

        Its longer side has `LONGEST` pixels.
        """
        pixels = (np.arange(length) + 0.5 for length in self._map_size())
        rows, columns = (
            np.minimum((at * self.micrometres_per_map_pixel / self.side).astype(int), cells - 1)
            for at, cells in zip(pixels, self.shape, strict=True)
        )
        enlarged: NDArray[_T] = values[rows[:, None], columns]
        return enlarged

    @property
    def micrometres_per_map_pixel(self) -> float:
        """The size of a map's pixel."""
        return max(self._extent) / LONGEST

    def drawn(self, colours: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return a map, (h, w, 3) uint8, with some cells in colour over the slide's picture."""
        beneath, share = self._backdrop(), 1.0 if self.info.picture is None else OPACITY
        mixed = cv2.addWeighted(beneath, 1 - share, self.enlarged(colours), share, 0)
        return np.where(self.enlarged(where)[..., None], mixed, beneath).astype(np.uint8)

    def _backdrop(self) -> NDArray[np.uint8]:
        """Return what a map is drawn on, (h, w, 3) uint8: a pale picture of the slide, or white."""
        height, width = self._map_size()
        if self.info.picture is None:
            return np.full((height, width, 3), 255, np.uint8)
        grey = cv2.cvtColor(overlays.rgb(self.info.picture), cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        pale = 128 + small[..., None].repeat(3, axis=2) // 2
        return pale.astype(np.uint8)

    def _map_size(self) -> tuple[int, int]:
        """Return height and width of a map in pixels."""
        longest = max(self._extent)
        height, width = (max(1, round(length * LONGEST / longest)) for length in self._extent)
        return height, width

    def _sum(self, index: NDArray[np.int64], values: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the sums of values by cell; of ones where there are none."""
        return np.bincount(index, values, self.count.size).reshape(self.shape)
