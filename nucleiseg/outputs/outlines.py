"""The outlines of nuclei as polygons along the edges of their pixels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu

Ring = NDArray[np.int32] | NDArray[np.float64]
"""(P, 2) int32: corners of pixels, (row, column), the first not repeated at the end. Pixel (r, c)
covers [r, r + 1] x [c, c + 1]. Smoothed rings are float64, in the same frame."""

Part = list[Ring]
"""A polygon: its exterior, and then its holes."""


class Outline(NamedTuple):
    """The outline of one nucleus: one polygon for each of its 4-connected parts."""

    label: int
    parts: list[Part]


@dataclass(frozen=True)
class Outlines:
    """The outlines of all nuclei of an image, in the order of their labels.

    Iterating yields an `Outline` for each nucleus, made one by one, so that a slide's outlines are
    never Python objects all at once.

    Attributes
    ----------
    points : ndarray, (P, 2) int32, or float64 where they are smoothed
        Corners of all rings, (row, column).
    rings : ndarray, (R + 1,) int64
        Ring i is ``points[rings[i] : rings[i + 1]]``.
    owners : ndarray, (R,) int32
        The label of each ring, ascending; of a part the exterior first, then its holes.
    holes : ndarray, (R,) bool
        True where a ring bounds a hole. On a screen exteriors run clockwise, holes the other way.
    """

    points: NDArray[np.int32] | NDArray[np.float64]
    rings: NDArray[np.int64]
    owners: NDArray[np.int32]
    holes: NDArray[np.bool_]

    @classmethod
    def of(cls, labels: NDArray[np.int32], threads: int = 1) -> Outlines:
        """Return the outlines of labels, (H, W) int32."""
        return cls(*cpu.outline(labels, threads=threads))

    def __len__(self) -> int:
        """Return how many nuclei have an outline."""
        return len(self._firsts())

    def __iter__(self) -> Iterator[Outline]:
        """Yield the outline of each nucleus."""
        bounds = [*self._firsts().tolist(), len(self.owners)]
        for first, last in itertools.pairwise(bounds):
            yield Outline(int(self.owners[first]), self._parts(first, last))

    def __repr__(self) -> str:
        """Return the numbers of nuclei and points."""
        return f"Outlines({len(self):,} nuclei, {len(self.points):,} points)"

    def _firsts(self) -> NDArray[np.intp]:
        """Return the first ring of each nucleus."""
        return np.flatnonzero(np.diff(self.owners, prepend=0))

    def _parts(self, first: int, last: int) -> list[Part]:
        parts: list[Part] = []
        for ring in range(first, last):
            points = self.points[self.rings[ring] : self.rings[ring + 1]]
            if self.holes[ring]:
                parts[-1].append(points)
            else:
                parts.append([points])
        return parts
