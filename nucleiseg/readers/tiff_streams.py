"""Images within strips and tiles: whether their own headers promise what the TIFF tags promise.

JPEG, JPEG 2000, JPEG XL, JPEG XR, PNG, WebP and LERC data carry a size of their own, by which their
decoders take memory, and some decoders fill in what is missing at the end. Both are checked before
decoding.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from nucleiseg.readers import jpeg

Size = tuple[int, int, int]
"""Rows, columns and values a pixel, 0 where the decoder finds out in bounds how many they are."""

_MOST_SCANS = 100
"""Scans of a JPEG; each is a pass over all pixels. Encoders of progressive files write ten."""

_CODESTREAM = b"\xff\x4f\xff\x51"
"""How a JPEG 2000 codestream begins: SOC, SIZ."""

_SYCC = 18


class StreamError(ValueError):
    """The data of a strip or tile are damaged; the message says how."""


def size(compression: str, data: bytes) -> Size | None:
    """Return the size of an image by its own header; None for methods that have none.

    Raises
    ------
    StreamError
        The header is damaged, or the data end too early.
    """
    reader = _READERS.get(compression)
    if reader is None:
        return None
    try:
        return reader(data)
    except (LookupError, struct.error):
        raise StreamError("its header is damaged") from None


def _jpeg(data: bytes) -> Size:
    if data[:2] != b"\xff\xd8":
        raise StreamError("it does not begin as a JPEG does")
    position, (rows, columns) = jpeg.first_scan(data)
    if not rows:
        raise StreamError("its header gives no size")
    if data.find(jpeg.END, position) < 0:
        raise StreamError("it ends before its end mark")
    if data.count(jpeg.SCAN, position) > _MOST_SCANS:
        raise StreamError(f"it has more than {_MOST_SCANS} scans")
    return rows, columns, 0


def _jpeg2000(data: bytes) -> Size:
    # A file (ISO 15444-1, annex I) or the codestream alone (annex A), which begins SOC, SIZ.
    begin = 0 if data[:4] == _CODESTREAM else _box(data, b"jp2c")
    if data[begin : begin + 4] != _CODESTREAM:
        raise StreamError("it does not begin as a JPEG 2000 codestream does")
    right, bottom, left, top = struct.unpack_from(">4I", data, begin + 8)
    (components,) = struct.unpack_from(">H", data, begin + 40)
    return bottom - top, right - left, components


def is_rgb(data: bytes) -> bool:
    """Tell whether the decoder makes RGB of a JPEG 2000 image, whatever is stored.

    It does where the codestream has a colour transform of its own (COD, annex A.6.1), and takes
    subsampled colours, and those that a file calls sYCC (annex I.5.3.3), for Y, Cb, Cr.
    """
    position = data.find(_CODESTREAM)
    if b"colr\x01" in data[:position]:
        at = data.index(b"colr\x01") + 7
        if int.from_bytes(data[at : at + 4], "big") == _SYCC:
            return True
    # Of each component SIZ gives depth, and distance of its samples across and down.
    if data[position + 42 + 3 + 1] != 1:
        return True
    position += 2
    while data[position : position + 2] not in (b"\xff\x52", b"\xff\x90"):
        if position + 4 > len(data):
            raise StreamError("its header is damaged")
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data[position + 1] == 0x52 and bool(data[position + 8])


def _box(data: bytes, wanted: bytes) -> int:
    """Return where the content of the first box of a type begins."""
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, position + 8)
            header = 16
        if kind == wanted:
            return position + header
        if length < header:
            break
        position += length
    raise StreamError(f"it has no {wanted.decode()} box")


def _png(data: bytes) -> Size:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        raise StreamError("it does not begin as a PNG does")
    # libpng takes some wrong sums for no more than a warning, which it prints.
    position, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        (stored,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(data[position + 4 : end]) != stored:
            raise StreamError(f"wrong checksum in its {kind!r} chunk")
        position = end + 4
    width, height = struct.unpack_from(">II", data, 16)
    return height, width, 0


def webp(data: bytes) -> Size:
    """Return the size as the first chunk's header has it (RFC 9649 and RFC 6386)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise StreamError("it does not begin as a WebP does")
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        return int.from_bytes(data[27:30], "little") + 1, width, 0
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, 0
    width, height = struct.unpack_from("<HH", data, 26)
    return height & 0x3FFF, width & 0x3FFF, 0


def _jpegxl(data: bytes) -> Size:
    """Read the SizeHeader of ISO 18181-1, whose bits are counted from the lowest of each byte."""
    begin = 0
    if data[:2] != b"\xff\x0a":
        try:
            begin = _box(data, b"jxlc")
        except StreamError:
            begin = _box(data, b"jxlp") + 4
    if data[begin : begin + 2] != b"\xff\x0a":
        raise StreamError("it does not begin as a JPEG XL codestream does")
    bits = int.from_bytes(data[begin + 2 : begin + 14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def length(small: int) -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = length(small)
    ratio = take(3)
    if not ratio:
        return height, length(small), 0
    up, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height, height * up // down, 0


def _jpegxr(data: bytes) -> Size:
    return *jpegxr_header(data)[:2], 0


def jpegxr_header(data: bytes) -> tuple[int, int, int]:
    """Return height and width of a JPEG XR, and the byte of its colours and type of values.

    Its container (ISO 29199-2, annex A) is like a TIFF file, and the image in it has a header of
    its own (8.3).

    Raises
    ------
    StreamError
        The two differ or are damaged.
    """
    if data[:3] != b"II\xbc":
        raise StreamError("it does not begin as a JPEG XR does")
    (place,) = struct.unpack_from("<I", data, 4)
    (number,) = struct.unpack_from("<H", data, place)
    tags: dict[int, int] = {}
    for at in range(place + 2, place + 2 + 12 * number, 12):
        code, kind, _, value = struct.unpack_from("<HHII", data, at)
        if tags and code <= max(tags):
            raise StreamError("its header is damaged")
        tags[code] = value & 0xFFFF if kind == 3 else value
    try:
        width, height, offset, count = (tags[code] for code in (0xBC80, 0xBC81, 0xBCC0, 0xBCC1))
    except KeyError:
        raise StreamError("its header is incomplete") from None
    if offset + count > len(data):
        raise StreamError(f"it ends after {len(data):,} of {offset + count:,} bytes")
    begin = data[offset : offset + count]
    if begin[:8] != b"WMPHOTO\0":
        raise StreamError("its header is damaged")
    # What the decoder does not fill would be whatever the memory held.
    short = begin[10] >> 7
    own = struct.unpack_from(">2H" if short else ">2I", begin, 12)
    if (own[0] + 1, own[1] + 1) != (width, height):
        raise StreamError("the sizes in its headers differ")
    return height, width, begin[11]


def _lerc(data: bytes) -> Size:
    if data[:6] != b"Lerc2 ":
        raise StreamError("it does not begin as a LERC blob of version 2 does")
    (version,) = struct.unpack_from("<i", data, 6)
    # Since version 3 a checksum stands before the size, since 4 the values a pixel behind it.
    height, width, depth, valid = struct.unpack_from("<4i", data, 14 if version >= 3 else 10)
    if version < 4:
        depth, valid = 0, depth
    if valid != height * width:
        raise StreamError("some of its pixels have no value")
    return height, width, depth


_READERS: dict[str, Callable[[bytes], Size]] = {
    **dict.fromkeys(("JPEG", "JPEG_LOSSY", "ALT_JPEG"), _jpeg),
    **dict.fromkeys(("JPEG2000", "JPEG_2000_LOSSY"), _jpeg2000),
    **dict.fromkeys(("APERIO_JP2000_YCBC", "APERIO_JP2000_RGB"), _jpeg2000),
    "PNG": _png,
    **dict.fromkeys(("WEBP", "WEBP_DEPRECATED"), webp),
    **dict.fromkeys(("JPEGXL", "JPEGXL_DNG"), _jpegxl),
    **dict.fromkeys(("JPEGXR", "JPEGXR_NDPI"), _jpegxr),
    "LERC": _lerc,
}
