"""Outlines and measurements of a slide as GeoParquet, in pixels of level 0.

See `nucleiseg.outputs.geoparquet`.
"""

from __future__ import annotations

import itertools
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import geoparquet
from nucleiseg.slides.nuclei import Nuclei
from nucleiseg.slides.outputs.tables import ParquetTable

_HEADER = struct.Struct("<BIII")
"""Well-known binary of a polygon before its points: byte order, type, rings, points. The points
are (x, y) as little-endian float64, the first repeated at the end."""

_LITTLE_ENDIAN, _POLYGON = 1, 3
_POINT_BYTES = 16


class GeoParquet(ParquetTable):
    """Writes ``outlines.parquet``: the columns of the table, and the polygon and its box.

    Raises
    ------
    ModuleNotFoundError
        When constructed: the package pyarrow is not installed.
    """

    about = "outlines and measurements"
    name = "outlines.parquet"

    def _open(self) -> None:
        super()._open()
        self._low = np.full(2, np.inf)
        self._high = np.full(2, -np.inf)

    def _complete(self) -> None:
        known = bool(np.isfinite(self._low).all())
        bounds = [*self._low.tolist(), *self._high.tolist()] if known else None
        self._writer.add_key_value_metadata(geoparquet.geo(["Polygon"], bounds))

    def _table(self, nuclei: Nuclei) -> Any:
        arrow = self._pyarrow
        table = super()._table(nuclei)
        low, high = boxes(nuclei)
        self._low = np.minimum(self._low, low.min(axis=0, initial=np.inf))
        self._high = np.maximum(self._high, high.max(axis=0, initial=-np.inf))
        offsets, data = well_known_binary(nuclei)
        buffers = [None, arrow.py_buffer(offsets), arrow.py_buffer(data)]
        polygons = arrow.Array.from_buffers(arrow.binary(), len(nuclei), buffers)
        return geoparquet.with_polygons(table, [*low.T, *high.T], polygons)

    def _new_writer(self, schema: Any) -> Any:
        return geoparquet.writer(self._file, schema)


def boxes(nuclei: Nuclei) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the least and the greatest (x, y) of each outline, (n, 2) float32 each."""
    points = nuclei.outline_points[:, ::-1]
    first = nuclei.outline_offsets[:-1]
    return np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)


def closed(nuclei: Nuclei) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the points of rings that end with their first point.

    Returns
    -------
    offsets : ndarray, (n + 1,) int64
        Ring i is ``indices[offsets[i] : offsets[i + 1]]``.
    indices : ndarray, (m + n,) int64
        Into ``nuclei.outline_points``.
    """
    count = len(nuclei)
    offsets = nuclei.outline_offsets + np.arange(count + 1)
    indices = np.arange(offsets[-1]) - np.repeat(np.arange(count), np.diff(offsets))
    indices[offsets[1:] - 1] = nuclei.outline_offsets[:-1]
    return offsets, indices


def well_known_binary(nuclei: Nuclei) -> tuple[NDArray[np.int32], bytes]:
    """Return outlines as polygons in well-known binary, one after the other.

    Returns
    -------
    offsets : ndarray, (n + 1,) int32
        Polygon i is ``data[offsets[i] : offsets[i + 1]]``.
    data : bytes
    """
    rings, indices = closed(nuclei)
    points = memoryview(nuclei.outline_points[indices, ::-1].astype("<f8").tobytes())
    parts: list[bytes | memoryview] = []
    for first, last in itertools.pairwise(rings.tolist()):
        parts.append(_HEADER.pack(_LITTLE_ENDIAN, _POLYGON, 1, last - first))
        parts.append(points[first * _POINT_BYTES : last * _POINT_BYTES])
    offsets = rings * _POINT_BYTES + np.arange(len(rings)) * _HEADER.size
    return offsets.astype(np.int32), b"".join(parts)
