"""Outputs at an image's own size, of maps that the network made of the image magnified.

Small nuclei that touch would run into one if their maps were shrunk. So maps are decoded at their
own size, and the mask and the labels take the pixels in which the centres of the image's lie. Maps
come band by band: of an image magnified four times they have 16 times its pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nucleiseg import resizing
from nucleiseg._native import cpu
from nucleiseg.model import Model

REACH = 8
"""Rows of maps on each side that a row's outputs depend on, or more."""

CHUNK = 1 << 23
"""Pixels of maps that are decoded at once."""


BAND_BYTES = 2.5
"""Of a pixel of the image: what a band of maps may take. A band is a row of tiles."""

LEAST_ROWS = 512
"""Of a band, even so: less would be spent on the halos of tiles."""


def band_rows(shape: tuple[int, int], seen: tuple[int, int]) -> int:
    """Return how many rows of maps a band may have.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image.
    seen : tuple of int
        Height and width of the maps.
    """
    return max(LEAST_ROWS, int(BAND_BYTES * shape[0] * shape[1] / (2 * seen[1])))


class _Maker(Protocol):
    """What makes one output: `take` gets rows of maps, in order, and those around them."""

    def take(self, maps: NDArray[np.uint8], above: int, end: int) -> None:
        """Take rows up to ``end``; ``above`` rows of the whole maps are missing above these."""

    def result(self) -> NDArray[Any]:
        """Return the output, once all rows were taken."""


class OwnSize:
    """Makes outputs of maps that come band by band.

    Parameters
    ----------
    outputs : sequence of {"mask", "labels", "maps"}
    shape : tuple of int
        Height and width of the image.
    seen : tuple of int
        Height and width of the maps, neither below the image's.
    model : Model
    threads : int
    """

    def __init__(
        self,
        outputs: Sequence[str],
        shape: tuple[int, int],
        seen: tuple[int, int],
        model: Model,
        threads: int,
    ) -> None:
        self._makers = [_MAKERS[output](shape, seen, model, threads) for output in outputs]
        self._height = seen[0]
        self._first = 0  # row of the whole maps that the tail begins with
        self._tail = np.empty((0, seen[1], 2), np.uint8)

    def add(self, maps: NDArray[np.uint8]) -> None:
        """Take the next rows of the maps, (h, W, 2)."""
        step = max(8 * REACH, CHUNK // maps.shape[1])
        for first in range(0, len(maps), step):
            self._add(np.concatenate([self._tail, maps[first : first + step]]))

    def _add(self, maps: NDArray[np.uint8]) -> None:
        end = self._first + len(maps)
        done = end if end == self._height else max(0, end - REACH)
        for maker in self._makers:
            maker.take(maps, self._first, done)
        kept = min(len(maps), 2 * REACH)
        self._tail, self._first = maps[len(maps) - kept :].copy(), end - kept

    def results(self) -> tuple[NDArray[Any], ...]:
        """Return the outputs, once all rows were added."""
        del self._tail
        return tuple(maker.result() for maker in self._makers)


class _Mask:
    def __init__(
        self, shape: tuple[int, int], seen: tuple[int, int], model: Model, threads: int
    ) -> None:
        self._rows, self._columns = map(resizing.nearest, shape, seen)
        self._threshold = model.nucleus_threshold
        self._mask = np.zeros(shape, np.bool_)
        self._done = 0

    def take(self, maps: NDArray[np.uint8], above: int, end: int) -> None:
        done = int(np.searchsorted(self._rows, end))
        rows = maps[self._rows[self._done : done] - above, :, 0]
        np.greater_equal(rows[:, self._columns], self._threshold, out=self._mask[self._done : done])
        self._done = done

    def result(self) -> NDArray[np.bool_]:
        return self._mask


class _Labels:
    def __init__(
        self, shape: tuple[int, int], seen: tuple[int, int], model: Model, threads: int
    ) -> None:
        rows, columns = map(resizing.nearest, shape, seen)
        self._bands = cpu.LabelBands(*seen, rows, columns, *model.label_rule())
        self._threads = threads

    def take(self, maps: NDArray[np.uint8], above: int, end: int) -> None:
        if end > self._bands.next:
            self._bands.add(maps, above, end, threads=self._threads)

    def result(self) -> NDArray[np.int32]:
        labels = self._bands.finish(threads=self._threads)
        cpu.keep_largest_pieces(labels)
        return labels


class _Maps:
    def __init__(
        self, shape: tuple[int, int], seen: tuple[int, int], model: Model, threads: int
    ) -> None:
        self._seen, self._threads = seen, threads
        self._maps = np.zeros((*shape, 2), np.uint8)
        self._done = 0

    def take(self, maps: NDArray[np.uint8], above: int, end: int) -> None:
        height, width = self._maps.shape[:2]
        done = end * height // self._seen[0]
        if done == self._done:
            return
        self._maps[self._done : done] = cpu.resize(
            maps,
            height,
            width,
            rows=(self._done, done),
            above=above,
            below=self._seen[0] - above - len(maps),
            threads=self._threads,
        )
        self._done = done

    def result(self) -> NDArray[np.uint8]:
        return self._maps


_MAKERS: dict[str, type[_Mask] | type[_Labels] | type[_Maps]] = {
    "mask": _Mask,
    "labels": _Labels,
    "maps": _Maps,
}
