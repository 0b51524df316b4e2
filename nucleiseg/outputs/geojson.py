"""GeoJSON as QuPath reads it: a detection of class Nucleus, with its outline and measurements.

Coordinates are (x, y) in pixels of the image, from the upper left corner of its upper left pixel,
which is QuPath's frame too. Classification, measurements and plane have the form in which QuPath
has written and read them since 0.4.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO

from nucleiseg.outputs.outlines import Outline, Part, Ring
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "geojson", "GeoJSON outlines"
ABOUT = "outlines for QuPath"
MAPS = True
ENDING = "_nuclei.geojson"

CLASSIFICATION = {"name": "Nucleus", "color": [0, 200, 0]}

DIGITS = 4
"""Significant digits of measurements."""

_MEASURED = (
    ("Area", "area", 2),
    ("Perimeter", "perimeter_crofton", 1),
    ("Circularity", "circularity", 0),
    ("Solidity", "solidity", 0),
    ("Diameter", "equivalent_diameter_area", 1),
    ("Confidence", "probability_mean", 0),
)
"""QuPath's word, the column, and which power of a length it is."""

_ALL_CHANNELS = -1
"""QuPath's number of the channel for what belongs to none."""


def measurement(word: str, power: int, unit: str = "µm") -> str:
    """Return QuPath's name for a measurement: ``"Nucleus: Area µm^2"``."""
    return f"Nucleus: {word}{('', f' {unit}', f' {unit}^2')[power]}"


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
    columns = _columns(result)
    plane = _plane(result.plane)
    for row, outline in enumerate(result.outlines):
        geometry = _geometry(outline)
        # The same nucleus has the same id in every run, so that outputs can be compared.
        identity = _id(f"{result.name}{result.plane} {geometry['coordinates']}")
        measured = {name: float(f"{values[row]:.{DIGITS}g}") for name, values in columns.items()}
        yield {
            "type": "Feature",
            "id": identity,
            "geometry": geometry | plane,
            "properties": {
                "objectType": "detection",
                "name": str(outline.label),
                "classification": CLASSIFICATION,
                "measurements": {k: v for k, v in measured.items() if math.isfinite(v)},
            },
        }


def _columns(result: Segmented) -> dict[str, list[float]]:
    """Return the measurements by QuPath's names, in micrometres where they are known."""
    unit, endings = ("µm", ("", "_um", "_um2")) if result.mpp else ("px", ("",) * 3)
    return {
        measurement(word, power, unit): result.table[column + endings[power]].tolist()
        for word, column, power in _MEASURED
        if column in result.table
    }


def _plane(suffix: str) -> dict[str, Any]:
    """Return the member of a geometry that places it in a stack; none where there is one plane."""
    found = {axis: int(number) for axis, number in re.findall(r"_([zt])(\d+)", suffix)}
    if not found:
        return {}
    return {"plane": {"c": _ALL_CHANNELS, "z": found.get("z", 0), "t": found.get("t", 0)}}


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
