"""Reading and writing image files.

Pixels are read and written exactly as they are stored: no resampling, no rounding and no EXIF
rotation, so that a mask always lies on the pixels of its file. Colours are in RGB order.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nucleiseg import readers
from nucleiseg.readers import UnacceptedError, codecs, dtypes
from nucleiseg.readers.codecs import imagecodecs
from nucleiseg.readers.selection import Plane, Selection, selection
from nucleiseg.readers.selection import planes as selected
from nucleiseg.readers.stack import Image

PART = r"\.[0-9a-f]{32}\.part"
"""A regular expression of the temporary names of files; see `writing`."""

PNG_SIDE = 1_000_000
"""Pixels on the longest side of a PNG file that libpng writes, and other programs read."""


def read(path: str | Path) -> Image:
    """Return the pixels of a file that holds one two-dimensional image.

    The content decides the format, not the suffix.

    Parameters
    ----------
    path
        See `open`, which also takes stacks and channels.

    Returns
    -------
    NDArray
        (H, W) grey or (H, W, C) in RGB or RGBA order, of the dtype stored in the file. Palettes
        become uint8 RGB, one-bit images uint8 0 and 255, and a TIFF whose zero is white is turned
        so that zero is black.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    IsADirectoryError
        The path is a folder.
    ValueError
        See `open`.
    """
    with planes(Path(path), Selection(), np.asarray) as only:
        return next(only).load()


def open(
    path: str | Path,
    *,
    channel: int | str | None = None,
    z: int | str | None = None,
    frame: int | str | None = None,
    axes: str | None = None,
    series: int | str | None = None,
) -> Iterator[Plane]:
    """Yield the planes of an image file one after the other.

    At most one plane is in memory, where the format allows it: a page of a TIFF file, the chunks
    of a Zarr array that a plane touches, a whole PNG, JPEG, BMP or WebP file.

    Parameters
    ----------
    path
        PNG, JPEG, BMP, WebP; TIFF of any depth, OME-TIFF, ImageJ's TIFF; NumPy ``.npy``; a Zarr or
        OME-Zarr folder, a plate too (with the package zarr); ND2, CZI, LIF and DICOM (each with an
        extra: docs/images.md). Reduced copies beside an image are left aside.
    channel
        Which channel holds the nuclei, by its name in the file or its number from 0; of colours,
        "red", "green" or "blue". May be left out where there is one channel, or RGB is meant.
    z, frame
        Which plane of a volume, which frame of a time series: a number from 0, or "all". May be
        left out where there is one.
    axes
        What each axis of the file is, where the file does not say it or is wrong: letters of
        T frame, Z plane, C channel, Y row, X column, S colour, such as "ZCYX".
    series
        Which image of a file that holds several, such as a plate's field, a position or a scene,
        by its name or its number from 0, or "all". May be left out where there is one.

    Returns
    -------
    iterator of Plane
        Frame by frame, each plane (H, W) or (H, W, C) of uint8, uint16, int16, float32 or float64.
        Other values are exact: bool as uint8 0 and 255, int8 as int16, float16 as float32, and
        whole numbers of 32 and 64 bits as float64.

    Raises
    ------
    ValueError
        At once: an argument out of its range. When iterated: the file is empty, truncated, damaged,
        no image, or of more than 2**30 pixels or 8 GiB a plane; or it holds several images, planes
        or channels of which none was chosen, or no such one as was chosen; or a value beyond 2**53.
    OSError
        When iterated: there is no such file, or it may not be read.
    """
    return _loaded(Path(path), selection(channel, z, frame, axes, series))


def _loaded(path: Path, wanted: Selection) -> Iterator[Plane]:
    with planes(path, wanted) as found:
        for plane in found:
            yield replace(plane, load=partial(np.asarray, plane.load()))


@contextlib.contextmanager
def planes(
    path: Path, wanted: Selection, converted: Callable[[Image], Image] = dtypes.accepted
) -> Iterator[Iterator[Plane]]:
    """Open a file to iterate over its planes as `open` does, with a selection that is checked.

    Each is read when its ``load`` is called, by any thread, until the block is left. Errors are
    those of `open`, of entering the block too.
    """
    reading = threading.Lock()

    def named(load: Callable[[], Image]) -> Image:
        with _errors_named(path), reading:
            return converted(load())

    with _errors_named(path):
        if readers.is_decoded_whole(path):
            yield iter([Plane("", partial(named, partial(_only_plane, path, wanted)))])
            return
        with readers.opened(path) as stacks:
            yield (
                replace(plane, load=partial(named, plane.load))
                for plane in selected(stacks, wanted)
            )


def _only_plane(path: Path, wanted: Selection) -> Image:
    with readers.opened(path) as stacks:
        (plane,) = selected(stacks, wanted)
        return plane.load()


@contextlib.contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Put the file's name before what readers raise."""
    try:
        yield
    except UnacceptedError as error:
        raise ValueError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None


def write(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all; see `writing`.

    Raises
    ------
    OSError
        The folder is missing or not writable, or the disk is full. Nothing is left behind.
    """
    with writing(path) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written part by part, which other programs see only when it is whole.

    It gets its name when the block is left without an error; otherwise it is removed.

    Raises
    ------
    OSError
        See `write`.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def png(image: Image) -> bytes:
    """Return an (H, W) grey or (H, W, 3) RGB image of uint8 or uint16 as the bytes of a PNG.

    Raises
    ------
    UnacceptedError
        imagecodecs is missing.
    ValueError
        The image is empty, of another shape or dtype, or longer than `PNG_SIDE` on one side.
    """
    codecs.check("PNG")
    if max(image.shape) > PNG_SIDE:
        raise ValueError(f"image: got {image.shape}; accepted in PNG are sides of up to {PNG_SIDE}")
    # A row of a mask or of labels resembles the row above, a pixel in colour the one on its left.
    # Behind such a filter run lengths are as fast as any of zlib's methods, and small.
    filters = imagecodecs.PNG.FILTER
    fast = {
        "strategy": imagecodecs.PNG.STRATEGY.RLE,
        "filter": filters.UP if image.ndim == 2 else filters.SUB,
    }
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image), level=1, **fast))


def write_png(path: Path, image: Image) -> None:
    """Write an image that `png` takes as a file; see `write`."""
    write(path, png(image))


def hush() -> None:
    """Keep libraries from writing to stderr in this process: what matters is raised."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    # SpatialData silences these itself, but not where several threads write.
    warnings.filterwarnings("ignore", module=r"zarr\.")
