"""Label images: one number a nucleus, 0 for the background.

16-bit PNG, which every viewer opens, as long as the numbers fit; a 32-bit TIFF otherwise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nucleiseg import images
from nucleiseg._native import cpu
from nucleiseg.outputs import tiffs
from nucleiseg.outputs.result import Result, beside

ENDINGS = ("_labels.png", *tiffs.ENDINGS)


def save(stem: Path, result: Result) -> Path:
    """Write ``<stem>_labels.png``, or ``.tif`` beyond 65,535 nuclei, and return its path.

    Raises
    ------
    OSError
        See `nucleiseg.images.write`.
    """
    if result.nuclei > np.iinfo(np.uint16).max:
        return tiffs.save(stem, result)
    path = beside(stem, ENDINGS[0])
    images.write(path, cpu.png(result.labels.astype(np.uint16)))
    return path
