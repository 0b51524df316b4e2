"""Label images: one number a nucleus, 0 for the background.

16-bit PNG, which every viewer opens, as long as the numbers fit; a 32-bit TIFF otherwise.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile

from nucleiseg import images
from nucleiseg.outputs.result import Result, beside

ENDINGS = ("_labels.png", "_labels.tif")


def save(stem: Path, result: Result) -> Path:
    """Write ``<stem>_labels.png``, or ``.tif`` beyond 65,535 nuclei, and return its path.

    Raises
    ------
    OSError
        See `nucleiseg.images.write`.
    """
    png, tiff = (beside(stem, ending) for ending in ENDINGS)
    if result.nuclei <= np.iinfo(np.uint16).max:
        images.write_png(png, result.labels.astype(np.uint16))
        return png
    file = io.BytesIO()
    tifffile.imwrite(file, result.labels.astype(np.uint32), compression="zlib")
    images.write(tiff, file.getvalue())
    return tiff
