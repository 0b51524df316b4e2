"""TIFF of one image or many pages: plain, tiled, OME-TIFF and ImageJ's hyperstacks."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from nucleiseg.readers import ome, raw, tiff_pixels, tiff_structure
from nucleiseg.readers.stack import (
    Image,
    Index,
    Stack,
    UnacceptedError,
    by_plane,
    check_bytes,
    check_size,
    truncated,
)
from nucleiseg.readers.units import MICROMETRES, pixel_size

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_GREY = (tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.MINISBLACK)
# Reduced copies and transparency masks stand beside an image (TIFF 6.0, NewSubfileType).
_BESIDE = 1 | 4


@contextmanager
def opened(path: Path) -> Iterator[list[Stack]]:
    """Open a TIFF file; pixels are read page by page.

    Values of 1 to 64 bits, whole or float, in the methods of compression that
    `nucleiseg.readers.tiff_pixels.DECODED` lists. Axes come from OME-XML, ImageJ's or tifffile's
    description or the colours of the page; samples that are no colours are channels. Palettes
    become uint8 RGB, one-bit images uint8 0 and 255, and zero is always black. Rows and columns
    are as stored: the Orientation tag is left aside, as ImageJ and QuPath do.

    Raises
    ------
    UnacceptedError
        The file is truncated, damaged or too large, its compression is none that is read exactly,
        its colours are no grey or RGB, or it holds images of several sizes.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        directories = tiff_structure.check(stream, size)
        stream.seek(0)
        # Not the other files of a set: they are images of their own, wherever they may lie.
        with tifffile.TiffFile(stream, _multifile=False) as file:
            yield [_stack(file, stream, size, directories)]


def _stack(
    file: tifffile.TiffFile, stream: BinaryIO, size: int, directories: tiff_structure.Directories
) -> Stack:
    described = _described(file, stream, directories)
    series = _only_series(file)
    _check_promise(file, directories)
    page = series.keyframe
    check_size(page.imagelength, page.imagewidth)
    tiff_pixels.check_kind(page)
    check_bytes(page.nbytes)
    axes, shape, dtype = series.axes, series.shape, series.dtype
    if page.photometric in _GREY and "S" in axes:
        axes = axes.replace("S", "Q" if "C" in axes else "C")
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        axes, shape, dtype = axes + "S", (*shape, 3), np.dtype(np.uint8)
    if dtype == np.bool_:
        dtype = np.dtype(np.uint8)
    channels = described.channels if described else ()
    mpp = described.mpp if described else described_mpp(file, page)
    about = axes, shape, dtype, channels, mpp
    depth = len(series.shape) - len(page.shape)
    paged = series.shape[depth:] == page.shape and len(series) == math.prod(series.shape[:depth])
    if paged and series.transform is None:
        return by_plane(_page_reader(series, depth, stream, size), depth, *about)
    if series.dataoffset is None or page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        raise UnacceptedError("does not keep whole planes in its pages; store it as OME-TIFF")
    return Stack(axes, shape, dtype, partial(_contiguous, series, stream, size), channels, mpp)


def _described(
    file: tifffile.TiffFile, stream: BinaryIO, directories: tiff_structure.Directories
) -> ome.Description | None:
    """Return what the OME-XML describes; tifffile arranges the pages by it only if it fits them."""
    if not file.is_ome:
        return None
    page = file.pages.first
    size = (page.imagelength, page.imagewidth)
    described = ome.read(page.description, Path(stream.name).name, size, directories)
    if described is None or described.of_set:
        file.is_ome = False
    return described


def described_mpp(file: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """Return micrometres per pixel as ImageJ or Aperio give them, None where they do not.

    The resolution of a TIFF file without ImageJ's unit is left aside: most programs write that of
    a printer there.
    """
    if file.is_imagej:
        return _imagej(file, page)
    return _aperio(page) if file.is_svs else None


def _aperio(page: tifffile.TiffPage) -> float | None:
    found = re.search(r"\|MPP = ([\d.]+)", page.description)
    try:
        size = float(found[1]) if found else 0.0
    except ValueError:
        return None
    return pixel_size(size, size)


def _imagej(file: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    # ImageJ's resolution tags count pixels in the unit that its description names.
    unit = str((file.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    lengths = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        pixels, units = tag.value if tag is not None else (0, 1)
        lengths.append(units / pixels * MICROMETRES.get(unit, 0.0) if pixels else 0.0)
    return pixel_size(*lengths)


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


def _check_promise(file: tifffile.TiffFile, directories: tiff_structure.Directories) -> None:
    """Refuse other numbers of planes in ImageJ's or tifffile's description than there are pages.

    One page is enough where the planes follow each other behind it (ImageJ over 4 GB).
    """
    series = [one for top in file.series for one in top.levels if not one.keyframe.is_subifd]
    planes = sum(1 if one.is_truncated else one.size // one.keyframe.size for one in series)
    described = series[0].kind in ("shaped", "imagej")
    if described and directories.pages > 1 and planes != directories.pages:
        raise UnacceptedError(
            f"is truncated or damaged: its description promises {planes:,} planes, and it holds "
            f"{directories.pages:,}"
        )


def _page_reader(
    series: tifffile.TiffPageSeries, depth: int, stream: BinaryIO, size: int
) -> Callable[[tuple[int, ...]], Image]:
    """Return what reads a page of a file in which each holds one plane, or one of each channel."""
    keyframe, shape = series.keyframe, series.shape[:depth]
    layout = partial(tiff_structure.layout, stream, size)
    first_layout = cache(partial(layout, keyframe.offset))

    def read(place: tuple[int, ...]) -> Image:
        number = int(np.ravel_multi_index(place, shape)) if place else 0
        page = series[number]
        if page is None:
            raise UnacceptedError(f"is truncated: its page {number} is missing")
        if page.is_frame and page.offset > 0:
            one, other = first_layout(), layout(page.offset)
            tags = (code for code in {**one, **other} if one.get(code) != other.get(code))
            if names := ", ".join(tifffile.TIFF.TAGS[code] for code in tags):
                raise UnacceptedError(
                    f"holds images of different kinds: page {page.index} differs from page "
                    f"{keyframe.index} in {names}"
                )
        return tiff_pixels.read(stream.fileno(), size, page, keyframe)

    return read


def _contiguous(
    series: tifffile.TiffPageSeries, stream: BinaryIO, size: int, index: Index
) -> Image:
    """Read from a file with one page, behind whose plane the others follow (ImageJ over 4 GB)."""
    page, offset = series.keyframe, int(series.dataoffset or 0)
    if offset + series.nbytes > size:
        raise truncated(size, offset + series.nbytes)
    dtype = tiff_pixels.stored_dtype(page)
    values = raw.read(stream.fileno(), offset, series.shape, dtype, index)
    return tiff_pixels.finished(page, page, values)
