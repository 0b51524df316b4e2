"""Nuclei at the network's scale, as columns: found, measured, outlined, sorted and cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu

TOLERANCE = 0.5
"""Pixels at the network's scale by which a simplified outline may leave the pixels' edges."""

FEATURES = (
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "orientation",
    "perimeter_crofton",
    "circularity",
    "solidity",
)
"""Measured of the shape; of the intensities mean and deviation of each channel. The ring around a
nucleus is left out: it would depend on neighbours that another region holds."""


@dataclass(frozen=True)
class Columns:
    """Nuclei in columns of n, coordinates being those of the whole slide's labels.

    Attributes
    ----------
    run_offsets : ndarray, (n + 1,) int64
        Nucleus i's runs are ``runs[run_offsets[i] : run_offsets[i + 1]]``.
    runs : ndarray, (r, 3) int32
        Row, first column and the column after the last, in raster order.
    point_offsets : ndarray, (n + 1,) int64
    points : ndarray, (p, 2) int32
        Corners of each nucleus's outline: row and column.
    values : dict of str to ndarray, (n,)
        What `measured` finds.
    """

    run_offsets: NDArray[np.int64]
    runs: NDArray[np.int32]
    point_offsets: NDArray[np.int64]
    points: NDArray[np.int32]
    values: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        """Return how many nuclei there are."""
        return len(self.run_offsets) - 1

    @property
    def firsts(self) -> NDArray[np.int64]:
        """(n, 2): row and column of each nucleus's first pixel."""
        return self.runs[self.run_offsets[:-1], :2].astype(np.int64)

    def take(self, chosen: NDArray[np.integer[Any]]) -> Columns:
        """Return the nuclei of these places, in this order."""
        return Columns(
            *_gathered(self.run_offsets, self.runs, chosen),
            *_gathered(self.point_offsets, self.points, chosen),
            {name: column[chosen] for name, column in self.values.items()},
        )


def joined(parts: Sequence[Columns]) -> Columns:
    """Return the nuclei of all parts, of which there is at least one, one after the other."""
    # Parts without nuclei may lack columns of a kind that the others have.
    names = next((part.values for part in parts if len(part)), parts[0].values)
    values = {
        name: np.concatenate([part.values[name] for part in parts if len(part)] or [column])
        for name, column in names.items()
    }
    return Columns(
        _offsets(np.concatenate([np.diff(part.run_offsets) for part in parts])),
        np.concatenate([part.runs for part in parts]),
        _offsets(np.concatenate([np.diff(part.point_offsets) for part in parts])),
        np.concatenate([part.points for part in parts]),
        values,
    )


def measured(
    labels: NDArray[np.int32],
    pixels: NDArray[Any],
    maps: NDArray[np.uint8],
    corner: tuple[int, int],
    threads: int,
) -> Columns:
    """Measure and outline the nuclei of a part of a slide.

    Every column is the same wherever the part begins: sums are whole numbers, counted from a
    nucleus's first pixel.

    Parameters
    ----------
    labels : ndarray, (H, W) int32
        1..n in raster order.
    pixels : ndarray, (H, W) or (H, W, C)
    maps : ndarray, (H, W, 2) uint8
    corner : tuple of int
        The part's first row and column.
    threads : int
    """
    runs, ids = _runs(labels)
    run_offsets = _offsets(np.bincount(ids - 1))
    point_offsets, points = _outlines(labels, threads)
    table = cpu.measure(labels, pixels, maps, ring=0, threads=threads)
    first = np.array(corner, np.int32)
    runs += first[[0, 1, 1]]
    values: dict[str, NDArray[Any]] = {
        "area": table["area"],
        "diameter": table["equivalent_diameter_area"],
        "confidence": table["probability_mean"].astype(np.float32),
        **_centroids(runs, run_offsets),
    }
    for name, column in table.items():
        if name in FEATURES or name.startswith(("intensity_mean", "intensity_std")):
            values[name] = column
    return Columns(run_offsets, runs, point_offsets, points + first, values)


def _runs(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the runs in order of label, and the label of each."""
    changes = np.zeros((labels.shape[0], labels.shape[1] + 1), np.bool_)
    changes[:, 0] = labels[:, 0] != 0
    np.not_equal(labels[:, 1:], labels[:, :-1], out=changes[:, 1:-1])
    changes[:, -1] = labels[:, -1] != 0
    places = np.flatnonzero(changes)
    rows, columns = np.divmod(places, labels.shape[1] + 1)
    inside = columns < labels.shape[1]
    ids = np.zeros(len(places), np.int32)
    ids[inside] = labels[rows[inside], columns[inside]]
    begins = np.flatnonzero(ids)
    # A run ends where the next change of its row is.
    found = np.stack([rows[begins], columns[begins], columns[begins + 1]], 1).astype(np.int32)
    order = np.argsort(ids[begins], kind="stable")
    return found[order], ids[begins][order]


def _centroids(
    runs: NDArray[np.int32], offsets: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Return the mean row and column of pixels' centres, from whole sums about the first pixel."""
    starts = offsets[:-1]
    firsts = runs[starts, :2].astype(np.int64)
    row, begin, end = (runs - np.repeat(firsts[:, [0, 1, 1]], np.diff(offsets), 0)).T
    sums = (row * (end - begin), (end * (end - 1) - begin * (begin - 1)) // 2)
    areas = np.add.reduceat(end - begin, starts)
    return {
        f"centroid-{axis}": firsts[:, axis] + np.add.reduceat(sums[axis], starts) / areas
        for axis in range(2)
    }


def _outlines(
    labels: NDArray[np.int32], threads: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the outside of each nucleus's largest part, as `_gathered` does."""
    points, rings, owners, holes = cpu.outline(labels, tolerance=TOLERANCE, threads=threads)
    rows, columns = points.astype(np.int64).T
    following = np.arange(1, len(points) + 1)
    following[rings[1:] - 1] = rings[:-1]
    doubled = np.add.reduceat(rows[following] * columns - rows * columns[following], rings[:-1])
    sizes = np.where(holes, -1, np.abs(doubled))
    order = np.lexsort((np.arange(len(owners)), -sizes, owners))
    first_of_owner = np.flatnonzero(np.diff(owners[order], prepend=0))
    return _gathered(rings, points, order[first_of_owner])


def _gathered(
    offsets: NDArray[np.int64], items: NDArray[np.int32], chosen: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return where each of the chosen groups begins among their items, and these."""
    starts = offsets[chosen]
    lengths = offsets[chosen + 1] - starts
    return _offsets(lengths), items[spans(starts, lengths)]


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where groups of these lengths begin, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def spans(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers from each start on, as many as it has, one after the other."""
    ahead = np.cumsum(lengths) - lengths
    return np.repeat(starts - ahead, lengths) + np.arange(lengths.sum())
