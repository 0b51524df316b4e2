"""DICOM images of a frame or several, through the package pydicom; whole slides are for slides."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg.readers import codecs, pictures, tiff_streams
from nucleiseg.readers.codecs import imagecodecs
from nucleiseg.readers.stack import (
    Image,
    Stack,
    UnacceptedError,
    by_plane,
    check_bytes,
    check_size,
    package,
)
from nucleiseg.readers.units import pixel_size

OFFSET, MARK = 128, b"DICM"
"""What a file has behind its preamble (PS3.10, 7.1)."""

_HEADER_GROUP = 2

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_RAW = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
_JPEG = "1.2.840.10008.1.2.4.50"
_JPEG2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}

_INVERTED = "MONOCHROME1"
_GREY = (_INVERTED, "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@contextmanager
def opened(path: Path) -> Iterator[list[Stack]]:
    """Open a DICOM image, uncompressed or of JPEG (8 bits) or JPEG 2000: grey or RGB.

    Values are as stored, without rescaling or windows; zero is always black. What the axis of
    several frames is has to be told.

    Raises
    ------
    UnacceptedError
        The file is truncated, damaged or too large, a whole slide, has other colours or another
        compression, or the package pydicom is missing.
    """
    pydicom = package("DICOM", "pydicom", "dicom")
    check_bytes(path.stat().st_size)
    with _Source(io.FileIO(path)) as stream:
        # Before all else: one transfer syntax compresses the whole of a file.
        stream.seek(OFFSET + len(MARK))
        about = pydicom.filereader.read_dataset(
            stream, is_implicit_VR=False, is_little_endian=True, stop_when=_is_behind_the_header
        )
        syntax = about.TransferSyntaxUID
        if syntax not in {*_RAW, _JPEG, *_JPEG2000}:
            raise UnacceptedError(
                f"is stored as {syntax.name}; accepted are uncompressed, JPEG Baseline and JPEG "
                "2000"
            )
        stream.seek(0)
        dataset = pydicom.dcmread(stream)
        stack = _stack(dataset, str(syntax))
    yield [stack]


class _Source(io.BufferedReader):
    """A file of which no more is read than is there, whatever length an element promises."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            # For more than there is, memory would be taken.
            size = max(0, min(size, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def _is_behind_the_header(tag: Any, kind: str | None, length: int) -> bool:
    return bool(tag.group != _HEADER_GROUP)


def _stack(dataset: Any, syntax: str) -> Stack:
    from pydicom.encaps import get_frame

    if dataset.SOPClassUID == _WHOLE_SLIDE:
        raise UnacceptedError("is a whole slide, which the command nucleiseg slide segments")
    if "PixelData" not in dataset:
        raise UnacceptedError("holds no pixels of whole numbers")
    kind, colours = str(dataset.PhotometricInterpretation), int(dataset.SamplesPerPixel)
    if (kind, colours) not in {*((grey, 1) for grey in _GREY), *((one, 3) for one in _COLOURS)}:
        raise UnacceptedError(
            f"has the colours {kind} in {colours} samples; accepted are {', '.join(_GREY)} in one, "
            f"and {', '.join(_COLOURS)} in three"
        )
    sides = int(dataset.Rows), int(dataset.Columns)
    count = int(dataset.get("NumberOfFrames") or 1)
    signed, bits = bool(dataset.PixelRepresentation), int(dataset.BitsAllocated)
    if bits not in (8, 16, 32):
        raise UnacceptedError(f"has values of {bits} bits; accepted are 8, 16 and 32")
    dtype = np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    check_size(*sides, colours * dtype.itemsize)
    shape = (*sides, 3) if colours == 3 else sides
    decode = {_JPEG: _jpeg}.get(syntax, _jpeg2000 if syntax in _JPEG2000 else None)

    def read(place: tuple[int, ...]) -> Image:
        number = place[0] if place else 0
        if decode is None:
            frame = _raw(dataset, number, shape, dtype)
        else:
            data = get_frame(dataset.PixelData, number, number_of_frames=count)
            frame = decode(bytes(data), kind)
        if frame.shape != shape or frame.dtype != dtype:
            raise UnacceptedError(
                f"is damaged: its frame {number} is {frame.shape} of {frame.dtype}, "
                f"not {shape} of {dtype}"
            )
        return _inverted(frame, int(dataset.BitsStored)) if kind == _INVERTED else frame

    frames = (count,) if count > 1 else ()
    axes = "Q" * len(frames) + "YXS"[: len(shape)]
    return by_plane(read, len(frames), axes, (*frames, *shape), dtype, (), _mpp(dataset))


def _raw(dataset: Any, number: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Image:
    import pydicom

    size = math.prod(shape) * dtype.itemsize
    if len(dataset.PixelData) < (number + 1) * size:
        raise UnacceptedError(f"is truncated: its frame {number} is missing")
    # The only values that are converted are those of YBR_FULL.
    return np.asarray(pydicom.pixel_array(dataset, index=number))


def _jpeg(data: bytes, kind: str) -> Image:
    image = pictures.decode(data)
    if kind == "RGB":  # as stored: without a mark, decoders take three samples for YCbCr
        image = imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")
    return image


def _jpeg2000(data: bytes, kind: str) -> Image:
    codecs.check("is DICOM in JPEG 2000")
    height, width, colours = tiff_streams.size("JPEG2000", data) or (0, 0, 0)
    check_size(height, width, 4 * colours)
    return np.asarray(imagecodecs.jpeg2k_decode(data))


def _inverted(image: Image, bits: int) -> Image:
    """Turn values round, so that zero is black."""
    if image.dtype.kind == "i":
        return np.invert(image)
    largest = 2**bits - 1
    if image.max() > largest:
        raise UnacceptedError(f"is damaged: it has values beyond its {bits} bits")
    turned: Image = image.dtype.type(largest) - image
    return turned


def _mpp(dataset: Any) -> float | None:
    """Return micrometres per pixel, from millimetres between rows and between columns."""
    spacing = dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")
    if not spacing and "SharedFunctionalGroupsSequence" in dataset:
        measures = dataset.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
        spacing = measures[0].get("PixelSpacing") if measures else None
    return pixel_size(*(1e3 * float(side) for side in spacing)) if spacing else None
