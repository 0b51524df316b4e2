"""The files that a whole slide becomes, written while it is segmented: one module a format.

An output takes nuclei and labels bit by bit, keeps nothing of the size of the slide in memory, and
writes the same bytes however they are divided. See `nucleiseg.slides.nuclei.Output`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nucleiseg.slides.outputs.csv_table import CsvTable
from nucleiseg.slides.outputs.geojson import GeoJson
from nucleiseg.slides.outputs.geoparquet import GeoParquet
from nucleiseg.slides.outputs.ome_zarr import OmeZarrLabels
from nucleiseg.slides.outputs.parquet_table import ParquetTable

__all__ = ["OUTPUTS"]

OUTPUTS: dict[str, Callable[..., Any]] = {
    "zarr": OmeZarrLabels,
    "geoparquet": GeoParquet,
    "parquet": ParquetTable,
    "csv": CsvTable,
    "geojson": GeoJson,
}
"""Formats by name. Each is made without arguments, before anything is segmented, and then raises
`ModuleNotFoundError` if it needs a package that is not installed."""
