"""Label images as TIFF: 16 bits, 32 beyond 65,535 nuclei, with the size of a pixel."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import tifffile

from nucleiseg.outputs import labels
from nucleiseg.outputs.segmented import Segmented

ENDING = "_labels.tif"

LARGE = 4096 * 4096
"""Pixels above which the file is in tiles, so that viewers can read parts of it."""

TILE = 512

_UM_PER_CM = 1e4


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the labels."""
    tifffile.imwrite(
        file,
        result.labels.astype(np.uint32 if len(result) > labels.MOST else np.uint16),
        photometric="minisblack",
        compression="zlib",
        tile=(TILE, TILE) if result.labels.size > LARGE else None,
        resolution=(_UM_PER_CM / result.mpp,) * 2 if result.mpp else None,
        resolutionunit="CENTIMETER" if result.mpp else None,
        metadata=None,
        software="nucleiseg",
    )
