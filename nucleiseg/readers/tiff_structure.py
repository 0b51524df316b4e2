"""Whether a TIFF file is complete, checked before any of it is believed.

tifffile leaves out pages, tags, strips and tiles that it cannot find, with no more than a log
entry, and takes memory for whatever a header promises. So the directories are walked here first,
with work bounded by the size of the file, and every strip and tile is accounted for before it is
decoded.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import tifffile

from nucleiseg.readers.stack import UnacceptedError, truncated

Page = tifffile.TiffPage | tifffile.TiffFrame

# Formats of the values of a tag, by field type (TIFF 6.0, section 2; types 16 to 18 are BigTIFF's).
_FORMATS = dict(enumerate(("B", "s", "H", "I", "2I", "b", "B", "h", "i", "2i", "f", "d", "I"), 1))
_FORMATS |= {16: "Q", 17: "q", 18: "Q"}
_SIZES = {kind: struct.calcsize("<" + layout) for kind, layout in _FORMATS.items()}
_WHOLE = (3, 4, 13, 16, 18)

_WIDTH, _LENGTH, _SAMPLES, _SUBDIRECTORIES = 256, 257, 277, 330
_SEGMENTS = {"strips": (273, 279), "tiles": (324, 325)}

_LAYOUT = (256, 257, 258, 259, 262, 266, 277, 278, 284, 317, 322, 323, 338, 339, 32997, 32998)
"""Tags that say how the pixels of a page are stored. All pages of a stack must agree in them:
tifffile reads them from one page of a stack only."""

_LISTS = (258, 278, 338, 339)
"""Those of them that may have several values: one a sample, or one a strip."""

_MOST_TAGS = 4096
"""Tags of a directory; tifffile takes a longer one for the end of the file."""

_REFERENCED = 4
"""A file whose directories refer to more than so many times its own size is built to waste time."""

_SPARE = 2**20
"""Bytes that may be referred to in a file of any size."""

_LARGEST_RATIO = {
    "NONE": 1,
    "PACKBITS": 64,  # two bytes stand for 128
    "LZW": 2560,  # a code of 12 bits for a string of at most 3,839 bytes
    "ADOBE_DEFLATE": 1040,  # 258 bytes in two bits, and a header
    "DEFLATE": 1040,
    "PIXTIFF": 1040,
    "ZSTD": 2**16,  # 128 KiB in a block of four bytes
    "ZSTD_DEPRECATED": 2**16,
    "JPEG": 2048,  # a bit for a block of 8 x 8, colours at a quarter of the resolution
    "JPEG_LOSSY": 2048,
    "ALT_JPEG": 2048,
}
"""Decoded bytes that one byte of a compressed strip or tile can stand for at most."""


@dataclass(frozen=True)
class Directories:
    """What the directories of a file hold together.

    Parameters
    ----------
    pages
        Directories in the chain, without those below them (SubIFDs).
    samples
        Sum of the samples a pixel of all pages: planes of one value a pixel.
    """

    pages: int
    samples: int


def check(stream: BinaryIO, size: int) -> Directories:
    """Walk all page directories of a file of ``size`` bytes.

    Raises
    ------
    UnacceptedError
        A directory, or a tag's value, lies beyond the end of the file; the chain is a ring; a page
        lacks its size or the places of its pixels; or the directories overlap so much that reading
        them would take much longer than reading the file.
    """
    return _Walk(stream, size).check()


def layout(stream: BinaryIO, size: int, place: int) -> dict[int, tuple[int, ...]]:
    """Return the tags that say how the pixels of the page at ``place`` are stored."""
    walk = _Walk(stream, size)
    tags = walk.directory(place)[0]
    return {
        code: values
        for code, tag in tags.items()
        if code in _LAYOUT and (values := tuple(walk.values(tag)))
    }


@dataclass(frozen=True)
class _Tag:
    kind: int
    count: int
    place: int


class _Walk:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size = stream, size
        self.left = _REFERENCED * size + _SPARE
        head = self._bytes(0, 4)
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:] in (b"+\0", b"\0+")
        self.count, self.pointer, self.inline = ("Q", "Q", 8) if self.big else ("H", "I", 4)

    def check(self) -> Directories:
        pages = samples = 0
        seen: set[int] = set()
        place = self._number(self.pointer, 8 if self.big else 4)
        while place:
            self._once(place, seen)
            tags, after = self.directory(place)
            self._check_tags(tags, pages)
            samples += next(self.values(tags[_SAMPLES]), 1) if _SAMPLES in tags else 1
            for below in self.values(tags[_SUBDIRECTORIES]) if _SUBDIRECTORIES in tags else ():
                if below:
                    self._once(below, seen)
                    self._check_values(self.directory(below)[0])
            place, pages = after, pages + 1
        return Directories(pages, samples)

    def directory(self, place: int) -> tuple[dict[int, _Tag], int]:
        """Return the tags of a directory and the place of the next one."""
        number = self._number(self.count, place)
        if not 0 < number <= _MOST_TAGS:
            raise UnacceptedError(
                f"is damaged: a page directory has {number:,} tags; accepted are 1 to "
                f"{_MOST_TAGS:,}"
            )
        begin = place + struct.calcsize("<" + self.count)
        entry = struct.Struct(f"{self.order}HH{self.pointer}")
        step = entry.size + self.inline
        data = self._bytes(begin, number * step + self.inline)
        tags: dict[int, _Tag] = {}
        for at in range(0, number * step, step):
            code, kind, count = entry.unpack_from(data, at)
            value = begin + at + entry.size
            if count * _SIZES.get(kind, 0) > self.inline:
                (value,) = struct.unpack_from(self.order + self.pointer, data, at + entry.size)
            tags.setdefault(code, _Tag(kind, count, value))
        (after,) = struct.unpack_from(self.order + self.pointer, data, number * step)
        return tags, after

    def values(self, tag: _Tag) -> Iterator[int]:
        """Yield the values of a tag of whole numbers; those of other types are left out."""
        if tag.kind in _WHOLE:
            data = self._bytes(tag.place, tag.count * _SIZES[tag.kind])
            for (value,) in struct.iter_unpack(self.order + _FORMATS[tag.kind], data):
                yield value

    def _check_tags(self, tags: dict[int, _Tag], page: int) -> None:
        kind = "tiles" if _SEGMENTS["tiles"][0] in tags else "strips"
        for code in (_WIDTH, _LENGTH, *_SEGMENTS[kind]):
            if code not in tags:
                raise UnacceptedError(
                    f"is damaged: page {page} lacks the tag {tifffile.TIFF.TAGS[code]}"
                )
        for code in (*_LAYOUT, *_SEGMENTS[kind]):
            tag = tags.get(code)
            lone = code not in (*_LISTS, *_SEGMENTS[kind])
            if tag and (tag.kind not in _WHOLE or not tag.count or (lone and tag.count > 1)):
                raise UnacceptedError(
                    f"is damaged: the tag {tifffile.TIFF.TAGS[code]} of page {page} has "
                    f"{tag.count:,} values of field type {tag.kind}; accepted "
                    f"{'is one whole number' if lone else 'are whole numbers'}"
                )
        self._check_values(tags)

    def _check_values(self, tags: dict[int, _Tag]) -> None:
        for tag in tags.values():
            length = tag.count * _SIZES.get(tag.kind, 0)
            if length > self.inline:
                if tag.place + length > self.size:
                    raise truncated(self.size, tag.place + length)
                self._spend(length)

    def _once(self, place: int, seen: set[int]) -> None:
        if place in seen:
            raise UnacceptedError("is damaged: its page directories form a ring")
        seen.add(place)

    def _number(self, layout: str, place: int) -> int:
        layout = self.order + layout
        (number,) = struct.unpack(layout, self._bytes(place, struct.calcsize(layout)))
        return int(number)

    def _bytes(self, place: int, count: int) -> bytes:
        if place + count > self.size:
            raise truncated(self.size, place + count)
        self._spend(count)
        self.stream.seek(place)
        data = self.stream.read(count)
        if len(data) < count:
            raise truncated(place + len(data), place + count)
        return data

    def _spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise UnacceptedError(
                f"is damaged: its page directories overlap, and refer to more than "
                f"{_REFERENCED} times its {self.size:,} bytes"
            )


def is_plain(page: tifffile.TiffPage) -> bool:
    """Tell whether the pixels of each strip lie in the file as they do in an array."""
    stored = (page.compression, page.predictor, page.fillorder) == (1, 1, 1)
    return stored and not page.is_tiled and page.is_contiguous


def segment_bytes(keyframe: tifffile.TiffPage, rows: int) -> int:
    """Return the bytes of a decoded strip of so many rows, or of a tile; its rows end at bytes."""
    samples = keyframe.samplesperpixel if keyframe.planarconfig == 1 else 1
    width = keyframe.tilewidth if keyframe.is_tiled else keyframe.imagewidth
    return rows * math.ceil(width * samples * keyframe.bitspersample / 8)


def check_segments(page: Page, keyframe: tifffile.TiffPage, size: int) -> None:
    """Make sure that all strips or tiles of a page are there, in a file of ``size`` bytes.

    Raises
    ------
    UnacceptedError
        One is not in the list, is empty, lies beyond the end of the file or is too short for the
        pixels that it should hold, however well they are compressed.
    """
    kind = "tile" if keyframe.is_tiled else "strip"
    offsets, counts = page.dataoffsets, page.databytecounts
    expected = math.prod(keyframe.chunked)
    rows = keyframe.tilelength if keyframe.is_tiled else keyframe.rowsperstrip
    method = tifffile.COMPRESSION(keyframe.compression).name
    if len(offsets) == 1 and expected > 1 and is_plain(keyframe):
        # Some writers store all rows in one strip and say that there are several.
        planes = keyframe.samplesperpixel if keyframe.planarconfig == 2 else 1
        expected, rows = 1, planes * keyframe.imagelength
    if not len(offsets) == len(counts) == expected:
        found = min(len(offsets), len(counts))
        raise UnacceptedError(
            f"is damaged: page {page.index} has {found:,} {kind}s, and its size asks for "
            f"{expected:,}"
        )
    ratio, across = _LARGEST_RATIO.get(method), math.ceil(keyframe.imagelength / rows)
    for number, (begin, count) in enumerate(zip(offsets, counts, strict=True)):
        if not begin or not count:
            raise UnacceptedError(f"is damaged: {kind} {number} of page {page.index} is missing")
        if begin + count > size:
            raise truncated(size, begin + count)
        # The last strip of a plane may be shorter than the others.
        last = kind == "strip" and expected > 1 and number % across == across - 1
        here = keyframe.imagelength - (across - 1) * rows if last else rows
        if ratio and segment_bytes(keyframe, here) > ratio * count:
            raise UnacceptedError(
                f"is damaged: {kind} {number} of page {page.index} has {count:,} bytes, too few "
                "for its pixels"
            )
