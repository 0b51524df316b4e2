"""PNG, JPEG, BMP and WebP: from the bytes of a file to its pixels, refusing damaged ones.

Decoders like to return half an image with a mere warning, so each file's structure is checked up to
its end mark, and its size against the limits, before a decoder sees it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nucleiseg.readers import bmp, codecs, jpeg, png
from nucleiseg.readers.codecs import imagecodecs
from nucleiseg.readers.stack import (
    Image,
    Stack,
    UnacceptedError,
    check_bytes,
    check_promise,
    check_size,
    truncated,
)

ACCEPTED = "accepted are PNG, JPEG, TIFF, BMP, WebP, NumPy .npy, Zarr, ND2, CZI, LIF and DICOM"
NO_IMAGE = f"is not an image of a known format; {ACCEPTED}"

SIGNATURES = (png.SIGNATURE, b"\xff\xd8\xff", bmp.SIGNATURE, b"RIFF")

# Marks that begin a JPEG frame, with its size (ITU-T T.81, table B.1).
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = b"\xff\xda"

_JPEG_PIXELS_A_BYTE = 512
"""A block of 8 x 8 pixels takes one bit at least, of Huffman's code for its mean."""
_JPEG_USUAL_SCANS = 10
"""Of a progressive file as libjpeg writes it; files of more scans take more bytes per pixel."""
_WEBP_PIXELS_A_BYTE = 4096
"""No bound of the format, in which an empty image of any size takes some 50 bytes: 2 to 4 times
what images of one colour hold that libwebp compresses with loss."""


@contextmanager
def opened(path: Path) -> Iterator[list[Stack]]:
    """Read a picture: grey (YX) or RGB or RGBA (YXS), of uint8 or uint16.

    Raises
    ------
    UnacceptedError
        The file is truncated, damaged, of another format, or too large.
    """
    check_bytes(path.stat().st_size)
    image = decode(path.read_bytes())
    yield [Stack("YXS"[: image.ndim], image.shape, image.dtype, image.__getitem__)]


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


def _jpeg(data: bytes) -> Image:
    codecs.check("is a JPEG file")
    # The end mark counts behind the first scan's begin only: a thumbnail in the header has its own.
    # Within a scan a stored 0xff is followed by 0 or a restart mark (ITU-T T.81, B.1.1.5).
    begin, pixels = _jpeg_scan(data)
    if data.find(b"\xff\xd9", begin) < 0:
        raise UnacceptedError("is truncated: it ends before its end mark")
    check_promise(pixels, len(data), _JPEG_PIXELS_A_BYTE)
    scans = 1 + data.count(_JPEG_SCAN, begin)
    check_promise(scans * pixels, len(data), _JPEG_PIXELS_A_BYTE * _JPEG_USUAL_SCANS)
    try:
        image: Image = imagecodecs.jpeg8_decode(data)
        whole = jpeg.is_complete(data, begin, image, imagecodecs.jpeg8_decode)
    except (imagecodecs.Jpeg8Error, ValueError) as error:
        raise UnacceptedError(f"is damaged: {error}") from None
    if not whole:
        raise UnacceptedError("is damaged: data of its pixels are missing")
    if image.ndim == 3 and image.shape[2] == 4:
        raise UnacceptedError("has the colours CMYK; accepted are grey and RGB")
    return image


def _jpeg_scan(data: bytes) -> tuple[int, int]:
    """Return the offset of the first scan's data, and the pixels that the frame before it has."""
    position, pixels = 2, 0
    while position + 4 <= len(data):
        marker, kind = data[position : position + 2]
        if marker != 0xFF:
            raise UnacceptedError("is damaged: its header is not that of a JPEG file")
        if kind == 0xFF:
            position += 1
            continue
        if kind in _JPEG_FRAMES and position + 10 <= len(data):
            height, width, colours = struct.unpack_from(">HHB", data, position + 5)
            check_size(height, width, 3 if colours > 1 else 1)
            pixels = height * width
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if kind == _JPEG_SCAN[1]:
            return position, pixels
    raise UnacceptedError("is truncated: it ends within its header")


def _webp(data: bytes) -> Image:
    if data[8:12] != b"WEBP":
        raise UnacceptedError(NO_IMAGE)
    codecs.check("is a WebP file")
    needed = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < needed:
        raise truncated(len(data), needed)
    if len(data) < 30:
        raise truncated(len(data), 30)
    height, width = _webp_size(data)
    check_size(height, width)
    check_promise(height * width, len(data), _WEBP_PIXELS_A_BYTE)
    try:
        image: Image = imagecodecs.webp_decode(data)
    except (imagecodecs.WebpError, ValueError) as error:
        raise UnacceptedError(f"is truncated or damaged: {error}") from None
    if image.shape[:2] != (height, width):
        raise UnacceptedError(
            f"is damaged: it holds {image.shape[0]} x {image.shape[1]} pixels instead of "
            f"{height} x {width}"
        )
    return image


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return height and width as the first chunk's header has them (RFC 9649 and RFC 6386)."""
    kind = data[12:16]
    if kind == b"VP8X":
        height, width = (1 + int.from_bytes(data[at : at + 3], "little") for at in (27, 24))
        return height, width
    if kind == b"VP8L":
        sides = int.from_bytes(data[21:25], "little")
        return 1 + (sides >> 14 & 0x3FFF), 1 + (sides & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return height & 0x3FFF, width & 0x3FFF


_DECODERS: tuple[tuple[bytes, Callable[[bytes], Image]], ...] = tuple(
    zip(SIGNATURES, (png.decode, _jpeg, bmp.decode, _webp), strict=True)
)
