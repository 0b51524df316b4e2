"""How an image of any size is cut into tiles for the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Span:
    """One axis: where each tile starts, how long it is, and which part of it is kept.

    Attributes
    ----------
    starts : tuple of int
        First pixel of each tile, a multiple of the model's stride. The network's answer moves
        with the image only by whole strides, so tiles of any size give the same maps inside.
    size : int
        Length of every tile, a multiple of the stride. The last may reach beyond the image.
    bounds : tuple of int
        Tile i keeps pixels ``bounds[i]`` to ``bounds[i + 1]``.
    """

    starts: tuple[int, ...]
    size: int
    bounds: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The grid of tiles of an image."""

    rows: Span
    columns: Span

    def bands(self) -> Iterator[tuple[int, int, int, int]]:
        """Give for each row of tiles: its index, first pixel row, and the rows that it keeps."""
        for index, start in enumerate(self.rows.starts):
            yield index, start, self.rows.bounds[index], self.rows.bounds[index + 1]

    def band_tiles(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give origins (n, 2) and kept rectangles (n, 4) of one row of tiles, in image pixels."""
        top, bottom = self.rows.bounds[index : index + 2]
        lefts, rights = self.columns.bounds[:-1], self.columns.bounds[1:]
        origins = [(self.rows.starts[index], column) for column in self.columns.starts]
        cores = [(top, bottom, left, right) for left, right in zip(lefts, rights, strict=True)]
        return np.array(origins, np.int64), np.array(cores, np.int64)


def plan(height: int, width: int, tile: int, halo: int, stride: int) -> Plan:
    """Cut an image into the fewest tiles of at most ``tile`` pixels a side.

    An image that fits is one tile, padded only to the next multiple of ``stride``. Otherwise
    neighbours overlap by at least twice ``halo``, and the size is the smallest that covers the
    image with that number of tiles.

    Parameters
    ----------
    height, width : int
        Pixels, at least 1.
    tile : int
        Largest side of a tile, a multiple of ``stride`` above ``2 * halo``.
    halo : int
        Margin that is thrown away where tiles meet, a multiple of ``stride``.
    stride : int
        Of the model.
    """
    return Plan(_span(height, tile, halo, stride), _span(width, tile, halo, stride))


def _span(length: int, tile: int, halo: int, stride: int) -> Span:
    units, margin = -(-length // stride), 2 * halo // stride
    count = max(1, -(-(units - margin) // (tile // stride - margin)))
    if units * stride <= tile:
        count = 1
    size = -(-(units + (count - 1) * margin) // count)
    starts = [index * (units - size) // max(1, count - 1) * stride for index in range(count)]
    size *= stride
    meets = [
        (second + first + size) // 2 for first, second in zip(starts, starts[1:], strict=False)
    ]
    return Span(tuple(starts), size, (0, *meets, length))
