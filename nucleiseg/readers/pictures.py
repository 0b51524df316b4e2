"""PNG, JPEG, BMP and WebP: from the bytes of a file to its pixels, refusing damaged ones.

Decoders like to return half an image with a mere warning, so each file's structure is checked up to
its end mark, and its size against the limits, before a decoder sees it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from nucleiseg.readers.stack import (
    Image,
    Stack,
    UnacceptedError,
    check_bytes,
    check_size,
    truncated,
)

ACCEPTED = "accepted are PNG, JPEG, TIFF, BMP, WebP, NumPy .npy and Zarr"
NO_IMAGE = f"is not an image of a known format; {ACCEPTED}"

SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"RIFF")

_TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
# Marks that begin a JPEG frame, with its size (ITU-T T.81, table B.1).
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@contextmanager
def opened(path: Path) -> Iterator[Stack]:
    """Read a picture: grey (YX) or RGB or RGBA (YXS), of uint8 or uint16.

    Raises
    ------
    UnacceptedError
        The file is truncated, damaged, of another format, or too large.
    """
    check_bytes(path.stat().st_size)
    image = decode(path.read_bytes())
    yield Stack("YXS"[: image.ndim], image.shape, image.dtype, image.__getitem__)


def decode(data: bytes) -> Image:
    """Decode the bytes of a PNG, JPEG, BMP or WebP file, told apart by their first bytes.

    Returns
    -------
    NDArray
        (H, W) or (H, W, C), see `nucleiseg.images.read`.

    Raises
    ------
    UnacceptedError
        The bytes are truncated, damaged, of another format, or promise too many pixels.
    """
    for signature, decoder in _DECODERS:
        if data.startswith(signature):
            return decoder(data)
    raise UnacceptedError(NO_IMAGE)


def _png(data: bytes) -> Image:
    for kind, begin, end in _png_chunks(data):
        if zlib.crc32(data[begin - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise UnacceptedError(f"is damaged: wrong checksum in its {kind!r} chunk")
        if kind == b"IHDR" and end - begin >= 8:
            width, height = struct.unpack_from(">II", data, begin)
            check_size(height, width)
    return _opencv(data)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    position, kind = 8, b""
    while kind != b"IEND":
        begin = position + 8
        if len(data) < begin:
            raise UnacceptedError("is truncated: it ends before its end mark")
        length, kind = struct.unpack_from(">I4s", data, position)
        position = begin + length + 4
        if len(data) < position:
            raise truncated(len(data), position)
        yield kind, begin, begin + length


def _jpeg(data: bytes) -> Image:
    # The end mark counts behind the first scan's begin only: a thumbnail in the header has its own.
    # Within a scan a stored 0xff is followed by 0 or a restart mark (ITU-T T.81, B.1.1.5).
    if data.find(b"\xff\xd9", _jpeg_scan(data)) < 0:
        raise UnacceptedError("is truncated: it ends before its end mark")
    return _opencv(data)


def _jpeg_scan(data: bytes) -> int:
    """Offset of the first scan's data; the frame's size, which stands before it, is checked."""
    position = 2
    while position + 4 <= len(data):
        marker, kind = data[position : position + 2]
        if marker != 0xFF:
            raise UnacceptedError("is damaged: its header is not that of a JPEG file")
        if kind == 0xFF:
            position += 1
            continue
        if kind in _JPEG_FRAMES and position + 9 <= len(data):
            check_size(*struct.unpack_from(">HH", data, position + 5))
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if kind == 0xDA:
            return position
    raise UnacceptedError("is truncated: it ends within its header")


def _bmp(data: bytes) -> Image:
    if len(data) < 26:
        raise truncated(len(data), 26)
    old = data[14] == 12  # the header of OS/2 1.x
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    check_size(abs(height), width)
    return _opencv(data)


def _webp(data: bytes) -> Image:
    if data[8:12] != b"WEBP":
        raise UnacceptedError(NO_IMAGE)
    needed = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < needed:
        raise truncated(len(data), needed)
    # The two plain kinds hold up to 16,383 pixels a side, which is always accepted.
    if data[12:16] == b"VP8X" and len(data) >= 30:
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        check_size(height, width)
    return _opencv(data)


def _opencv(data: bytes) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UnacceptedError(f"cannot be read: {error.err}") from None
    if image is None:
        raise UnacceptedError(f"is truncated or damaged; {ACCEPTED}")
    return image if image.ndim == 2 else cv2.cvtColor(image, _TO_RGB[image.shape[2]])


_DECODERS: tuple[tuple[bytes, Callable[[bytes], Image]], ...] = tuple(
    zip(SIGNATURES, (_png, _jpeg, _bmp, _webp), strict=True)
)
