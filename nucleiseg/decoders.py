"""From the bytes of an image file to its pixels, refusing what is truncated or damaged.

Decoders like to return half an image with a mere warning, so each file's structure is checked up to
its end mark before a decoder sees it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

Image = NDArray[Any]

_ACCEPTED = "accepted are PNG, JPEG, TIFF, BMP and WebP"
_TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
# Bytes a value, by field type (TIFF 6.0, section 2; types 16 to 18 are BigTIFF's).
_TAG_SIZES = dict(enumerate((0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)))
_TIFF_AXES = ("YX", "YXS", "SYX")
_TIFF_COLOURS = ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "YCBCR")


class UnacceptedError(ValueError):
    """The bytes are no image that this package takes; the message completes "the file ..."."""


def decode(data: bytes) -> Image:
    """Decode the bytes of a PNG, JPEG, TIFF, BMP or WebP file, told apart by their first bytes.

    Returns
    -------
    NDArray
        (H, W) or (H, W, C), see `nucleiseg.images.read`.

    Raises
    ------
    UnacceptedError
        The bytes are empty, truncated, damaged, of another format, or hold several pages.
    """
    if not data:
        raise UnacceptedError("is empty")
    for signature, decoder in _DECODERS:
        if data.startswith(signature):
            return decoder(data)
    raise UnacceptedError(f"is not an image of a known format; {_ACCEPTED}")


def _png(data: bytes) -> Image:
    for kind, begin, end in _png_chunks(data):
        if zlib.crc32(data[begin - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise UnacceptedError(f"is damaged: wrong checksum in its {kind!r} chunk")
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
            raise UnacceptedError(_truncated(len(data), position))
        yield kind, begin, begin + length


def _jpeg(data: bytes) -> Image:
    # The end mark counts behind the first scan's begin only: a thumbnail in the header has its own.
    # Within a scan a stored 0xff is followed by 0 or a restart mark (ITU-T T.81, B.1.1.5).
    if data.find(b"\xff\xd9", _jpeg_scan(data)) < 0:
        raise UnacceptedError("is truncated: it ends before its end mark")
    return _opencv(data)


def _jpeg_scan(data: bytes) -> int:
    """Offset of the first scan's data."""
    position = 2
    while position + 4 <= len(data):
        marker, kind = data[position : position + 2]
        if marker != 0xFF:
            raise UnacceptedError("is damaged: its header is not that of a JPEG file")
        if kind == 0xFF:
            position += 1
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if kind == 0xDA:
            return position
    raise UnacceptedError("is truncated: it ends within its header")


def _webp(data: bytes) -> Image:
    if data[8:12] != b"WEBP":
        raise UnacceptedError(f"is not an image of a known format; {_ACCEPTED}")
    needed = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < needed:
        raise UnacceptedError(_truncated(len(data), needed))
    return _opencv(data)


def _opencv(data: bytes) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise UnacceptedError(f"cannot be read: {error.err}") from None
    if image is None:
        raise UnacceptedError(f"is truncated or damaged; {_ACCEPTED}")
    return image if image.ndim == 2 else cv2.cvtColor(image, _TO_RGB[image.shape[2]])


def _tiff(data: bytes) -> Image:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = _only_page(file)
            _check_extent(file, page, data)
            return _page_image(page, data)
    except UnacceptedError:
        raise
    # tifffile and its codecs raise whatever the damaged bytes provoke.
    except Exception as error:
        raise UnacceptedError(f"is truncated or damaged: {error}") from None


def _only_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    pages = [
        page
        for page in map(file.pages.get, range(len(file.pages)))
        if isinstance(page, tifffile.TiffPage) and not page.is_reduced
    ]
    if not pages:
        raise UnacceptedError("is truncated or damaged: it ends before its page directory")
    planes = max(len(pages), file.series[0].size // max(pages[0].size, 1))
    if planes > 1:
        raise UnacceptedError(
            f"holds {planes} pages; accepted is one two-dimensional image a file, so split volumes "
            "and time series first"
        )
    page = pages[0]
    if page.axes not in _TIFF_AXES:
        raise UnacceptedError(f"has the axes {page.axes}; accepted are {', '.join(_TIFF_AXES)}")
    colours = tifffile.PHOTOMETRIC(page.photometric).name
    if colours not in _TIFF_COLOURS:
        raise UnacceptedError(f"has {colours} colours; accepted are {', '.join(_TIFF_COLOURS)}")
    return page


def _check_extent(file: tifffile.TiffFile, page: tifffile.TiffPage, data: bytes) -> None:
    segments = zip(page.dataoffsets, page.databytecounts, strict=True)
    ends = [begin + count for begin, count in segments]
    needed = max(*ends, *_tag_ends(file, page, data), 0)
    if needed > len(data):
        raise UnacceptedError(_truncated(len(data), needed))


def _tag_ends(file: tifffile.TiffFile, page: tifffile.TiffPage, data: bytes) -> Iterator[int]:
    """Where the page's tags end that lie elsewhere in the file: tifffile leaves lost ones out."""
    count_format, tag_format, inline = ("Q", "HHQQ", 8) if file.is_bigtiff else ("H", "HHII", 4)
    order = file.byteorder
    (count,) = struct.unpack_from(order + count_format, data, page.offset)
    position = page.offset + struct.calcsize(order + count_format)
    for _ in range(count):
        _, kind, length, offset = struct.unpack_from(order + tag_format, data, position)
        position += struct.calcsize(order + tag_format)
        size = length * _TAG_SIZES.get(kind, 0)
        if size > inline:
            yield offset + size


def _page_image(page: tifffile.TiffPage, data: bytes) -> Image:
    try:
        image = page.asarray()
    except Exception as error:
        # Without the package imagecodecs tifffile knows deflate alone; OpenCV's libtiff knows LZW,
        # PackBits and JPEG, and sees to colours itself.
        if "imagecodecs" not in str(error):
            raise
        return _page_by_opencv(page, data)
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    if page.axes == "SYX":
        image = np.ascontiguousarray(np.moveaxis(image, 0, -1))
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    return _COLOURS.get(page.photometric, _as_stored)(page, image)


def _page_by_opencv(page: tifffile.TiffPage, data: bytes) -> Image:
    image = _opencv(data)
    if image.shape[:2] != (page.imagelength, page.imagewidth):
        method = tifffile.COMPRESSION(page.compression).name
        raise UnacceptedError(f"is compressed with {method}, which needs the package imagecodecs")
    return image


def _as_stored(page: tifffile.TiffPage, image: Image) -> Image:
    return image


def _from_palette(page: tifffile.TiffPage, image: Image) -> Image:
    if page.colormap is None:
        raise UnacceptedError("is damaged: its palette is missing")
    palette = (page.colormap >> 8).astype(np.uint8)
    return np.ascontiguousarray(palette.T)[image]


def _from_zero_is_white(page: tifffile.TiffPage, image: Image) -> Image:
    return np.invert(image) if image.dtype.kind == "u" else image


_COLOURS: dict[int, Callable[[tifffile.TiffPage, Image], Image]] = {
    tifffile.PHOTOMETRIC.PALETTE: _from_palette,
    tifffile.PHOTOMETRIC.MINISWHITE: _from_zero_is_white,
}


def _truncated(size: int, needed: int) -> str:
    return f"is truncated: {size:,} bytes of at least {needed:,}"


_DECODERS: tuple[tuple[bytes, Callable[[bytes], Image]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"II+\0", _tiff),
    (b"MM\0+", _tiff),
    (b"BM", _opencv),
    (b"RIFF", _webp),
)
