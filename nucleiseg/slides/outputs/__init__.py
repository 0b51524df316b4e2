"""The files that a whole slide becomes, written while it is segmented: one module a format.

An output takes nuclei and labels bit by bit, keeps nothing of the size of the slide in memory, and
writes the same bytes however they are divided. See `nucleiseg.slides.nuclei.Output`.
"""

from __future__ import annotations

from typing import Any

from nucleiseg.slides.outputs.density import DensityMap
from nucleiseg.slides.outputs.dicom import DicomAnnotations
from nucleiseg.slides.outputs.geojson import GeoJson
from nucleiseg.slides.outputs.geoparquet import GeoParquet
from nucleiseg.slides.outputs.ome_zarr import OmeZarrLabels
from nucleiseg.slides.outputs.report import SlideReport
from nucleiseg.slides.outputs.tables import CsvTable, ParquetTable

__all__ = ["OUTPUTS", "make"]

OUTPUTS: dict[str, Any] = {
    "zarr": OmeZarrLabels,
    "geoparquet": GeoParquet,
    "parquet": ParquetTable,
    "csv": CsvTable,
    "geojson": GeoJson,
    "dicom": DicomAnnotations,
    "density": DensityMap,
    "report": SlideReport,
}
"""Formats by name."""


def make(formats: str, measurements: str = "few", compression: str = "none") -> list[Any]:
    """Return outputs of some formats, for one slide after the other.

    Parameters
    ----------
    formats : str
        Names of `OUTPUTS`, separated by commas. A name that comes again is one output.
    measurements, compression : str
        Of `GeoJson`.

    Raises
    ------
    ValueError
        A format or an option is unknown.
    ModuleNotFoundError
        A format needs a package that is not installed.
    """
    chosen = list(dict.fromkeys(map(str.strip, formats.split(","))))
    for name in chosen:
        if name not in OUTPUTS:
            raise ValueError(f"formats: got {name!r}; accepted are {', '.join(OUTPUTS)}")
    options = {"geojson": (measurements, compression)}
    return [OUTPUTS[name](*options.get(name, ())) for name in chosen]
