"""The measurements of nuclei as columns, in pixels and, where known, in micrometres."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.outputs import extras

LENGTHS = (
    "centroid-0",
    "centroid-1",
    "equivalent_diameter_area",
    "axis_major_length",
    "axis_minor_length",
    "perimeter_crofton",
)
"""Columns in pixels, which have a twin that ends in ``_um``."""

AREAS = ("area",)
"""Columns in square pixels, which have a twin that ends in ``_um2``."""

_ROWS = 4096
"""Rows that are converted to Python objects at once."""


class Table(dict[str, NDArray[Any]]):
    """Columns of n measurements each, one for each nucleus, in the order of their labels.

    See ``docs/outputs.md`` for the columns.
    """

    @classmethod
    def of(
        cls,
        image: NDArray[Any],
        labels: NDArray[np.int32],
        maps: NDArray[np.uint8] | None,
        mpp: float | None,
        ring: int,
        threads: int = 1,
    ) -> Table:
        """Return the measurements of all nuclei.

        Parameters
        ----------
        image : ndarray, (H, W) or (H, W, C)
            A fourth channel is alpha and left out.
        labels : ndarray, (H, W) int32
        maps : ndarray, (H, W, 2) uint8, or None
            None leaves out the column of probabilities.
        mpp : float or None
            Micrometres per pixel. None leaves out the columns in micrometres.
        ring : int
            Pixels around a nucleus within which the background is measured.
        threads : int
        """
        pixels = image[..., :3] if image.ndim == 3 else image
        measured = cpu.measure(labels, pixels, maps, ring=ring, threads=threads)
        columns = cls()
        for name, values in measured.items():
            columns[name] = values
            if mpp and name in LENGTHS:
                columns[f"{name}_um"] = values * mpp
            if mpp and name in AREAS:
                columns[f"{name}_um2"] = values * mpp**2
        return columns

    def rows(self, unknown: Any = np.nan) -> Iterator[tuple[Any, ...]]:
        """Yield row after row, of Python's own numbers, with ``unknown`` for what is not known."""
        columns = list(self.values())
        for first in range(0, len(columns[0]), _ROWS):
            some = (_listed(values[first : first + _ROWS], unknown) for values in columns)
            yield from zip(*some, strict=True)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``, with the labels as a column.

        Raises
        ------
        ModuleNotFoundError
            pandas is not installed.
        """
        return extras.load("pandas").DataFrame(dict(self))


def _listed(values: NDArray[Any], unknown: Any) -> list[Any]:
    listed: list[Any] = values.tolist()
    if values.dtype.kind == "f":
        for index in np.flatnonzero(np.isnan(values)):
            listed[index] = unknown
    return listed
