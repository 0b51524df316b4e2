"""Images without a pyramid, which are held in memory: PNG, JPEG, NumPy and others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images
from nucleiseg.slides.slide import Slide


class PlainSlide(Slide):
    """An image of one level.

    Raises
    ------
    ValueError
        See `nucleiseg.images.open`.
    """

    def __init__(self, path: Path, channel: int | None) -> None:
        plane = next(images.open(path, channel=channel))
        self.path, self.mpp = path, plane.mpp
        self._pixels = plane.array
        self.levels = [self._pixels.shape[:2]]

    def read(self, level: int, row: int, column: int, height: int, width: int) -> NDArray[Any]:
        """Read a rectangle."""
        part = self._pixels[row : row + height, column : column + width]
        return np.ascontiguousarray(part[..., :3] if part.ndim == 3 else part)
