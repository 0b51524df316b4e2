"""Reading, finding and writing image files.

Pixels come and go exactly as they are stored: no resampling, no change of depth, and no EXIF
rotation, so that a mask always lies on the pixels of its file. Colours are in RGB order.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path

import cv2

from nucleiseg.decoders import Image, decode

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def read(path: str | Path) -> Image:
    """Read one image file.

    The format is told by the file's content, whatever its suffix.

    Parameters
    ----------
    path
        A PNG, JPEG, TIFF, BMP or WebP file holding one two-dimensional image. Volumes, time series
        and other files of several pages are not accepted; the reduced copies which some TIFF files
        carry beside the image are left aside.

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
        The file is empty, truncated, damaged, no image, of another format, or holds several pages.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, not an image file")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    try:
        return decode(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def find(paths: Iterable[str | Path]) -> list[Path]:
    """List the image files that paths stand for.

    Parameters
    ----------
    paths
        Files, folders and patterns such as ``"plates/**/*.tif"``. A folder stands for the images in
        it and in its sub-folders, without hidden ones, in natural order (``a2`` before ``a10``). A
        file given by name is taken whatever its suffix.

    Returns
    -------
    list of Path
        In the order given, each file once.

    Raises
    ------
    FileNotFoundError
        A path does not exist.
    ValueError
        There is no image in a folder, or none matches a pattern.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for image in _expand(Path(path)):
            found.setdefault(image.resolve(), image)
    return list(found.values())


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: other programs never see a part of it.

    Raises
    ------
    OSError
        The folder is missing or not writable, or the disk is full. Nothing is left behind.
    """
    part = path.parent / f".{uuid.uuid4().hex}.part"
    try:
        part.write_bytes(data)
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
    write(path, encoded.tobytes())


def hush() -> None:
    """Keep the decoders from writing to stderr in this process: `read` raises what they know."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        images = _walk(path)
    elif path.exists():
        return [path]
    elif glob.has_magic(str(path)):
        matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns)
        images = _sorted(image for match in matches for image in _walk(match))
    else:
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not images:
        raise ValueError(f"{path}: no images there; the suffixes looked for are {_suffixes()}")
    return images


def _walk(path: Path) -> list[Path]:
    """Images at or below a path, without hidden files and folders."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in SUFFIXES else []
    images: list[Path] = []
    for folder, below, names in os.walk(path):
        below[:] = [name for name in below if not name.startswith(".")]
        files = (Path(folder, name) for name in names if not name.startswith("."))
        images.extend(file for file in files if file.suffix.lower() in SUFFIXES)
    return _sorted(images)


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: [_natural(part) for part in path.parts])


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(digits or -1), text) for digits, text in re.findall(r"(\d+)|(\D+)", name)]


def _suffixes() -> str:
    return f"{', '.join(SUFFIXES[:-1])} and {SUFFIXES[-1]}"
