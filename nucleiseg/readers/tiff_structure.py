"""Whether a TIFF file is all there: tifffile leaves lost pages and tags out without a word."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import tifffile

from nucleiseg.readers.stack import UnacceptedError, truncated

# Bytes a value, by field type (TIFF 6.0, section 2; types 16 to 18 are BigTIFF's).
_TAG_SIZES = dict(enumerate((0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)))


def check(file: tifffile.TiffFile) -> None:
    """Follow the chain of page directories to its end.

    Raises
    ------
    UnacceptedError
        A directory, or a tag's value, lies beyond the end of the file, or the chain is a ring.
    """
    size = file.filehandle.size
    seen: set[int] = set()
    offset, pointer = (8, "Q") if file.is_bigtiff else (4, "I")
    (place,) = _unpacked(file, pointer, offset)
    while place:
        if place in seen:
            raise UnacceptedError("is damaged: its page directories form a ring")
        seen.add(place)
        place, ends = _directory(file, place)
        needed = max(ends, default=0)
        if needed > size:
            raise truncated(size, needed)


def check_segments(
    page: tifffile.TiffPage | tifffile.TiffFrame, keyframe: tifffile.TiffPage, size: int
) -> None:
    """Make sure that all strips or tiles of a page are there, in a file of ``size`` bytes."""
    expected = math.prod(keyframe.chunked)
    # Uncompressed pixels may lie in one piece, whatever the number of strips that is given.
    if keyframe.compression != tifffile.COMPRESSION.NONE and len(page.dataoffsets) < expected:
        raise UnacceptedError(
            f"is damaged: it has {len(page.dataoffsets):,} of {expected:,} strips or tiles"
        )
    segments = zip(page.dataoffsets, page.databytecounts, strict=True)
    needed = max((begin + count for begin, count in segments), default=0)
    if needed > size:
        raise truncated(size, needed)


def _directory(file: tifffile.TiffFile, place: int) -> tuple[int, Iterator[int]]:
    """Give the offset of the next directory, and where the values of this one end."""
    count_format, tag_format, pointer, inline = (
        ("Q", "HHQQ", "Q", 8) if file.is_bigtiff else ("H", "HHII", "I", 4)
    )
    (count,) = _unpacked(file, count_format, place)
    begin = place + struct.calcsize("<" + count_format)
    length = struct.calcsize("<" + tag_format)
    data = _bytes(file, begin, count * length + struct.calcsize("<" + pointer))
    tags = struct.iter_unpack(file.byteorder + tag_format, data[: count * length])
    (after,) = struct.unpack_from(file.byteorder + pointer, data, count * length)
    sizes = ((number * _TAG_SIZES.get(kind, 0), offset) for _, kind, number, offset in tags)
    return after, (offset + size for size, offset in sizes if size > inline)


def _unpacked(file: tifffile.TiffFile, layout: str, place: int) -> tuple[int, ...]:
    layout = file.byteorder + layout
    return struct.unpack(layout, _bytes(file, place, struct.calcsize(layout)))


def _bytes(file: tifffile.TiffFile, place: int, count: int) -> bytes:
    size = file.filehandle.size
    if place + count > size:
        raise truncated(size, place + count)
    file.filehandle.seek(place)
    data: bytes = file.filehandle.read(count)
    return data
