"""Where on a slide the nuclei are not to be trusted, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.extras import cv2
from nucleiseg.report.flags import LEAST_CONFIDENCE, MOST_BLUR, MOST_RELATIVE_BLUR
from nucleiseg.slides.outputs.cells import Cells

FEWEST = 5
"""Nuclei of a cell below which its means say little."""

PLACES = 5
"""Places of each doubt that are listed, those with most nuclei."""


@dataclass(frozen=True)
class Place:
    """Cells that touch: the box around them in pixels of level 0, and their nuclei."""

    x: int
    y: int
    width: int
    height: int
    nuclei: int


@dataclass(frozen=True)
class Doubt:
    """One reason not to trust nuclei.

    Attributes
    ----------
    name, reason : str
        In a word or two, and in a sentence.
    colour : tuple of int
        On the map, RGB; Okabe and Ito's palette, which colour-blind people can tell apart.
    cells : ndarray, (rows, columns) bool
        Where it holds.
    nuclei : int
        In these cells.
    places : list of Place
    """

    name: str
    reason: str
    colour: tuple[int, int, int]
    cells: NDArray[np.bool_]
    nuclei: int
    places: list[Place]


def doubts(cells: Cells) -> list[Doubt]:
    """Return the doubts that hold in at least one cell."""
    return [
        Doubt(name, reason, colour, where, int(cells.count[where].sum()), _places(cells, where))
        for name, reason, colour, where in _rules(cells)
        if where.any()
    ]


def _rules(cells: Cells) -> Iterator[tuple[str, str, tuple[int, int, int], NDArray[np.bool_]]]:
    many = cells.count >= FEWEST
    with np.errstate(divide="ignore", invalid="ignore"):
        confidence = cells.confidence / cells.area
        diameter = cells.diameter / cells.area
        blur = cells.blur / cells.blur_count
    yield (
        "low confidence",
        f"The network is unsure: the mean probability of nuclei is below {LEAST_CONFIDENCE}.",
        (213, 94, 0),
        many & (confidence < LEAST_CONFIDENCE),
    )
    if cells.info.good_diameters:
        low, high = cells.info.good_diameters
        yield (
            "unusual size",
            "A usual nucleus is smaller or larger than the model is made for: "
            f"{low:g} to {high:g} pixels across as the network sees it.",
            (230, 159, 0),
            many & ((diameter < low) | (diameter > high)),
        )
    yield (
        "out of focus",
        f"The edges of nuclei are blurred over more than {MOST_BLUR:g} pixels.",
        (0, 114, 178),
        (cells.blur_count >= FEWEST)
        & (blur > np.maximum(MOST_BLUR, MOST_RELATIVE_BLUR * diameter)),
    )


def _places(cells: Cells, where: NDArray[np.bool_]) -> list[Place]:
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(where.astype(np.uint8))
    nuclei = np.bincount(parts.ravel(), cells.count.ravel(), count)
    nuclei[0] = 0
    places = []
    for index in np.argsort(-nuclei, kind="stable")[: min(PLACES, count - 1)]:
        column, row, columns, rows = (int(side) for side in boxes[index, :4])
        x, y = cells.corner(row, column)
        right, bottom = cells.corner(row + rows, column + columns)
        places.append(Place(x, y, right - x, bottom - y, int(nuclei[index])))
    return places
