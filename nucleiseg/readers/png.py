"""PNG: every byte that becomes a pixel is checked to be in the file before libpng sees it.

libpng returns images of damaged files with no more than a warning on stderr, and other readers also
compose the frames of animations. So the chunks are read here and the pixels' data decompressed,
which must yield exactly the bytes that the header promises. libpng is then given the header, the
palette and those bytes, uncompressed: nothing is left for it to warn of. Of an animation this is
the default image.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from nucleiseg.readers import codecs
from nucleiseg.readers.codecs import imagecodecs
from nucleiseg.readers.stack import Image, UnacceptedError, check_size, truncated

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# W3C, "Portable Network Graphics (PNG) Specification", tables 11.1 and 11.2.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_RGB, _PALETTE = 2, 3
# First row and column and steps of the passes of an interlaced image (section 8.2).
_PASSES = {
    0: ((0, 0, 1, 1),),
    1: (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ),
}
_COPIES = 2
"""Of the pixels that are in memory at once: as they are stored again, and as they are decoded."""
_DEFLATE_RATIO = 1032
"""Bytes that one byte of deflate's holds at most: four matches of 258 bytes in two bits each."""


def decode(data: bytes) -> Image:
    """Decode a PNG file; of an animation the default image.

    Returns
    -------
    NDArray
        (H, W), (H, W, 3) or (H, W, 4) of uint8 or uint16. Palettes become colours; the transparent
        colour of a grey image is left out.

    Raises
    ------
    UnacceptedError
        The file is truncated or damaged, or promises too many pixels.
    """
    codecs.check("is a PNG file")
    header, palette, alpha, parts = b"", b"", b"", []
    for kind, content in _chunks(data):
        if kind == b"IHDR" and not header:
            header = content
            _check_header(header)
        elif kind == b"PLTE":
            palette = content
        elif kind == b"tRNS":
            alpha = content
        elif kind == b"IDAT":
            parts.append(content)
    if not header:
        raise UnacceptedError("is damaged: it has no IHDR chunk")
    file = bytearray(SIGNATURE)
    for chunk in (*_chunk(b"IHDR", header), *_colours(header, palette, alpha)):
        file += chunk
    compressed = b"".join(parts)
    del data, parts  # of a large image each copy counts
    for chunk in (*_chunk(b"IDAT", _stored(header, compressed)), *_chunk(b"IEND", b"")):
        file += chunk
    try:
        image: Image = imagecodecs.png_decode(file)
    except (imagecodecs.PngError, ValueError) as error:
        raise UnacceptedError(f"is damaged: {error}") from None
    if image.ndim == 3 and image.shape[2] == 2:
        return np.ascontiguousarray(image[..., [0, 0, 0, 1]])
    return image


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        begin = position + 8
        if len(data) < begin:
            raise UnacceptedError("is truncated: it ends before its end mark")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = begin + length
        position = end + 4
        if len(data) < position:
            raise truncated(len(data), position)
        content, checksum = data[begin:end], int.from_bytes(data[end:position], "big")
        if imagecodecs.deflate_crc32(content, imagecodecs.deflate_crc32(kind)) != checksum:
            raise UnacceptedError(f"is damaged: wrong checksum in its {kind!r} chunk")
        yield kind, content


def _check_header(header: bytes) -> None:
    if len(header) != 13:
        raise UnacceptedError(f"is damaged: its IHDR chunk has {len(header)} bytes, not 13")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(
        ">IIBBBBB", header
    )
    size = 3 if colour == _PALETTE else _CHANNELS.get(colour, 1) * -(-depth // 8)
    check_size(height, width, _COPIES * size)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace not in _PASSES:
        raise UnacceptedError(
            f"is damaged: its header has colour type {colour}, bit depth {depth}, compression "
            f"{compression}, filter {filtering} and interlace {interlace}, which no PNG file has"
        )


def _colours(header: bytes, palette: bytes, alpha: bytes) -> list[bytes]:
    """Return the chunks of the palette, padded to all that pixels can name, and of transparency."""
    depth, colour = header[8:10]
    if colour == _RGB and len(alpha) == 2 * _CHANNELS[colour]:
        return _chunk(b"tRNS", alpha)
    if colour != _PALETTE:
        return []
    entries = len(palette) // 3
    if not 1 <= entries <= 2**depth or len(palette) % 3:
        raise UnacceptedError(f"is damaged: its palette has {len(palette)} bytes")
    chunks = _chunk(b"PLTE", palette.ljust(3 * 2**depth, b"\0"))
    return chunks + (_chunk(b"tRNS", alpha[:entries]) if alpha else [])


def _stored(header: bytes, compressed: bytes) -> bytes:
    """Decompress the pixels' data, which must be of the size promised, and store it again."""
    width, height, depth, colour = struct.unpack_from(">IIBB", header)
    size = 0
    for row, column, rows, columns in _PASSES[header[12]]:
        lines = -(-(height - row) // rows) if height > row else 0
        pixels = -(-(width - column) // columns) if width > column else 0
        size += lines * (1 + -(-pixels * _CHANNELS[colour] * depth // 8)) if pixels else 0
    if size > _DEFLATE_RATIO * len(compressed):
        raise truncated(len(compressed), size // _DEFLATE_RATIO)
    try:
        raw = imagecodecs.deflate_decode(compressed, out=size)
    except (imagecodecs.DeflateError, ValueError) as error:
        raise UnacceptedError(f"is damaged: its compressed data are wrong ({error})") from None
    if len(raw) != size:
        raise truncated(len(raw), size)
    return bytes(imagecodecs.zlib_encode(raw, level=0))


def _chunk(kind: bytes, content: bytes) -> list[bytes]:
    checksum = imagecodecs.deflate_crc32(content, imagecodecs.deflate_crc32(kind))
    return [struct.pack(">I4s", len(content), kind), content, struct.pack(">I", checksum)]
