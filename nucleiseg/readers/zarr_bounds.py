"""What a chunk of a Zarr array becomes when it is decompressed, found out before it is.

The libraries take memory for whatever compressed data say or yield, so that a file of megabytes can
take all of it. So each chunk is checked as it is read: an array may have one compressor, of those
whose result can be told or counted, and that may yield what a chunk should hold.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nucleiseg.readers import codecs
from nucleiseg.readers.codecs import imagecodecs
from nucleiseg.readers.stack import UnacceptedError

_SAME_SIZE = {
    *("bytes", "endian", "transpose", "shuffle", "bitround", "delta", "fixedscaleoffset"),
    *("quantize", "astype", "packbits", "crc32c", "crc32", "adler32", "fletcher32"),
    "sharding_indexed",
}
"""Codecs whose result is about as large as what they are given."""

_GROWTH, _SPARE = 8, 2**16
"""What `_SAME_SIZE` may make of a value's bytes, and what small chunks may take more."""

_DEFLATE_RATIO = 1032
_BLOSC_HEADER = 16
_PIECE = 2**20
_NO_CHUNK = 2**64 - 1


@dataclass(frozen=True)
class Bound:
    """The check of an array's chunks.

    Parameters
    ----------
    compressor
        Its name, empty where there is none.
    most
        Bytes that a chunk may yield.
    inner
        Chunks in a shard; 0 where there are no shards.
    """

    compressor: str
    most: int
    inner: int

    @classmethod
    def of(cls, metadata: dict[str, Any], chunk_bytes: int, inner: int) -> Bound:
        """Return the check for chunks of so many bytes, and for so many of them in a shard.

        Raises
        ------
        UnacceptedError
            The array, of which ``metadata`` is ``.zarray`` or ``zarr.json``, has a codec that is
            not known here, or several compressors.
        """
        found = list(_codecs([metadata.get(key) for key in ("codecs", "compressor", "filters")]))
        names = [name for name, _ in found]
        unknown = [name for name in names if name not in _SAME_SIZE and name not in _SIZES]
        compressors = [name for name in names if name in _SIZES]
        shards = [settings for name, settings in found if name == "sharding_indexed"]
        if unknown or len(compressors) > 1 or len(shards) > 1:
            raise UnacceptedError(
                f"is compressed with {', '.join(unknown or compressors or ['several shards'])}; "
                f"accepted is one of {', '.join(_SIZES)}"
            )
        for settings in shards:
            if settings.get("index_location", "end") != "end":
                raise UnacceptedError("has the index of its shards at their start, not at the end")
        return cls("".join(compressors), _GROWTH * chunk_bytes + _SPARE, inner)

    def check(self, data: bytes, is_part: bool = False) -> None:
        """Refuse a file, or a part of a shard, that yields more than it should."""
        for part in self._parts(data) if self.inner and not is_part else [data]:
            if self.compressor and _SIZES[self.compressor](part, self.most) > self.most:
                raise UnacceptedError(
                    f"is damaged: a chunk of {len(part):,} bytes yields more than the "
                    f"{self.most:,} that are accepted"
                )

    def _parts(self, data: bytes) -> Iterator[bytes]:
        # The index of a shard: offset and length of each chunk, and a checksum of four bytes.
        size = 16 * self.inner + 4
        for offset, length in struct.iter_unpack("<QQ", data[len(data) - size : len(data) - 4]):
            if offset != _NO_CHUNK:
                yield data[offset : offset + length]


def _codecs(found: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and settings of each codec, those within shards, too."""
    if isinstance(found, list):
        for each in found:
            yield from _codecs(each)
    elif isinstance(found, dict):
        settings = found.get("configuration") or {}
        name = str(found.get("id", found.get("name", ""))).lower().removeprefix("numcodecs.")
        yield name, settings
        if isinstance(settings, dict):
            yield from _codecs(settings.get("codecs"))


def _blosc(data: bytes, most: int) -> int:
    # The decoder trusts the header (Blosc's README_CHUNK_FORMAT): it reads what lies behind.
    needed = max(int.from_bytes(data[12:16], "little"), _BLOSC_HEADER)
    if len(data) < needed:
        raise UnacceptedError(f"is truncated: a chunk has {len(data):,} bytes of {needed:,}")
    return int.from_bytes(data[4:8], "little")


def _zstd(data: bytes, most: int) -> int:
    """Read the frame's header (RFC 8878, section 3.1.1.1), or decompress where it has no size."""
    if data[:4] != b"\x28\xb5\x2f\xfd" or len(data) < 5:
        return 0
    flags = data[4]
    single, digits = flags >> 5 & 1, (0, 2, 4, 8)[flags >> 6]
    digits = digits or single
    begin = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    if digits:
        return int.from_bytes(data[begin : begin + digits], "little") + 256 * (digits == 2)
    codecs.check("is Zarr")
    try:
        return len(imagecodecs.zstd_decode(data, out=most + 1))
    except imagecodecs.ZstdError:
        return most + 1


def _counted(make: Callable[[], Any], ratio: float = float("inf")) -> Callable[[bytes, int], int]:
    def count(data: bytes, most: int) -> int:
        if len(data) * ratio <= most:
            return 0
        found = 0
        while data and found <= most:
            stream = make()
            while not stream.eof and found <= most:
                step = len(stream.decompress(data, _PIECE))
                found += step
                data = getattr(stream, "unconsumed_tail", b"")
                if not step and not data:
                    break
            data = stream.unused_data if stream.eof else b""
        return found

    return count


_SIZES: dict[str, Callable[[bytes, int], int]] = {
    "blosc": _blosc,
    "zstd": _zstd,
    "lz4": lambda data, most: int.from_bytes(data[:4], "little"),
    "gzip": _counted(lambda: zlib.decompressobj(47), _DEFLATE_RATIO),
    "zlib": _counted(lambda: zlib.decompressobj(47), _DEFLATE_RATIO),
    "bz2": _counted(bz2.BZ2Decompressor),
    "lzma": _counted(lzma.LZMADecompressor),
}
"""Bytes that the data of a compressor yield, or more than accepted as soon as that is known."""
