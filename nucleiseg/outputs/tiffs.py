"""Label images as TIFF: 16 bits, 32 beyond 65,535 nuclei, with the size of a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from nucleiseg import images
from nucleiseg.outputs.result import Result, beside

ENDINGS = ("_labels.tif",)

LARGE = 4096 * 4096
"""Pixels above which the file is in tiles, so that viewers can read parts of it."""

TILE = 512

_UM_PER_CM = 1e4


def save(stem: Path, result: Result) -> Path:
    """Write ``<stem>_labels.tif`` and return its path.

    Raises
    ------
    OSError
        See `nucleiseg.images.write`.
    """
    path = beside(stem, ENDINGS[0])
    labels = result.labels
    deep = result.nuclei > np.iinfo(np.uint16).max
    with images.writing(path) as file:
        tifffile.imwrite(
            file,
            labels.astype(np.uint32 if deep else np.uint16),
            photometric="minisblack",
            compression="zlib",
            tile=(TILE, TILE) if labels.size > LARGE else None,
            resolution=(_UM_PER_CM / result.mpp,) * 2 if result.mpp else None,
            resolutionunit="CENTIMETER" if result.mpp else None,
            metadata=None,
            software="nucleiseg",
        )
    return path
