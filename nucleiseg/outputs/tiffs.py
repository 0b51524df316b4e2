"""Label images as OME-TIFF: 16 bits, 32 beyond 65,535 nuclei, with the size of a pixel."""

from __future__ import annotations

import uuid
from typing import Any, BinaryIO

import numpy as np
import tifffile

from nucleiseg.names import printable
from nucleiseg.outputs import labels
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "tiff", "OME-TIFF labels"
ABOUT = "labels as OME-TIFF, with the pixel size"
ENDING = "_labels.ome.tif"

LARGE = 4096 * 4096
"""Pixels above which the file is in tiles, so that viewers can read parts of it."""

TILE = 512

_UM_PER_CM = 1e4


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the labels. The size of a pixel is in the OME-XML, and in TIFF's own tags."""
    tifffile.imwrite(
        file,
        result.labels.astype(np.uint32 if len(result) > labels.MOST else np.uint16),
        ome=True,
        photometric="minisblack",
        compression="zlib",
        tile=(TILE, TILE) if result.labels.size > LARGE else None,
        resolution=(_UM_PER_CM / result.mpp,) * 2 if result.mpp else None,
        resolutionunit="CENTIMETER" if result.mpp else None,
        metadata=_metadata(result),
        software="nucleiseg",
    )


def _metadata(result: Segmented) -> dict[str, Any]:
    """Return what goes into the OME-XML, which is the same in every run."""
    name = printable(f"{result.name}{result.plane} nuclei")
    sizes: dict[str, Any] = {}
    for axis in ("X", "Y") if result.mpp else ():
        sizes[f"PhysicalSize{axis}"] = result.mpp
        sizes[f"PhysicalSize{axis}Unit"] = "µm"
    identity = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
    return {"axes": "YX", "Name": name, "UUID": identity, "Creator": "nucleiseg", **sizes}
