"""Masks: 8-bit PNG, 255 where nucleus and 0 elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nucleiseg import images
from nucleiseg._native import cpu
from nucleiseg.outputs.result import Result, beside

ENDINGS = ("_mask.png",)


def save(stem: Path, result: Result) -> Path:
    """Write ``<stem>_mask.png`` and return its path.

    Raises
    ------
    OSError
        See `nucleiseg.images.write`.
    """
    path = beside(stem, ENDINGS[0])
    images.write(path, cpu.png(result.mask.view(np.uint8) * np.uint8(255)))
    return path
