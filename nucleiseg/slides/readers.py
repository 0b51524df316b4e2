"""Opening slides, whatever their format; the content tells it, not the suffix."""

from __future__ import annotations

import contextlib
from importlib import metadata
from pathlib import Path

from nucleiseg import readers
from nucleiseg.readers import zarr_folder
from nucleiseg.readers.stack import UnacceptedError
from nucleiseg.slides import openslide_reader, tiff_reader
from nucleiseg.slides.openslide_reader import OpenSlideSlide
from nucleiseg.slides.plain_reader import PlainSlide
from nucleiseg.slides.slide import Slide
from nucleiseg.slides.tiff_reader import TiffSlide, UntiledError
from nucleiseg.slides.zarr_reader import ZarrSlide

APERIO = "aperio"
"""OpenSlide's name for SVS."""

_DAMAGED = ("is truncated", "is damaged")


def open(path: str | Path, *, channel: int | None = None) -> Slide:
    """Open a slide, to read any rectangle of any of its levels.

    Parameters
    ----------
    path : str or Path
        A slide of a scanner (through OpenSlide: SVS, NDPI, MRXS, SCN, BIF, DICOM and others), an
        OME-TIFF or another tiled TIFF file, an OME-Zarr folder, or an image of any format that
        `nucleiseg.segment` takes, which is then held in memory.
    channel : int, optional
        Which channel holds the nuclei, from 0, where there are several.

    Returns
    -------
    Slide
        With ``levels``, ``mpp`` and ``read(level, row, column, height, width)``; a context manager.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no slide, truncated or damaged, or needs a channel to be chosen.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return _opened(path, channel)
    except UnacceptedError as error:
        raise ValueError(f"{path}: {error}") from None


def versions() -> dict[str, str]:
    """Return what the pixels of a slide depend on beside its files.

    Returns
    -------
    dict of str to str
        See `nucleiseg.readers.versions`; with OpenSlide's.
    """
    found = readers.versions()
    for package in ("openslide-python", "openslide-bin"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _opened(path: Path, channel: int | None) -> Slide:
    if path.is_dir() and zarr_folder.is_zarr(path):
        return ZarrSlide(path, channel)
    vendor = openslide_reader.detected(path)
    if vendor:
        if channel is not None:
            raise UnacceptedError("is in colours; accepted is no channel")
        if vendor == APERIO:
            try:
                return TiffSlide(path, channel)
            except UnacceptedError as error:
                if str(error).startswith(_DAMAGED):
                    raise  # OpenSlide would leave out what it does not understand
        return OpenSlideSlide(path, vendor)
    if path.is_dir():
        raise UnacceptedError("is a folder and no OME-Zarr; name a file of the slide")
    if tiff_reader.is_tiff(path):
        with contextlib.suppress(UntiledError):
            return TiffSlide(path, channel)
    return PlainSlide(path, channel)
