"""Tiled TIFF tile by tile through tifffile: OME-TIFF, generic pyramids and Aperio's SVS.

OpenSlide reads SVS, too, and gives the same pixels in four times as long.
"""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from nucleiseg.readers import ome, tiff_pixels, tiff_structure
from nucleiseg.readers.stack import UnacceptedError, damage
from nucleiseg.readers.tiff import SIGNATURES, described_mpp
from nucleiseg.readers.units import MICROMETRES, pixel_size
from nucleiseg.slides.slide import Slide, blank, chosen, fill

_LARGEST_TILE = 1 << 26
"""Bytes of a tile or strip: a file of one strip is no pyramid."""

_MOST_STORED, _SPARE = 2, 1 << 16
"""What does not compress, and how many bytes a small tile's own header may take."""

_UNITS = {2: MICROMETRES["inch"], 3: MICROMETRES["cm"]}
"""Of a TIFF's resolution tags."""

_SAME_RATIO = 0.02
"""Of width and height, by which levels may differ: sides are rounded."""

_LEAST_RESOLUTION = 1000
"""Pixels a centimetre: programs write that of a printer or a screen, which has fewer."""


class UntiledError(UnacceptedError):
    """The file has no tiles, so that no rectangle of it can be read by itself."""


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFF does."""
    with path.open("rb") as file:
        return file.read(4) in SIGNATURES


class TiffSlide(Slide):
    """A tiled TIFF file, of one page or a pyramid.

    Parameters
    ----------
    path : Path
    channel : int or None
        Of a file whose channels are pages of their own.

    Raises
    ------
    UnacceptedError
        It is truncated or damaged, or its tiles are larger than a region.
    """

    def __init__(self, path: Path, channel: int | None) -> None:
        self.path = path
        with path.open("rb") as stream, damage():
            directories = tiff_structure.check(stream, os.fstat(stream.fileno()).st_size)
            self._file = tifffile.TiffFile(path, _multifile=False)
        self._size = path.stat().st_size
        try:
            with damage():
                self._pages = _aperio(self._file) if self._file.is_svs else []
                if not self._pages:
                    series = self._file.series[0]
                    number = _channel(series, channel)
                    self._pages = [_page(level.pages[number]) for level in series.levels]
            self.levels = [(page.imagelength, page.imagewidth) for page in self._pages]
            self.mpp = self._pixel_size(directories)
        except BaseException:
            self._file.close()
            raise

    def _pixel_size(self, directories: tiff_structure.Directories) -> float | None:
        page = self._pages[0]
        if self._file.is_ome:
            description = self._file.pages.first.description
            found = ome.read(description, self.path.name, self.levels[0], directories)
            return found.mpp if found else None
        known = described_mpp(self._file, page)
        return known if known else _from_resolution(page)

    def read(self, level: int, row: int, column: int, height: int, width: int) -> NDArray[Any]:
        """Read a rectangle."""
        page = self._pages[level]
        pixels = np.empty((height, width, *page.chunks[2:]), page.dtype)
        fill(pixels, row, column, page.chunks[:2], partial(self._tile, page))
        return pixels[..., :3] if pixels.ndim == 3 else pixels

    def _tile(self, page: tifffile.TiffPage, row: int, column: int) -> NDArray[Any]:
        index = row * -(-page.imagewidth // page.chunks[1]) + column
        place = f"{self.path}: tile {index:,} (row {row}, column {column} of tiles)"
        if index >= min(len(page.dataoffsets), len(page.databytecounts)):
            raise ValueError(f"{place} is missing: the file is damaged")
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if count == 0:  # which TIFF's writers leave out: nothing was scanned there
            dtype = np.dtype(page.dtype)
            return np.full(page.chunks, blank(dtype, len(page.chunks)), dtype)
        if count > _MOST_STORED * _tile_bytes(page) + _SPARE:
            raise ValueError(f"{place} is damaged: it has {count:,} bytes, more than its pixels")
        if offset + count > self._size:
            raise ValueError(f"{place} is missing: the file is truncated")
        data = os.pread(self._file.filehandle.fileno(), count, offset)
        try:
            with damage():
                tile = tiff_pixels.segment(page, data, index, page.jpegtables)[0]
        except UnacceptedError as error:
            raise ValueError(f"{place} {error}") from None
        return tiff_pixels.finished(page, page, tile[..., 0] if tile.shape[2] == 1 else tile)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _channel(series: tifffile.TiffPageSeries, channel: int | None) -> int:
    """Return which page of a level holds the channel."""
    axes, shape = series.axes, series.shape
    if axes in ("YX", "YXS"):
        if channel is not None:
            raise UnacceptedError("has one image; accepted is no channel")
        return 0
    others = math.prod(size for axis, size in zip(axes, shape, strict=True) if axis not in "CYX")
    if others != 1 or "C" not in axes:
        raise UnacceptedError(f"has the axes {axes} {shape}; accepted are channels, rows, columns")
    return chosen(channel, shape[axes.index("C")])


def _aperio(file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Return the levels of an SVS file: pages in tiles, beside pictures of label and slide."""
    first = file.pages.first
    tiled = [page for page in map(_page, file.pages) if page.is_tiled]
    ratio = first.imagewidth / first.imagelength
    return [
        page
        for page in tiled
        if abs(page.imagewidth / page.imagelength / ratio - 1) < _SAME_RATIO
        and page.description.startswith("Aperio")
    ]


def _page(page: tifffile.TiffPage | tifffile.TiffFrame | None) -> tifffile.TiffPage:
    if page is None:
        raise UnacceptedError("is truncated: a page of its pyramid is missing")
    page = page.aspage()
    if min(page.imagelength, page.imagewidth) < 1:
        raise UnacceptedError("is damaged: it has a level without pixels")
    if page.planarconfig != 1 and page.samplesperpixel > 1:
        raise UnacceptedError("keeps its colours apart; store them pixel by pixel")
    if page.dtype is None or page.dtype.str[1:] not in ("u1", "u2", "f4"):
        raise UnacceptedError(f"has {page.dtype} values; accepted are uint8, uint16 and float32")
    if page.samplesperpixel not in (1, 3, 4):
        raise UnacceptedError(f"has {page.samplesperpixel} samples a pixel; accepted are 1, 3, 4")
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        raise UntiledError("has a palette; store its colours")
    tiff_pixels.check_kind(page)
    if _tile_bytes(page) > _LARGEST_TILE:
        raise UntiledError("keeps its pixels in one strip; store it in tiles")
    return page


def _tile_bytes(page: tifffile.TiffPage) -> int:
    """Return the bytes of a tile or strip in memory."""
    size = np.dtype(page.dtype).itemsize
    return int(math.prod(page.chunks)) * size


def _from_resolution(page: tifffile.TiffPage) -> float | None:
    """Return micrometres per pixel by the resolution tags, where they are a microscope's."""
    names = ("XResolution", "YResolution", "ResolutionUnit")
    values = [tag.value for name in names if (tag := page.tags.get(name)) is not None]
    if len(values) < len(names) or int(values[2]) not in _UNITS:
        return None
    unit = _UNITS[int(values[2])]
    lengths = [unit * units / pixels if pixels else 0.0 for pixels, units in values[:2]]
    found = pixel_size(*lengths)
    return found if found and found < MICROMETRES["cm"] / _LEAST_RESOLUTION else None
