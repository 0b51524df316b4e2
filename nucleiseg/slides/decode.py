"""The nuclei of one region: those that it can know alone, and the pixels of all others.

Why the labels of a slide do not depend on its regions
------------------------------------------------------
Let N be the pixels whose nucleus probability reaches the threshold, and call the 8-connected
components of N objects. Every step of the decoding (``csrc/kernels/label.h``) stays within an
object: a pixel climbs to a neighbour in N; a saddle lies between neighbours in N; basins join
across saddles alone, in an order of saddles that only matters among those of one object; and area,
peak and mean probability are a basin's own. Ties are broken by raster order, which a translation
keeps. So the labels of an object depend on its pixels and on their heights, and nothing else. The
height of a pixel depends on the distances of the pixels within `MARGIN` rows and columns (two
binomial filters of five pixels each way), repeated beyond the image's edges.

A *closed* object has no pixel within `MARGIN` of a border that its region shares with another. All
its pixels and all distances that its heights depend on lie in the region: it is decoded there. Of
the others, the *open* ones, the region keeps the pixels (their maps and intensities) and the
distances around them, and of its borders the distances within `MARGIN`. `nucleiseg.slides.join`
puts the parts of an open object together, pixel by pixel, and decodes it with the same kernel. That
holds for objects of any size: nothing here assumes that nuclei are small. An object costs memory in
proportion to the rectangle around it, so one that is nearly as large as the slide costs as much as
the slide; the manifest gives the largest.

The maps themselves do not depend on the regions: tiles begin at multiples of the model's stride and
a halo is thrown away (`csrc/pipeline`), the intensities that become 0 and 255 are the slide's,
and a resized pixel depends on its place in the slide alone. Outside of the tissue maps are 0, pixel
by pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.model import Model
from nucleiseg.outputs.extras import cv2
from nucleiseg.slides.columns import Columns, measured
from nucleiseg.slides.grid import Region

MARGIN = 4
"""Rows and columns to each side that a pixel's height depends on: ``kSmoothed``."""


@dataclass(frozen=True)
class OpenPixels:
    """Pixels of a region whose objects another region may share, and those around them.

    Attributes
    ----------
    places : ndarray, (P,) int32
        In the region, in raster order.
    objects : ndarray, (P,) int32
        1..k, the region's part of an object; 0 for pixels of none, of which only the distance
        matters.
    maps : ndarray, (P, 2) uint8
    pixels : ndarray, (P,) or (P, C)
        Intensities.
    boxes : ndarray, (k, 4) int32
        First row, first column, row and column after the last, of each part in the slide.
    """

    places: NDArray[np.int32]
    objects: NDArray[np.int32]
    maps: NDArray[np.uint8]
    pixels: NDArray[Any]
    boxes: NDArray[np.int32]


def decode(
    maps: NDArray[np.uint8],
    pixels: NDArray[Any],
    region: Region,
    size: tuple[int, int],
    model: Model,
    threads: int,
) -> tuple[Columns, OpenPixels]:
    """Return a region's closed objects' nuclei, and the pixels of its open objects.

    Parameters
    ----------
    maps : ndarray, (H, W, 2) uint8
        Of the region; changed.
    pixels : ndarray, (H, W) or (H, W, C)
    region : Region
    size : tuple of int
        Height and width of the slide's labels.
    model : Model
    threads : int
    """
    border = _border(region, size)
    objects, boxes = _open_objects(maps[..., 0] >= model.nucleus_threshold, border)
    stored = _stored(maps, pixels, objects, border, boxes)
    maps.reshape(-1, 2)[stored.places[stored.objects > 0], 0] = 0
    stored.boxes[:] += np.array([region.row, region.column] * 2, np.int32)
    labels, _ = cpu.label(maps, *model.label_rule(), threads=threads)
    return measured(labels, pixels, maps, (region.row, region.column), threads), stored


def _open_objects(
    inside: NDArray[np.bool_], border: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the objects that reach the border, numbered, by flooding each from there.

    Parameters
    ----------
    inside : ndarray, (H, W) bool
        Where the objects are.
    border : ndarray, (H, W) bool

    Returns
    -------
    objects : ndarray, (H, W) int32
        0 where there is none of them.
    boxes : ndarray, (k, 4) int32
    """
    values = inside.view(np.uint8)
    objects = np.zeros(inside.shape, np.int32)
    flooded = np.zeros((inside.shape[0] + 2, inside.shape[1] + 2), np.uint8)
    seen = flooded[1:-1, 1:-1]
    new, old = 2, 1
    flags = 8 | new << 8 | cv2.FLOODFILL_MASK_ONLY
    boxes: list[tuple[int, int, int, int]] = []
    for row, column in np.argwhere(inside & border).tolist():
        if seen[row, column]:
            continue
        _, _, _, (left, top, width, height) = cv2.floodFill(
            values, flooded, (column, row), 1, 0, 0, flags
        )
        box = np.s_[top : top + height, left : left + width]
        own = seen[box] == new
        seen[box][own] = old
        boxes.append((top, left, top + height, left + width))
        objects[box][own] = len(boxes)
    return objects, np.array(boxes, np.int32).reshape(-1, 4)


def _stored(
    maps: NDArray[np.uint8],
    pixels: NDArray[Any],
    objects: NDArray[np.int32],
    border: NDArray[np.bool_],
    boxes: NDArray[np.int32],
) -> OpenPixels:
    reached = (objects > 0).view(np.uint8)
    kernel = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)
    around = (cv2.dilate(reached, kernel) if len(boxes) else reached).view(np.bool_) | border
    places = np.flatnonzero(around)
    own, seen = objects.reshape(-1)[places], maps.reshape(-1, 2)[places]
    matters = (own > 0) | (seen[:, 1] > 0)
    places = places[matters]
    return OpenPixels(
        places.astype(np.int32),
        own[matters],
        seen[matters],
        pixels.reshape(-1, *pixels.shape[2:])[places],
        boxes,
    )


def _border(region: Region, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixels are within the margin of a border that is not the slide's."""
    border = np.zeros((region.height, region.width), np.bool_)
    if region.row > 0:
        border[:MARGIN] = True
    if region.bottom < size[0]:
        border[-MARGIN:] = True
    if region.column > 0:
        border[:, :MARGIN] = True
    if region.right < size[1]:
        border[:, -MARGIN:] = True
    return border
