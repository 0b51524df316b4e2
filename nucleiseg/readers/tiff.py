"""TIFF of one image or many pages: plain, tiled, OME-TIFF and ImageJ's hyperstacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile

from nucleiseg.readers import tiff_metadata, tiff_structure
from nucleiseg.readers.stack import (
    Image,
    Index,
    Stack,
    UnacceptedError,
    check_bytes,
    check_size,
    damage,
    truncated,
)

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_PAGE_AXES = ("YX", "YXS", "SYX")
_GREY = ("MINISWHITE", "MINISBLACK")
_COLOURS = (*_GREY, "RGB", "PALETTE", "YCBCR")
_TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
# Reduced copies and transparency masks stand beside an image (TIFF 6.0, NewSubfileType).
_BESIDE = 1 | 4


@contextmanager
def opened(path: Path) -> Iterator[Stack]:
    """Open a TIFF file; pixels are read page by page.

    Values of 1 to 64 bits, whole or float; uncompressed, deflate, and what OpenCV or the package
    imagecodecs decode (LZW, JPEG and others). Axes come from OME-XML, ImageJ's or tifffile's
    description or the colours of the page; samples that are no colours are channels. Palettes
    become uint8 RGB, one-bit images uint8 0 and 255, and zero is always black.

    Raises
    ------
    UnacceptedError
        The file is truncated, damaged or too large, its colours are no grey or RGB, or it holds
        images of several sizes.
    """
    with path.open("rb") as stream, _file(stream) as file:
        with damage():
            stack = _stack(file, path)
        yield stack


@contextmanager
def _file(stream: object) -> Iterator[tifffile.TiffFile]:
    with damage():
        # Not the other files of a set: they are images of their own, wherever they may lie.
        file = tifffile.TiffFile(stream, _multifile=False)  # type: ignore[arg-type]
    with file:
        yield file


def _stack(file: tifffile.TiffFile, path: Path) -> Stack:
    tiff_structure.check(file)
    series = _only_series(file)
    page = series.keyframe
    photometric = _check_page(page)
    axes, shape, dtype = series.axes, series.shape, series.dtype
    if photometric in _GREY and "S" in axes:
        axes = axes.replace("S", "Q" if "C" in axes else "C")
    if photometric == "PALETTE":
        axes, shape, dtype = axes + "S", (*shape, 3), np.dtype(np.uint8)
    if dtype == np.bool_:
        dtype = np.dtype(np.uint8)
    channels, mpp = tiff_metadata.read(file, page)
    return Stack(axes, shape, dtype, _loader(file, series, path), channels, mpp)


def _only_series(file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    series = [one for one in file.series if not int(one.keyframe.subfiletype) & _BESIDE]
    if file.is_svs:
        # Aperio's: the region first; behind it its thumbnail, and pictures of label and slide.
        series = series[:1]
    if not series:
        raise UnacceptedError("is truncated or damaged: it ends before its page directory")
    if len(series) > 1:
        shapes = ", ".join("x".join(map(str, one.shape)) for one in series[:4])
        raise UnacceptedError(
            f"holds {len(series)} images of different kinds ({shapes}); accepted is one a file"
        )
    if file.is_imagej and series[0].kind == "generic":
        raise UnacceptedError("is truncated: its description promises more than it holds")
    return series[0]


def _check_page(page: tifffile.TiffPage) -> str:
    check_size(page.imagelength, page.imagewidth)
    check_bytes(page.nbytes)
    if page.axes not in _PAGE_AXES:
        raise UnacceptedError(f"has the axes {page.axes}; accepted are {', '.join(_PAGE_AXES)}")
    colours = tifffile.PHOTOMETRIC(page.photometric).name
    if colours not in _COLOURS:
        raise UnacceptedError(f"has {colours} colours; accepted are {', '.join(_COLOURS)}")
    if colours == "PALETTE" and page.colormap is None:
        raise UnacceptedError("is damaged: its palette is missing")
    return colours


def _loader(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path
) -> Callable[[Index], Image]:
    page = series.keyframe
    depth = len(series.shape) - len(page.shape)
    paged = series.shape[depth:] == page.shape and len(series) == math.prod(series.shape[:depth])
    if paged and series.transform is None:
        return _Pages(series, depth, path, file.filehandle.size)
    if series.dataoffset is None or page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        raise UnacceptedError("does not keep whole planes in its pages; store it as OME-TIFF")
    return _Contiguous(file, series, path)


@dataclass(frozen=True)
class _Pages:
    """Load from a file in which a page holds one plane, or one of each channel."""

    series: tifffile.TiffPageSeries
    depth: int
    path: Path
    size: int

    def __call__(self, index: Index) -> Image:
        first, rest = index[: self.depth], index[self.depth :]
        shape = self.series.shape[: self.depth]
        with damage():
            if any(isinstance(place, slice) for place in first):
                check_bytes(self.series.nbytes)
                pages = [self._page(number) for number in range(math.prod(shape))]
                whole = np.stack(pages)
                return whole.reshape(*shape, *whole.shape[1:])[index]
            number = int(np.ravel_multi_index(first, shape)) if first else 0  # type: ignore[arg-type]
            return self._page(number)[rest]

    def _page(self, number: int) -> Image:
        page = self.series[number]
        if page is None:
            raise UnacceptedError(f"is truncated: its page {number} is missing")
        tiff_structure.check_segments(page, self.series.keyframe, self.size)
        try:
            image = page.asarray()
        except Exception as error:
            # Without the package imagecodecs tifffile knows deflate alone; OpenCV's libtiff knows
            # LZW, PackBits and JPEG, and sees to colours itself.
            if "imagecodecs" not in str(error):
                raise
            return _page_by_opencv(self.path, self.series.keyframe, page.index)
        return _finished(self.series.keyframe, image)


@dataclass(frozen=True)
class _Contiguous:
    """Load from a file with one page, behind whose plane the others follow (ImageJ over 4 GB)."""

    file: tifffile.TiffFile
    series: tifffile.TiffPageSeries
    path: Path

    def __call__(self, index: Index) -> Image:
        offset = int(self.series.dataoffset or 0)
        needed, size = offset + self.series.nbytes, self.file.filehandle.size
        if needed > size:
            raise truncated(size, needed)
        dtype = self.series.dtype.newbyteorder(self.file.byteorder)
        mapped = np.memmap(self.path, dtype, "r", offset, self.series.shape)
        return _finished(self.series.keyframe, np.array(mapped[index]))


def _page_by_opencv(path: Path, page: tifffile.TiffPage, number: int) -> Image:
    _, images = cv2.imreadmulti(str(path), number, 1, flags=cv2.IMREAD_UNCHANGED)
    if not images or images[0].shape[:2] != (page.imagelength, page.imagewidth):
        method = tifffile.COMPRESSION(page.compression).name
        raise UnacceptedError(
            f"is damaged, or compressed with {method} in a way which needs the package imagecodecs "
            "(pip install imagecodecs)"
        )
    image: Image = images[0]
    if image.ndim == 3 and image.shape[2] in _TO_RGB:
        image = cv2.cvtColor(image, _TO_RGB[image.shape[2]])
    return np.moveaxis(image, -1, 0) if page.axes == "SYX" else image


def _finished(page: tifffile.TiffPage, image: Image) -> Image:
    """Turn stored values into intensities: palettes, bits, and a zero that is white."""
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        palette = (np.asarray(page.colormap) >> 8).astype(np.uint8)
        return np.ascontiguousarray(palette.T)[image]
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and image.dtype.kind == "u":
        return np.invert(image)
    return image
