"""The files that a whole slide becomes, written while it is segmented: one module a format.

An output takes nuclei and labels bit by bit, keeps nothing of the size of the slide in memory, and
writes the same bytes however they are divided. See `nucleiseg.slides.nuclei.Output`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nucleiseg.slides.outputs.csv_table import CsvTable
from nucleiseg.slides.outputs.density import DensityMap
from nucleiseg.slides.outputs.dicom import DicomAnnotations
from nucleiseg.slides.outputs.geojson import GeoJson
from nucleiseg.slides.outputs.geoparquet import GeoParquet
from nucleiseg.slides.outputs.ome_zarr import OmeZarrLabels
from nucleiseg.slides.outputs.parquet_table import ParquetTable
from nucleiseg.slides.outputs.report import SlideReport

__all__ = ["OPTIONS", "OUTPUTS", "make"]

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

OPTIONS = {
    "geojson": ("measurements", "compression"),
    "density": ("picture",),
    "report": ("picture", "good_diameters"),
}
"""Which options of `make` a format takes."""


def make(names: Iterable[str], **options: Any) -> list[Any]:
    """Return outputs of some formats.

    Parameters
    ----------
    names : iterable of str
        Of `OUTPUTS`. A name that comes again is one output.
    options
        ``measurements`` and ``compression`` of `GeoJson`, ``picture`` of `DensityMap` and
        `SlideReport`, ``good_diameters`` of `SlideReport`.

    Raises
    ------
    ValueError
        A name or the value of an option is unknown.
    ModuleNotFoundError
        A format needs a package that is not installed.
    """
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in OUTPUTS:
            raise ValueError(f"formats: got {name!r}; accepted are {', '.join(OUTPUTS)}")
    return [
        OUTPUTS[name](**{key: options[key] for key in OPTIONS.get(name, ()) if key in options})
        for name in chosen
    ]
