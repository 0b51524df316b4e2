"""Nuclei as SpatialData: a Zarr store with their shapes and the table that belongs to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nucleiseg.outputs import anndatas, extras
from nucleiseg.outputs.geoparquet import well_known_binary
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "spatialdata", "SpatialData shapes"
ABOUT = "shapes and table for scverse"
MAPS = True
FOLDER = True
ENDING = "_spatialdata.zarr"

NEEDS = "spatialdata"

SHAPES, TABLE = "nuclei", "table"

_REGION, _INSTANCE = "region", "label"


def write(result: Segmented, folder: Path) -> None:
    """Write the store, without elements if there are no nuclei.

    Raises
    ------
    ModuleNotFoundError
        The package spatialdata is not installed.
    ValueError
        The folder has a name that is not UTF-8, which the library cannot write to.
    """
    try:
        os.fsencode(folder).decode()
    except UnicodeDecodeError:
        raise ValueError(
            "spatialdata: got a folder with a name that is not UTF-8; accepted is UTF-8"
        ) from None
    library = extras.load(NEEDS)
    settings = extras.load("anndata").settings
    if getattr(settings, "auto_shard_zarr_v3", False) is None:
        settings.auto_shard_zarr_v3 = False  # its default, about which it would warn otherwise
    elements = {}
    if len(result):
        elements = {"shapes": {SHAPES: _shapes(result)}, "tables": {TABLE: _table(result)}}
    try:
        library.SpatialData(**elements).write(folder)
    except OSError as error:
        if not error.errno:
            raise
        # Arrow and Zarr have words of their own for a full disk.
        raise OSError(error.errno, os.strerror(error.errno)) from None


def _shapes(result: Segmented) -> Any:
    """Return the polygons, in pixels and, where their size is known, in micrometres."""
    transformations = extras.load("spatialdata.transformations")
    systems = {"global": transformations.Identity()}
    if result.mpp:
        systems["micrometers"] = transformations.Scale([result.mpp] * 2, axes=("x", "y"))
    polygons = extras.load("shapely").from_wkb(well_known_binary(result.outlines))
    labels = result.table[_INSTANCE]
    frame = extras.load("geopandas").GeoDataFrame(geometry=polygons, index=labels)
    return extras.load("spatialdata.models").ShapesModel.parse(frame, transformations=systems)


def _table(result: Segmented) -> Any:
    nuclei = anndatas.of(result)
    nuclei.obs[_REGION] = extras.load("pandas").Categorical([SHAPES] * len(result))
    return extras.load("spatialdata.models").TableModel.parse(
        nuclei, region=SHAPES, region_key=_REGION, instance_key=_INSTANCE
    )
