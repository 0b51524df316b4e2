"""Slides of scanners, through OpenSlide: SVS, NDPI, MRXS, SCN, BIF, DICOM and others."""

from __future__ import annotations

import glob
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.readers.units import pixel_size
from nucleiseg.slides.slide import Slide, fill

GENERIC = "generic-tiff"
"""OpenSlide's name for TIFF of no scanner, which `nucleiseg.slides.tiff_reader` reads."""

_BLOCK = 512


def detected(path: Path) -> str | None:
    """Return the scanner's format; None where it is none, or OpenSlide is not installed."""
    try:
        import openslide
    except ImportError:
        return None
    try:
        found = openslide.OpenSlide.detect_format(str(path))
    except openslide.OpenSlideError:
        return None
    return None if found in (None, GENERIC) else str(found)


class OpenSlideSlide(Slide):
    """A slide that OpenSlide reads.

    Raises
    ------
    ValueError
        It is damaged, or has a level without pixels.
    """

    def __init__(self, path: Path, vendor: str) -> None:
        import openslide

        self.path, self._vendor = path, vendor
        self._library = openslide
        self._lock = threading.Lock()
        self._file = self._opened()
        self.levels = [(height, width) for width, height in self._file.level_dimensions]
        if not self.levels or min(map(min, self.levels)) < 1:
            raise ValueError(f"{path}: is damaged: it has a level without pixels")
        properties = self._file.properties
        self._background = _colour(properties.get("openslide.background-color", "FFFFFF"))
        try:
            sides = [float(properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
        except (KeyError, ValueError):
            sides = [0.0, 0.0]
        self.mpp = pixel_size(*sides)

    @property
    def files(self) -> list[Path]:
        """The file, and what MRXS and DICOM keep beside it."""
        if self._vendor == "mirax":
            return [self.path, self.path.with_suffix("")]
        if self._vendor == "dicom":
            return sorted(self.path.parent.glob(f"*{glob.escape(self.path.suffix)}"))
        return [self.path]

    def _opened(self) -> Any:
        try:
            return self._library.OpenSlide(str(self.path))
        except self._library.OpenSlideError as error:
            raise ValueError(
                f"{self.path}: is damaged, or of a kind that OpenSlide does not read: {error}"
            ) from None

    def read(self, level: int, row: int, column: int, height: int, width: int) -> NDArray[Any]:
        """Read a rectangle."""
        if level == 0:
            return self._block(level, row, column, height, width)

        # A pixel of another level has no whole place in level 0, by which OpenSlide counts: blocks
        # of a fixed grid give the same pixels wherever a rectangle begins.
        def block(down: int, right: int) -> NDArray[Any]:
            place = down * _BLOCK, right * _BLOCK
            sides = (min(_BLOCK, whole - at) for whole, at in zip(size, place, strict=True))
            return self._block(level, *place, *sides)

        size = self.levels[level]
        pixels = np.empty((height, width, 3), np.uint8)
        fill(pixels, row, column, (_BLOCK, _BLOCK), block)
        return pixels

    def _block(self, level: int, row: int, column: int, height: int, width: int) -> NDArray[Any]:
        file = self._file
        step = file.level_downsamples[level]
        place = round(column * step), round(row * step)
        try:
            picture = np.asarray(file.read_region(place, level, (width, height)))
        except self._library.OpenSlideError as error:
            self._reopen(file)
            raise ValueError(
                f"{self.path}: is damaged near row {place[1]:,}, column {place[0]:,}: {error}"
            ) from None
        pixels = np.ascontiguousarray(picture[..., :3])
        if picture[..., 3].min() < 255:
            # Where the scanner took nothing.
            pixels[picture[..., 3] < 128] = self._background
        return pixels

    def _reopen(self, broken: Any) -> None:
        """Open the file again: after an error OpenSlide reads nothing more."""
        with self._lock:
            if self._file is broken:
                self._file = self._opened()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _colour(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(text.removeprefix("#")), np.uint8)[:3]
