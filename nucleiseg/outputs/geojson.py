"""GeoJSON as QuPath reads it: a detection for each nucleus, with its outline and measurements.

Coordinates are (x, y) in pixels of the image, from the upper left corner of its upper left pixel,
which is QuPath's frame too. Measurements are an object of names and numbers, as QuPath has written
and read them since 0.4.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO

from nucleiseg.outputs.outlines import Outline, Part, Ring
from nucleiseg.outputs.segmented import Segmented

ENDING = "_nuclei.geojson"


def write(result: Segmented, file: BinaryIO) -> None:
    """Write nucleus after nucleus."""
    file.write(b'{"type":"FeatureCollection","features":[')
    separator = b"\n"
    for feature in features(result):
        # QuPath would read NaN, but it is no JSON.
        text = json.dumps(feature, separators=(",", ":"), allow_nan=False)
        file.write(separator + text.encode())
        separator = b",\n"
    file.write(b"\n]}\n")


def features(result: Segmented) -> Iterator[dict[str, Any]]:
    """Yield the feature of each nucleus, with an id that no other image's nuclei have."""
    columns = list(result.table)
    for outline, row in zip(result.outlines, result.table.rows(), strict=True):
        geometry = _geometry(outline)
        measurements = dict(zip(columns, map(float, row), strict=True))
        yield {
            "type": "Feature",
            # The same nucleus has the same id in every run, so that outputs can be compared.
            "id": _id(f"{result.name}{result.plane} {geometry['coordinates']}"),
            "geometry": geometry,
            "properties": {
                "objectType": "detection",
                "measurements": {k: v for k, v in measurements.items() if math.isfinite(v)},
            },
        }


def _id(name: str) -> str:
    """Return what `uuid.uuid5` makes of a name, which may hold bytes that are not UTF-8."""
    data = uuid.NAMESPACE_OID.bytes + name.encode("utf-8", "surrogateescape")
    digest = hashlib.sha1(data, usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def _geometry(outline: Outline) -> dict[str, Any]:
    polygons = [_polygon(part) for part in outline.parts]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _polygon(part: Part) -> list[list[list[int]]]:
    return [_closed(ring) for ring in part]


def _closed(ring: Ring) -> list[list[int]]:
    points: list[list[int]] = ring[:, ::-1].tolist()
    return [*points, points[0]]
