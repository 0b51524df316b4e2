"""Outlines and measurements of a slide as GeoParquet, in pixels of level 0.

See `nucleiseg.outputs.geoparquet`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import geoparquet
from nucleiseg.slides.nuclei import Nuclei
from nucleiseg.slides.outputs.grouped import part
from nucleiseg.slides.outputs.parquet_table import ParquetTable

_HEADER = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4")])
"""Well-known binary of a polygon with one ring, before the points: (x, y) as little-endian float64,
the first repeated at the end."""

_LITTLE_ENDIAN, _POLYGON = 1, 3
_POINT_BYTES = 16

_BATCH = 2048
"""Nuclei whose polygons are made at once: what that takes beside them is several times as much."""


class GeoParquet(ParquetTable):
    """Writes ``outlines.parquet``: the columns of the table, and the polygon and its box.

    Raises
    ------
    ModuleNotFoundError
        When constructed: the package pyarrow is not installed.
    """

    about = "outlines and measurements"
    name = "outlines.parquet"

    def _open(self, path: Path) -> None:
        super()._open(path)
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
        if len(nuclei):
            self._low = np.minimum(self._low, low.min(axis=0))
            self._high = np.maximum(self._high, high.max(axis=0))
        offsets, data = well_known_binary(nuclei)
        buffers = [None, arrow.py_buffer(offsets), arrow.py_buffer(data)]
        polygons = arrow.Array.from_buffers(arrow.binary(), len(nuclei), buffers)
        return geoparquet.with_polygons(table, [*low.T, *high.T], polygons)

    def _new_writer(self, schema: Any) -> Any:
        return geoparquet.writer(self._file, schema)


def boxes(nuclei: Nuclei) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the least and the greatest (x, y) of each outline, (n, 2) float32 each."""
    points = nuclei.outline_points[:, ::-1]
    if not len(nuclei):
        return points, points
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


def well_known_binary(nuclei: Nuclei) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return outlines as polygons in well-known binary, one after the other.

    Returns
    -------
    offsets : ndarray, (n + 1,) int32
        Polygon i is ``data[offsets[i] : offsets[i + 1]]``.
    data : ndarray, (bytes,) uint8
    """
    count = len(nuclei)
    offsets = _starts(nuclei)
    data = np.empty(offsets[-1], np.uint8)
    for first in range(0, count, _BATCH):
        last = min(first + _BATCH, count)
        data[offsets[first] : offsets[last]] = _polygons(part(nuclei, first, last))
    return offsets.astype(np.int32), data


def _starts(nuclei: Nuclei) -> NDArray[np.int64]:
    """Return where each polygon begins, and the end of the last, (n + 1,)."""
    before = np.arange(len(nuclei) + 1)
    return (nuclei.outline_offsets + before) * _POINT_BYTES + before * _HEADER.itemsize


def _polygons(nuclei: Nuclei) -> NDArray[np.uint8]:
    rings, indices = closed(nuclei)
    offsets = _starts(nuclei)
    headers = np.empty(len(nuclei), _HEADER)
    headers["order"], headers["type"], headers["rings"] = _LITTLE_ENDIAN, _POLYGON, 1
    headers["points"] = np.diff(rings)
    is_header = np.zeros(offsets[-1], np.bool_)
    is_header[offsets[:-1, None] + np.arange(_HEADER.itemsize)] = True
    data = np.empty(offsets[-1], np.uint8)
    data[is_header] = headers.view(np.uint8)
    points = nuclei.outline_points[indices, ::-1].astype("<f8")
    data[~is_header] = points.view(np.uint8).ravel()
    return data
