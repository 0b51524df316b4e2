"""What every reader of slides gives: levels, of which any rectangle can be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.readers.stack import UnacceptedError
from nucleiseg.slides import grid

STRIP = 2048
"""Rows of a large level that are shrunk at once."""


class Slide(ABC):
    """An open slide. Several threads may read at once.

    Attributes
    ----------
    path : Path
    levels : list of tuple of int
        Height and width of each level, the finest first.
    mpp : float or None
        Micrometres per pixel of level 0; None where the file does not say it.
    """

    path: Path
    levels: list[tuple[int, int]]
    mpp: float | None

    @property
    def files(self) -> list[Path]:
        """The files and folders that it consists of."""
        return [self.path]

    @abstractmethod
    def read(self, level: int, row: int, column: int, height: int, width: int) -> NDArray[Any]:
        """Read a rectangle that lies inside a level: (h, w) grey or (h, w, 3) RGB.

        Raises
        ------
        ValueError
            Bytes of it are damaged or missing.
        OSError
            The file cannot be read.
        """

    def close(self) -> None:  # noqa: B027 (not every reader keeps something open)
        """Close the file."""

    def __enter__(self) -> Slide:
        """Return the slide."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()

    def thumbnail(self, side: float) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return a small picture of the whole, and which of it could not be read.

        Parameters
        ----------
        side : float
            Pixels of level 0 a pixel of the picture, at most; 1 or more.

        Returns
        -------
        picture : ndarray, (h, w) or (h, w, 3)
            The coarsest level that is fine enough, shrunk.
        unread : ndarray, (h, w) bool
            There the picture looks like glass.

        Raises
        ------
        ValueError, OSError
            None of it can be read.
        """
        longest = self.levels[0][1]
        fine = [i for i, (_, width) in enumerate(self.levels) if longest <= side * width]
        level = max(fine, default=0)
        height, width = self.levels[level]
        step = max(1, int(side * width / longest))
        strip = max(1, STRIP // step) * step
        unread = np.ones((-(-height // step), -(-width // step)), np.bool_)
        picture: NDArray[Any] | None = None
        failure: ValueError | OSError | None = None
        for part in (part for band in grid.bands(height, width, strip) for part in band):
            try:
                values = self.read(level, part.row, part.column, part.height, part.width)
            except (ValueError, OSError) as error:
                failure = error
                continue
            if picture is None:
                shape = (*unread.shape, *values.shape[2:])
                picture = np.full(shape, blank(values.dtype, values.ndim), values.dtype)
            small = _shrunk(values, step)
            row, column = part.row // step, part.column // step
            place = np.s_[row : row + len(small), column : column + small.shape[1]]
            picture[place], unread[place] = small, False
        if picture is None:
            assert failure is not None
            raise failure
        return picture, unread


def chosen(channel: int | None, count: int) -> int:
    """Return which of some channels to read.

    Raises
    ------
    UnacceptedError
        There is no such channel, or there are several and none was chosen.
    """
    if channel is None and count > 1:
        raise UnacceptedError(f"has {count} channels; choose the one with the nuclei: --channel N")
    if not 0 <= (channel or 0) < count:
        raise UnacceptedError(f"has {count} channels, from 0; got {channel}")
    return channel or 0


def fill(
    pixels: NDArray[Any],
    row: int,
    column: int,
    sides: Sequence[int],
    tile: Callable[[int, int], NDArray[Any]],
) -> None:
    """Fill a rectangle of a level with what its tiles have of it.

    Parameters
    ----------
    pixels : ndarray, (h, w, ...)
        The rectangle.
    row, column : int
        Where it begins.
    sides : sequence of int
        Height and width of a tile.
    tile : callable
        Takes the row and the column of a tile among all, and returns its pixels.
    """
    (height, width), (tall, wide) = pixels.shape[:2], sides
    for down in range(row // tall, -(-(row + height) // tall)):
        for right in range(column // wide, -(-(column + width) // wide)):
            top, left = down * tall - row, right * wide - column
            part = tile(down, right)[max(0, -top) :, max(0, -left) :]
            place = pixels[max(0, top) :, max(0, left) :][: part.shape[0], : part.shape[1]]
            place[:] = part[: place.shape[0], : place.shape[1]]


def blank(dtype: np.dtype[Any], dimensions: int) -> int:
    """Return what glass looks like: white in colours, black in fluorescence."""
    return int(np.iinfo(dtype).max) if dimensions == 3 and dtype.kind == "u" else 0


def _shrunk(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Return a picture of which a pixel is the mean of a square, smaller ones at the edges."""
    height, width = (-(-length // step) for length in values.shape[:2])
    return cpu.resize(values, height, width) if step > 1 else values
