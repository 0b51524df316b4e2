"""One module a kind of file, and the table that tells them apart by content.

| module | files | values | axes |
|---|---|---|---|
| `pictures` | PNG, JPEG, BMP, WebP | uint8, uint16 | YX, YXS |
| `tiff` | TIFF, BigTIFF, OME-TIFF, ImageJ | bool to 64 bits, whole or float | any of TZCYXS |
| `npy` | NumPy ``.npy`` | the same | YX, YXS, or as told |
| `zarr_folder` | Zarr, OME-Zarr, its plates | the same | any of TZCYX, or as told |
| `nd2_file` | Nikon ND2 | uint8, uint16, float32 | any of TZCYXS |
| `czi_file` | Zeiss CZI | uint8, uint16, float32 | any of TZCYXS |
| `lif_file` | Leica LIF | 8 to 64 bits, whole or float | any of TZCYXS |
| `dicom` | DICOM | 8 to 32 bits, whole | YX, YXS |

A file holds one image or several, each a `Stack` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path

from nucleiseg.readers import (
    czi_file,
    dicom,
    lif_file,
    nd2_file,
    npy,
    pictures,
    tiff,
    zarr_folder,
)
from nucleiseg.readers.stack import Stack, UnacceptedError, damage

__all__ = ["Stack", "UnacceptedError", "opened", "versions"]

Opener = Callable[[Path], AbstractContextManager[Iterable[Stack]]]

REVISION = 2
"""Of the readers: raised whenever some file gives other pixels than it did before."""

_DECODERS = (
    *("opencv-python-headless", "opencv-python", "tifffile", "imagecodecs", "zarr"),
    *("nd2", "pylibCZIrw", "liffile", "pydicom"),
)

_OPENERS: dict[bytes, Opener] = {
    signature: kind.opened
    for kind in (pictures, tiff, npy, nd2_file, czi_file, lif_file)
    for signature in kind.SIGNATURES
}


def versions() -> dict[str, str]:
    """Return what the pixels of a file depend on beside the file.

    Returns
    -------
    dict of str to str
        The revision of the readers, and the versions of the packages that decode, as far as they
        are installed. Results of a run that had others are not those of this one.
    """
    found = {"readers": str(REVISION)}
    for package in _DECODERS:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@contextmanager
def opened(path: Path) -> Iterator[Iterable[Stack]]:
    """Open the images of a file, told by its content whatever its suffix, or of a Zarr folder.

    Raises
    ------
    OSError
        There is no such file, it is a folder but no Zarr, or it may not be read.
    UnacceptedError
        It is empty, no image, no regular file, truncated, damaged or too large.
    """
    opener = _opener(path)
    with ExitStack() as exits:
        with damage():
            stacks = exits.enter_context(opener(path))
        yield stacks


def is_decoded_whole(path: Path) -> bool:
    """Return whether opening a file decodes it, as of PNG, JPEG, BMP and WebP: they hold one plane.

    Raises
    ------
    OSError, UnacceptedError
        As `opened`.
    """
    return _opener(path) is pictures.opened


def _opener(path: Path) -> Opener:
    if path.is_dir():
        # A folder that may not be listed raises its error here.
        next(path.iterdir(), None)
        if not zarr_folder.is_zarr(path):
            raise IsADirectoryError(f"{path}: is a folder, not an image file")
        return zarr_folder.opened
    if path.exists() and not path.is_file():
        raise UnacceptedError("is no regular file, but a device or a pipe")
    with path.open("rb") as stream:
        head = stream.read(dicom.OFFSET + len(dicom.MARK))
    if not head:
        raise UnacceptedError("is empty")
    for signature, opener in _OPENERS.items():
        if head.startswith(signature):
            return opener
    if head[dicom.OFFSET :] == dicom.MARK:
        return dicom.opened
    raise UnacceptedError(pictures.NO_IMAGE)
