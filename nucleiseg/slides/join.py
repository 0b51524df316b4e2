"""Objects that several regions share, put together pixel by pixel and decoded.

`nucleiseg.slides.decode` says why that gives the labels of the whole slide. Rows of regions come
from top to bottom. An object is decoded as soon as all that its heights depend on is there; until
then its pixels are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.model import Model
from nucleiseg.slides.columns import Columns, measured
from nucleiseg.slides.decode import MARGIN, OpenPixels
from nucleiseg.slides.grid import Region

Pair = tuple[int, int]


@dataclass
class _Kept:
    """Open pixels of a region, with objects numbered through the slide; 0 for those of none."""

    region: Region
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    objects: NDArray[np.int64]
    maps: NDArray[np.uint8]
    pixels: NDArray[Any]

    def overlaps(self, box: NDArray[np.int64]) -> bool:
        """Return whether the region has pixels in a box."""
        region = self.region
        return bool(
            region.row < box[2]
            and box[0] < region.bottom
            and region.column < box[3]
            and box[1] < region.right
        )


@dataclass
class _Forest:
    """Parts of objects as a forest of joined ones; part 0 is none."""

    parents: list[int] = field(default_factory=lambda: [0])

    def add(self, count: int) -> int:
        """Add parts; return the number before the first."""
        before = len(self.parents) - 1
        self.parents.extend(range(before + 1, before + 1 + count))
        return before

    def find(self, part: int) -> int:
        while self.parents[part] != part:
            self.parents[part] = part = self.parents[self.parents[part]]
        return part

    def unite(self, pairs: NDArray[np.int64]) -> None:
        for one, other in np.unique(pairs, axis=0).tolist():
            one, other = self.find(one), self.find(other)
            self.parents[max(one, other)] = min(one, other)


class Joiner:
    """Decodes the open objects of a slide's regions.

    Parameters
    ----------
    size : tuple of int
        Height and width of the slide's labels.
    side : int
        Pixels of a region, in height and width.
    model : Model

    Attributes
    ----------
    largest : int
        Pixels of the largest rectangle in which objects were decoded.
    """

    def __init__(self, size: Pair, side: int, model: Model) -> None:
        self._size, self._side, self._model = size, side, model
        self._forest = _Forest()
        self._boxes = np.zeros((1, 4), np.int64)  # of each part
        self._waiting = np.zeros(0, np.int64)  # parts that were not decoded
        self._kept: list[_Kept] = []
        self._last_row = np.zeros(size[1], np.int64)  # the part of each pixel in it
        self.largest = 0

    def add(
        self, band: Sequence[Region], found: Sequence[tuple[Region, OpenPixels]]
    ) -> tuple[list[Columns], int]:
        """Take the next row of regions, and the pixels of those that have any.

        Returns
        -------
        nuclei : list of Columns
            Of the objects that are complete.
        row : int
            No nucleus that is still to come begins above it.
        """
        top, bottom = band[0].row, band[0].bottom
        kept = [self._numbered(region, pixels) for region, pixels in found]
        self._unite(kept, top, bottom)
        self._kept += kept
        owners = np.array([self._forest.find(part) for part in self._waiting.tolist()], np.int64)
        roots, boxes = self._objects(owners)
        is_last = bottom == self._size[0]
        complete = np.full(len(roots), True) if is_last else boxes[:, 2] <= bottom - MARGIN
        nuclei = [
            self._decoded(self._waiting[np.isin(owners, roots[chosen])], boxes[chosen])
            for chosen in self._together(np.flatnonzero(complete), boxes, top)
        ]
        self._waiting = self._waiting[np.isin(owners, roots[~complete])]
        self._forget(boxes[~complete], top)
        return nuclei, int(boxes[~complete, 0].min(initial=bottom))

    def _numbered(self, region: Region, pixels: OpenPixels) -> _Kept:
        before = self._forest.add(len(pixels.boxes))
        self._boxes = np.concatenate([self._boxes, pixels.boxes])
        own = before + 1 + np.arange(len(pixels.boxes))
        self._waiting = np.concatenate([self._waiting, own])
        rows, columns = np.divmod(pixels.places.astype(np.int64), region.width)
        objects = np.where(pixels.objects > 0, pixels.objects.astype(np.int64) + before, 0)
        return _Kept(
            region,
            rows + region.row,
            columns + region.column,
            objects,
            pixels.maps,
            pixels.pixels,
        )

    def _unite(self, kept: Sequence[_Kept], top: int, bottom: int) -> None:
        """Join parts that touch across the borders of this row of regions."""
        first_row, last_row = (np.zeros(self._size[1], np.int64) for _ in range(2))
        pairs = []
        by_column = {one.region.column: one for one in kept}
        for one in kept:
            for row, whole in ((top, first_row), (bottom - 1, last_row)):
                there = one.rows == row
                whole[one.columns[there]] = one.objects[there]
            right = by_column.get(one.region.right)
            if right is not None:
                height = bottom - top
                pairs.append(
                    _touching(
                        _edge(one, one.region.right - 1, top, height),
                        _edge(right, right.region.column, top, height),
                    )
                )
        pairs.append(_touching(self._last_row, first_row))
        self._forest.unite(np.concatenate(pairs))
        self._last_row = last_row

    def _objects(self, owners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the objects that own the waiting parts, and the box of each."""
        found, places = np.unique(owners, return_inverse=True)
        boxes = np.empty((len(found), 4), np.int64)
        boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, 0
        np.minimum.at(boxes[:, :2], places, self._boxes[self._waiting, :2])
        np.maximum.at(boxes[:, 2:], places, self._boxes[self._waiting, 2:])
        return found, boxes

    def _together(
        self, objects: NDArray[np.int64], boxes: NDArray[np.int64], top: int
    ) -> Iterator[NDArray[np.int64]]:
        """Yield the objects that are decoded at once: those near one corner of regions."""
        boxes = boxes[objects]
        crosses = boxes[:, 0] < top + MARGIN
        seams = (boxes[:, 1] + self._side // 2) // self._side
        spreads = (boxes[:, 2] - boxes[:, 0] > self._side) | (
            boxes[:, 3] - boxes[:, 1] > self._side
        )
        # What is larger than a region is decoded by itself.
        keys = np.where(spreads, -1 - np.arange(len(objects)), 2 * seams + crosses)
        for key in np.unique(keys):
            yield objects[keys == key]

    def _decoded(self, parts: NDArray[np.int64], boxes: NDArray[np.int64]) -> Columns:
        """Decode the objects of some parts, in the rectangle around their boxes."""
        box = np.concatenate([boxes[:, :2].min(0) - MARGIN, boxes[:, 2:].max(0) + MARGIN])
        box = np.clip(box, 0, [*self._size, *self._size])
        corner, shape = box[:2], tuple((box[2:] - box[:2]).tolist())
        self.largest = max(self.largest, shape[0] * shape[1])
        wanted = np.zeros(len(self._forest.parents), np.bool_)
        wanted[parts] = True
        maps = np.zeros((*shape, 2), np.uint8)
        pixels = None
        for one in self._kept:
            if not one.overlaps(box):
                continue
            rows, columns = one.rows - corner[0], one.columns - corner[1]
            inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
            rows, columns = rows[inside], columns[inside]
            own = wanted[one.objects[inside]]
            maps[rows, columns, 1] = one.maps[inside, 1]
            maps[rows, columns, 0] = one.maps[inside, 0] * own
            if pixels is None:
                pixels = np.zeros((*shape, *one.pixels.shape[1:]), one.pixels.dtype)
            pixels[rows, columns] = one.pixels[inside]
        assert pixels is not None
        labels, _ = cpu.label(maps, *self._model.label_rule(), threads=1)
        return measured(labels, pixels, maps, (int(corner[0]), int(corner[1])), 1)

    def _forget(self, boxes: NDArray[np.int64], top: int) -> None:
        """Drop the pixels that nothing to come depends on: neither these boxes nor rows below."""
        reach = boxes + np.array([-MARGIN, -MARGIN, MARGIN, MARGIN])
        self._kept = [
            one
            for one in self._kept
            if one.region.row == top or any(one.overlaps(box) for box in reach)
        ]


def _edge(kept: _Kept, column: int, top: int, height: int) -> NDArray[np.int64]:
    """Return the part of each pixel in a column of a row of regions."""
    there = kept.columns == column
    edge = np.zeros(height, np.int64)
    edge[kept.rows[there] - top] = kept.objects[there]
    return edge


def _touching(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs of parts of which pixels of two adjacent lines are neighbours."""
    length = len(one)
    pairs = []
    for shift in (-1, 0, 1):
        here = one[max(0, -shift) : length - max(0, shift)]
        there = other[max(0, shift) : length - max(0, -shift)]
        both = (here > 0) & (there > 0)
        pairs.append(np.stack([here[both], there[both]], 1))
    return np.concatenate(pairs)
