"""Nikon's ND2, through the package nd2: frames are read one by one, positions are images.

The package maps files into memory, fills missing frames with zeros, and inflates what is
compressed whatever it yields. It is given a stream of its own kind instead of a file, which is not
mapped, refuses to end early, and counts what compressed data yield before they are inflated.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nucleiseg.readers.stack import (
    Image,
    Stack,
    UnacceptedError,
    by_plane,
    check_bytes,
    package,
    truncated,
    unique_names,
)
from nucleiseg.readers.units import pixel_size

SIGNATURES = (b"\xda\xce\xbe\x0a",)

_MOST_METADATA = 2**26
"""Bytes that a chunk beside the pixels may hold, and yield."""

_TIME_STAMP = 8
"""Bytes of a frame before its pixels."""

_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
"""How compressed data begin (RFC 1950), of the levels that are written."""

_PIECE = 2**12
_MOST_FED = 64
"""Times that the bytes of a chunk may be fed to zlib, where much looks like compressed data."""


@contextmanager
def opened(path: Path) -> Iterator[list[Stack]]:
    """Open an ND2 file of version 2 or later: axes TZCYX, or S where its pixels are RGB.

    Raises
    ------
    UnacceptedError
        The file is truncated, damaged or too large, compressed with loss, or the package nd2 is
        missing.
    """
    nd2 = package("ND2", "nd2", "nd2")
    with path.open("rb") as stream:
        source = _Source(stream)
        with nd2.ND2File(source) as file:
            yield _stacks(file, source)


class _Source:
    """A file as the package nd2 reads it; see the module."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, 2)
        self.check: Callable[[bytes], None] = _check_metadata
        self.reads = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        begin = {0: 0, 1: self._stream.tell(), 2: self.size}[whence]
        if not 0 <= begin + offset <= self.size:
            raise truncated(self.size, begin + offset)
        return self._stream.seek(begin + offset)

    def read(self, size: int | None = -1, /) -> bytes:
        place = self._stream.tell()
        wanted = self.size - place if size is None or size < 0 else size
        data = self._stream.read(wanted) if wanted <= self.size - place else b""
        if len(data) < wanted:
            raise truncated(self.size, place + wanted)
        self.reads += 1
        self.check(data)
        return data

    def close(self) -> None:
        self.closed = True


def _check_metadata(data: bytes) -> None:
    if len(data) > _MOST_METADATA:
        raise UnacceptedError(
            f"has {len(data):,} bytes of metadata in a piece; accepted are {_MOST_METADATA:,}"
        )
    _Inflating(_MOST_METADATA, _MOST_FED * len(data)).check(data)


@dataclass
class _Inflating:
    """What is left of the bytes that compressed data may yield, and of those tried for it."""

    left: int
    to_feed: int

    def check(self, data: bytes) -> None:
        """Refuse data in which compressed ones, wherever they are, yield more than accepted."""
        view = memoryview(data)
        for found in _ZLIB.finditer(data):
            self.check(self.inflated(view[found.start() :]))

    def inflated(self, data: memoryview) -> bytes:
        """Return what compressed data yield, up to where they are damaged."""
        stream, parts = zlib.decompressobj(), []
        for begin in range(0, len(data), _PIECE):
            piece = data[begin : begin + _PIECE]
            self.to_feed -= len(piece)
            try:
                parts.append(stream.decompress(piece, self.left + 1))
            except zlib.error:
                break
            self.left -= len(parts[-1])
            if self.left < 0 or self.to_feed < 0:
                raise UnacceptedError("is damaged: its compressed data yield more than they should")
            if stream.eof:
                break
        return b"".join(parts)


def _stacks(file: Any, source: _Source) -> list[Stack]:
    if file.attributes.compressionType == "lossy":
        raise UnacceptedError("is compressed with loss; accepted are zlib and uncompressed")
    frames = _Frames(file, source)
    loops = {axis: length for axis, length in file.sizes.items() if axis not in "CYXS"}
    axes = [axis for axis in loops if axis != "P"]
    shape = (*(loops[axis] for axis in axes), *frames.shape)
    letters = "".join(axes) + "CYXS"[: len(frames.shape)]
    metadata = file.metadata.channels or []
    channels = tuple(each.channel.name or "" for each in metadata)
    mpp = _mpp(metadata[0].volume) if metadata else None

    def stack(position: int, name: str) -> Stack:
        def read(place: tuple[int, ...]) -> Image:
            at = {**dict(zip(axes, place, strict=True)), "P": position}
            return frames.read([at[axis] for axis in loops], list(loops.values()))

        return by_plane(read, len(axes), letters, shape, frames.dtype, channels, mpp, name)

    return [stack(*each) for each in enumerate(_positions(file, loops.get("P")))]


class _Frames:
    """The frames of a file: (C, H, W), or (C, H, W, 3) in RGB order."""

    def __init__(self, file: Any, source: _Source) -> None:
        attributes = file.attributes
        self._file, self._source = file, source
        self._compressed = attributes.compressionType == "lossless"
        channels, components = attributes.channelCount or 1, file.components_per_channel
        sides = (attributes.heightPx, attributes.widthPx)
        self._stored = (channels, *sides, components)
        self.shape = (channels, *sides, 3) if components == 3 else (channels * components, *sides)
        self.dtype = np.dtype(file.dtype)
        self._bytes = math.prod(self.shape) * self.dtype.itemsize
        check_bytes(self._bytes)

    def read(self, place: list[int], lengths: list[int]) -> Image:
        """Read a frame by its place in the loops of the experiment."""
        number = int(np.ravel_multi_index(place, lengths)) if lengths else 0
        before = self._source.reads
        self._source.check = self._check if self._compressed else lambda data: None
        frame: Image = self._file.read_frame(number).reshape(self._stored)
        if self._source.reads == before:
            raise UnacceptedError(f"is truncated: its frame {number} is missing")
        return np.moveaxis(frame, 3, 1).reshape(self.shape) if len(self.shape) == 3 else frame

    def _check(self, data: bytes) -> None:
        """Refuse a compressed frame that yields more than its rows."""
        rows = self._stored[1] * int(self._file.attributes.widthBytes or 0)
        frame = memoryview(data)[_TIME_STAMP:]
        _Inflating(max(self._bytes, rows), len(data)).inflated(frame)


def _positions(file: Any, count: int | None) -> list[str]:
    """Return the names of the positions of the stage, one without a name where there is one."""
    if count is None:
        return [""]
    loop = next(one for one in file.experiment if one.type == "XYPosLoop")
    points = loop.parameters.points
    return unique_names(point.name or f"p{number:03}" for number, point in enumerate(points))


def _mpp(volume: Any) -> float | None:
    calibrated = all(volume.axesCalibrated[:2])
    return pixel_size(*volume.axesCalibration[:2]) if calibrated else None
