"""PNG, JPEG, BMP and WebP: from the bytes of a file to its pixels, refusing damaged ones.

Decoders like to return half an image with a mere warning, so each file's structure is checked up to
its end mark, and its size against the limits, before a decoder sees it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nucleiseg.readers import bmp, codecs, jpeg, png, tiff_streams
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
    try:
        begin, (height, width) = jpeg.first_scan(data, _check_frame)
    except struct.error:
        raise UnacceptedError("is truncated: it ends within its header") from None
    except LookupError:
        raise UnacceptedError("is damaged: its header is not that of a JPEG file") from None
    if data.find(jpeg.END, begin) < 0:
        raise UnacceptedError("is truncated: it ends before its end mark")
    check_promise(height * width, len(data), _JPEG_PIXELS_A_BYTE)
    scans = 1 + data.count(jpeg.SCAN, begin)
    check_promise(scans * height * width, len(data), _JPEG_PIXELS_A_BYTE * _JPEG_USUAL_SCANS)
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


def _check_frame(height: int, width: int, colours: int) -> None:
    check_size(height, width, 3 if colours > 1 else 1)


def _webp(data: bytes) -> Image:
    if data[8:12] != b"WEBP":
        raise UnacceptedError(NO_IMAGE)
    codecs.check("is a WebP file")
    needed = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < needed:
        raise truncated(len(data), needed)
    if len(data) < 30:
        raise truncated(len(data), 30)
    height, width, _ = tiff_streams.webp(data)
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


_DECODERS: tuple[tuple[bytes, Callable[[bytes], Image]], ...] = tuple(
    zip(SIGNATURES, (png.decode, _jpeg, bmp.decode, _webp), strict=True)
)
