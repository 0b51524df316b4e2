"""Nuclei in the order of their ids, and labels in blocks, handed to outputs.

What an output is given does not depend on regions: nuclei come in raster order of their first
pixels in chunks of one size, labels in blocks of a fixed grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.table import LENGTHS
from nucleiseg.parameters import Decoding
from nucleiseg.slides import focus
from nucleiseg.slides.area import Rectangle
from nucleiseg.slides.columns import Columns, joined, spans
from nucleiseg.slides.grid import BLOCK, Region
from nucleiseg.slides.nuclei import Nuclei, Output, SlideInfo

CHUNK = 16_384
"""Nuclei that an output is given at once, with about 5 MB of polygons; fewer at the end."""


class Emitter:
    """Numbers nuclei and hands them on.

    Parameters
    ----------
    info : SlideInfo
    outputs : sequence of Output
    decoding : Decoding
        Which nuclei are kept. Each is judged as a whole, wherever regions cut it.
    rectangle : Rectangle
        Of the labels; nuclei that touch its border may be dropped.

    Attributes
    ----------
    count : int
        Nuclei that were numbered.
    """

    def __init__(
        self, info: SlideInfo, outputs: Sequence[Output], decoding: Decoding, rectangle: Rectangle
    ) -> None:
        self._info, self._outputs = info, outputs
        self._decoding, self._rectangle = decoding, rectangle
        self._size = info.label_height, info.label_width
        self._steps = info.height / info.label_height, info.width / info.label_width
        self._waiting: list[Columns] = []  # without an id
        self._ready: list[Columns] = []  # with ids, fewer than a chunk
        self._runs = np.zeros((0, 4), np.int64)  # row, begin, end, id: not painted
        self._painted = 0  # rows
        self._blurs = np.full([-(-side // focus.CELL) for side in self._size], np.nan, np.float32)
        self.count = 0

    def note_blurs(self, region: Region, blurs: NDArray[np.float32]) -> None:
        """Take the blur of a region's cells, before the nuclei in it are added."""
        row, column = region.row // focus.CELL, region.column // focus.CELL
        self._blurs[row : row + blurs.shape[0], column : column + blurs.shape[1]] = blurs

    def add(self, parts: Sequence[Columns], row: int) -> None:
        """Take nuclei; those to come begin in a row from this one on."""
        chosen = map(self._kept, parts) if self._decoding.is_selective else parts
        self._waiting += [part for part in chosen if len(part)]
        if self._waiting:
            self._number(row)
        self._hand_on(CHUNK)
        while self._painted < self._size[0] and (
            row >= self._painted + BLOCK or row >= self._size[0]
        ):
            self._paint()

    def finish(self) -> None:
        """Hand on what is left, once the last row was named."""
        self._hand_on(1)

    def _kept(self, nuclei: Columns) -> Columns:
        """Return those of some nuclei that are to be kept."""
        if not len(nuclei):
            return nuclei
        top, left, bottom, right = self._rectangle
        rows, begins, ends = nuclei.runs.T
        at_border = (rows == top) | (rows == bottom - 1) | (begins == left) | (ends == right)
        kept = self._decoding.kept(
            nuclei.values["area"] * math.prod(self._steps),
            nuclei.values["diameter"] * self._info.scale,
            np.logical_or.reduceat(at_border, nuclei.run_offsets[:-1]),
        )
        return nuclei.take(np.flatnonzero(kept))

    def _number(self, row: int) -> None:
        nuclei = joined(self._waiting)
        firsts = nuclei.firsts
        order = np.lexsort((firsts[:, 1], firsts[:, 0]))
        ready = int(np.searchsorted(firsts[order, 0], row))
        self._waiting = [nuclei.take(order[ready:])] if ready < len(order) else []
        if ready:
            found = nuclei.take(order[:ready])
            self._ready.append(found)
            ids = np.repeat(self.count + 1 + np.arange(ready), np.diff(found.run_offsets))
            runs = np.concatenate([found.runs.astype(np.int64), ids[:, None]], 1)
            self._runs = np.concatenate([self._runs, runs])
            self.count += ready

    def _hand_on(self, least: int) -> None:
        """Hand on whole chunks, or all that is left where one nucleus is enough."""
        left = sum(map(len, self._ready))
        if left < least:
            return
        together, self._ready = joined(self._ready), []
        for first in range(0, left, CHUNK):
            some = together.take(np.arange(first, min(first + CHUNK, left)))
            if len(some) < least:
                self._ready = [some]
                break
            nuclei = self._scaled(some, self.count - left + first + 1)
            for output in self._outputs:
                output.add(nuclei)

    def _scaled(self, columns: Columns, first_id: int) -> Nuclei:
        """Return nuclei in pixels of level 0."""
        down, across = self._steps
        mean = self._info.scale
        values = columns.values
        centroid = np.stack([values["centroid-0"], values["centroid-1"]], 1)
        cells = tuple((centroid.T // focus.CELL).astype(np.int64))
        own = ("area", "diameter", "confidence", "centroid-0", "centroid-1")
        return Nuclei(
            id=first_id + np.arange(len(columns)),
            area=values["area"] * (down * across),
            centroid=(centroid + 0.5) * (down, across),
            diameter=values["diameter"] * mean,
            confidence=values["confidence"],
            outline_offsets=columns.point_offsets,
            outline_points=(columns.points * (down, across)).astype(np.float32),
            features={
                name: column * mean if name in LENGTHS else column
                for name, column in values.items()
                if name not in own
            }
            | {focus.FEATURE: self._blurs[cells]},
        )

    def _paint(self) -> None:
        """Hand on the blocks of the next rows."""
        top, bottom = self._painted, min(self._painted + BLOCK, self._size[0])
        here = self._runs[self._runs[:, 0] < bottom]
        self._runs = self._runs[self._runs[:, 0] >= bottom]
        for left in range(0, self._size[1], BLOCK):
            right = min(left + BLOCK, self._size[1])
            runs = here[(here[:, 1] < right) & (here[:, 2] > left)]
            if len(runs):
                labels = _painted(runs, top, bottom, left, right)
                for output in self._outputs:
                    output.add_labels(top, left, labels)
        self._painted = bottom


def _painted(
    runs: NDArray[np.int64], top: int, bottom: int, left: int, right: int
) -> NDArray[np.int32]:
    labels = np.zeros((bottom - top, right - left), np.int32)
    begins, ends = np.maximum(runs[:, 1], left), np.minimum(runs[:, 2], right)
    lengths = ends - begins
    firsts = (runs[:, 0] - top) * (right - left) + begins - left
    labels.reshape(-1)[spans(firsts, lengths)] = np.repeat(runs[:, 3], lengths)
    return labels
