"""Reading, finding and writing image files.

Pixels come and go exactly as they are stored: no resampling, no rounding, and no EXIF rotation, so
that a mask always lies on the pixels of its file. Colours are in RGB order.
"""

from __future__ import annotations

import contextlib
import glob
import io
import logging
import os
import re
import uuid
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from nucleiseg import readers
from nucleiseg.readers import UnacceptedError, dtypes
from nucleiseg.readers.selection import Plane, Selection, selection
from nucleiseg.readers.selection import planes as selected
from nucleiseg.readers.stack import Image
from nucleiseg.readers.zarr_folder import is_zarr

__all__ = [
    "Plane",
    "Selection",
    "find",
    "hush",
    "open",
    "planes",
    "read",
    "selection",
    "write",
    "write_png",
    "writing",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""What is looked for in folders, beside Zarr folders. Not ``.npy``, in which other programs keep
what is no image; a pattern that ends so finds it."""

PART = r"\.[0-9a-f]{32}\.part"
"""What the temporary names of files look like, as a regular expression; see `writing`."""


def read(path: str | Path) -> Image:
    """Read a file that holds one two-dimensional image.

    The format is told by the file's content, whatever its suffix.

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
    with contextlib.closing(_planes(Path(path), Selection(), np.asarray)) as only:
        return next(only).array


def open(
    path: str | Path,
    *,
    channel: int | str | None = None,
    z: int | str | None = None,
    frame: int | str | None = None,
    axes: str | None = None,
) -> Iterator[Plane]:
    """Read the planes of an image file one after the other.

    No more than a plane is in memory, where the format allows it: a page of a TIFF file, the chunks
    of a Zarr array that a plane touches, a whole PNG, JPEG, BMP or WebP file.

    Parameters
    ----------
    path
        PNG, JPEG, BMP, WebP; TIFF of any depth, OME-TIFF, ImageJ's TIFF; NumPy ``.npy``; a Zarr or
        OME-Zarr folder (with the package zarr). Reduced copies beside an image are left aside.
    channel
        Which channel holds the nuclei, by its name in the file or its number from 0; of colours,
        "red", "green" or "blue". May be left out where there is one channel, or RGB is meant.
    z, frame
        Which plane of a volume, which frame of a time series: a number from 0, or "all". May be
        left out where there is one.
    axes
        What each axis of the file is, where the file does not say it or is wrong: letters of
        T frame, Z plane, C channel, Y row, X column, S colour, such as "ZCYX".

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
        no image, or of more than 2**30 pixels or 8 GiB a plane; or it holds several planes or
        channels of which none was chosen, or no such one as was chosen; or a value beyond 2**53.
    OSError
        When iterated: there is no such file, or it may not be read.
    """
    return planes(Path(path), selection(channel, z, frame, axes))


def planes(
    path: Path, wanted: Selection, skip: Callable[[str], bool] = lambda suffix: False
) -> Generator[Plane, None, None]:
    """Do what `open` does, with a selection that is checked already.

    Planes whose suffix ``skip`` says True of are not read.
    """
    return _planes(path, wanted, dtypes.accepted, skip)


def _planes(
    path: Path,
    wanted: Selection,
    converted: Callable[[Image], Image],
    skip: Callable[[str], bool] = lambda suffix: False,
) -> Generator[Plane, None, None]:
    try:
        with readers.opened(path) as stack:
            for plane in selected(stack, wanted, skip):
                yield replace(plane, array=converted(plane.array))
    except UnacceptedError as error:
        raise ValueError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None


def find(paths: Iterable[str | Path], but: Container[str] = ()) -> list[Path]:
    """List the image files that paths stand for.

    Parameters
    ----------
    paths
        Files, folders and patterns such as ``"plates/**/*.tif"``. A folder stands for the images in
        it and in its sub-folders, without hidden ones, in natural order (``a2`` before ``a10``);
        links to folders are not followed. A Zarr folder is one image. A file given by name is taken
        whatever its suffix.
    but
        Real paths of files that are left out where a folder or a pattern would find them.

    Returns
    -------
    list of Path
        In the order given, each file once. A sub-folder that may not be read stands for itself, so
        that reading it says so.

    Raises
    ------
    FileNotFoundError
        A path does not exist.
    ValueError
        There is no image in a folder, or none matches a pattern.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for image in _expand(Path(path), but):
            found.setdefault(_real(image), image)
    return list(found.values())


def write(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all; see `writing`.

    Raises
    ------
    OSError
        The folder is missing or not writable, or the disk is full. Nothing is left behind.
    """
    left = memoryview(data)
    with _named_at_the_end(path) as part, io.FileIO(part, "x") as file:
        while left:
            left = left[file.write(left) :]


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written bit by bit, that other programs never see a part of.

    It gets its name when the block is left without an error; otherwise nothing is left behind.

    Raises
    ------
    OSError
        See `write`.
    """
    with _named_at_the_end(path) as part, part.open("xb") as file:
        yield file


@contextlib.contextmanager
def _named_at_the_end(path: Path) -> Iterator[Path]:
    """Give another name, which becomes the path when the block is left without an error."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_png(path: Path, image: Image) -> None:
    """Write a (H, W) grey or (H, W, 3) RGB image of uint8 or uint16 as PNG.

    Raises
    ------
    OSError
        See `write`.
    """
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    # OpenCV's own setting, run lengths behind a difference filter, is as fast as any of zlib's.
    _, encoded = cv2.imencode(".png", stored)
    write(path, encoded.data)


def hush() -> None:
    """Keep the decoders from writing to stderr in this process: `read` raises what they know."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def _real(path: Path) -> str:
    # Path.resolve gives up at links that run in a ring, which is for the reader to say.
    return os.path.realpath(path)


def _expand(path: Path, but: Container[str]) -> list[Path]:
    if path.is_dir():
        images = _walk(path, SUFFIXES)
    elif path.exists() or path.is_symlink():
        return [path]
    elif glob.has_magic(str(path)):
        suffixes = (*SUFFIXES, ".npy") if path.suffix == ".npy" else SUFFIXES
        matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns)
        images = _sorted(image for match in matches for image in _walk(match, suffixes))
    else:
        raise FileNotFoundError(f"{path}: no such file or folder")
    images = [image for image in images if _real(image) not in but] if but else images
    if not images:
        raise ValueError(
            f"{path}: no images there; the suffixes looked for are {_suffixes()}, and Zarr folders"
        )
    return images


def _walk(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Images at or below a path, without hidden files and folders."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in suffixes else []
    images: list[Path] = []

    def unreadable(error: OSError) -> None:
        images.append(Path(error.filename))

    for folder, below, names in os.walk(path, onerror=unreadable):
        if is_zarr(Path(folder)):
            images.append(Path(folder))
            below.clear()
            continue
        below[:] = [name for name in below if not name.startswith(".")]
        files = (Path(folder, name) for name in names if not name.startswith("."))
        images.extend(file for file in files if file.suffix.lower() in suffixes)
    return _sorted(images)


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: [_natural(part) for part in path.parts])


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(digits or -1), text) for digits, text in re.findall(r"(\d+)|(\D+)", name)]


def _suffixes() -> str:
    return f"{', '.join(SUFFIXES[:-1])} and {SUFFIXES[-1]}"
