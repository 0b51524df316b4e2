"""Outlines and measurements as GeoParquet 1.1, for geopandas, DuckDB, QGIS and others.

https://geoparquet.org/releases/v1.1.0/. Coordinates are (x, y) in pixels, y downwards, so the
coordinate reference system is null, which means unknown.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import extras, parquets
from nucleiseg.outputs.outlines import Outline, Part, Ring
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "geoparquet", "GeoParquet outlines"
ABOUT = "outlines and measurements"
MAPS = True
ENDING = "_outlines.parquet"

NEEDS = "pyarrow"

COMPRESSION = "zstd"
"""Smaller than snappy at about the same speed."""

GEOMETRY, BOX = "geometry", "bbox"
CORNERS = ("xmin", "ymin", "xmax", "ymax")

_LITTLE_ENDIAN, _POLYGON, _MULTIPOLYGON = 1, 3, 6
_HEAD = "<BII"
"""Header of well-known binary: byte order, type of geometry, number of rings or polygons."""

_TYPES = {"Polygon": False, "MultiPolygon": True}
"""Types of geometry, and whether each has several parts."""


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the table with polygons; ModuleNotFoundError without the package pyarrow."""
    arrow = extras.load(NEEDS)
    columns = arrow.table(dict(result.table))
    top, left, bottom, right = (np.asarray(result.table[f"bbox-{side}"]) for side in range(4))
    corners = [each.astype(np.float64) for each in (left, top, right, bottom)]
    polygons = arrow.array(well_known_binary(result.outlines), arrow.binary())
    table = with_polygons(columns, corners, polygons)
    several = {len(outline.parts) > 1 for outline in result.outlines}
    types = [name for name, is_there in _TYPES.items() if is_there in several]
    ends = [corners[0].min, corners[1].min, corners[2].max, corners[3].max]
    metadata = geo(types, [float(end()) for end in ends] if len(table) else None)
    with writer(file, table.schema) as output:
        output.write_table(table)
        output.add_key_value_metadata(metadata)


def well_known_binary(outlines: Iterable[Outline]) -> list[bytes]:
    """Return each outline as a polygon, or as a multipolygon if it has several parts."""
    return [_geometry(outline) for outline in outlines]


def with_polygons(table: Any, corners: Iterable[NDArray[Any]], polygons: Any) -> Any:
    """Return a ``pyarrow.Table`` with columns for boxes and polygons.

    Parameters
    ----------
    table : pyarrow.Table
    corners : iterable of ndarray, (n,)
        The least x and y, and the greatest.
    polygons : pyarrow.Array
        In well-known binary.
    """
    columns = [parquets.column(corner) for corner in corners]
    box = extras.load(NEEDS).StructArray.from_arrays(columns, CORNERS)
    return table.append_column(BOX, box).append_column(GEOMETRY, polygons)


def writer(file: BinaryIO, schema: Any) -> Any:
    """Return a ``pyarrow.parquet.ParquetWriter`` for a table with polygons."""
    plain = [name for name in schema.names if name != GEOMETRY]
    return extras.load("pyarrow.parquet").ParquetWriter(
        file,
        schema,
        compression=COMPRESSION,
        use_dictionary=[name for name in plain if name != BOX],
        # Least and greatest bytes of a polygon mean nothing; those of boxes find rows by place.
        write_statistics=[*(n for n in plain if n != BOX), *(f"{BOX}.{c}" for c in CORNERS)],
    )


def geo(types: list[str], bounds: list[float] | None) -> dict[str, str]:
    """Return the metadata that makes Parquet GeoParquet.

    Parameters
    ----------
    types : list of str
        Of geometry that there are: "Polygon", "MultiPolygon".
    bounds : list of float, or None
        The least x and y, and the greatest, of all; None where there are no polygons.
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": types,
        "crs": None,
        "covering": {"bbox": {corner: [BOX, corner] for corner in CORNERS}},
    }
    if bounds:
        column["bbox"] = bounds
    whole = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
    return {"geo": json.dumps(whole)}


def _geometry(outline: Outline) -> bytes:
    polygons = [_polygon(part) for part in outline.parts]
    if len(polygons) == 1:
        return polygons[0]
    head = struct.pack(_HEAD, _LITTLE_ENDIAN, _MULTIPOLYGON, len(polygons))
    return head + b"".join(polygons)


def _polygon(part: Part) -> bytes:
    head = struct.pack(_HEAD, _LITTLE_ENDIAN, _POLYGON, len(part))
    return head + b"".join(map(_ring, part))


def _ring(ring: Ring) -> bytes:
    """Return the points of a ring, the first of which is repeated at the end."""
    points = np.concatenate([ring, ring[:1]])[:, ::-1].astype("<f8")
    return struct.pack("<I", len(points)) + points.tobytes()
