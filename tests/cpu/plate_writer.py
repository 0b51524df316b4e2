"""Small plates of OME-Zarr, written by ome-zarr, which needs version 3 of zarr."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from ome_zarr.format import FormatV04
from ome_zarr.writer import write_multiscale, write_plate_metadata, write_well_metadata

WELLS = {"B/03": ["0", "1"], "C/11": ["0"]}
"""The wells of a plate, and the fields of each."""


def write(
    path: Path,
    pixels: Iterable[np.ndarray],
    version: Any = FormatV04,
    channels: Iterable[str] = (),
) -> None:
    """Write a plate of which each field is one of the pixels, (C, H, W), with channels' names."""
    labels = [{"label": name, "color": "FFFFFF"} for name in channels]
    about = {"metadata": {"omero": {"channels": labels}}} if labels else {}
    root = zarr.open_group(str(path), mode="w", zarr_format=version().zarr_format)
    write_plate_metadata(root, ["B", "C"], ["03", "11"], list(WELLS), fmt=version())
    fields = iter(pixels)
    for well, names in WELLS.items():
        group = root.require_group(well)
        write_well_metadata(group, names, fmt=version())
        for name in names:
            field = group.require_group(name)
            steps = [[{"type": "scale", "scale": [1, 0.325, 0.325]}]]
            axes = [
                {"name": "c", "type": "channel"},
                *({"name": name, "type": "space", "unit": "micrometer"} for name in "yx"),
            ]
            write_multiscale(
                [next(fields)],
                field,
                axes=axes,
                fmt=version(),
                coordinate_transformations=steps,
                **deepcopy(about),  # it takes out what it has read
            )
