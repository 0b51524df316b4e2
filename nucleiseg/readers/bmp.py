"""BMP as Windows and OS/2 write it: palettes, colours of 16, 24 and 32 bits, without compression.

The format is described in Microsoft's "Bitmap Storage":
https://learn.microsoft.com/windows/win32/gdi/bitmap-storage
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg.readers.stack import Image, UnacceptedError, check_promise, check_size, truncated

SIGNATURE = b"BM"

_FILE_HEADER = 14
_CORE_HEADER, _INFO_HEADER, _LONGEST_HEADER = 12, 40, 124
_MASKED_HEADER = 52
"""From this length on, a header holds the masks of the colours itself; from 56 on, alpha's too."""
_PALETTES = (1, 2, 4, 8)
_PIXELS_A_BYTE = 8
_COPIES = 8
"""Bytes per pixel in memory at once, at most: as numbers of 32 bits, and as red to alpha."""
_NO_COMPRESSION, _MASKS = 0, 3
_USUAL_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}


class _Header(NamedTuple):
    size: int
    width: int
    height: int
    bits: int
    compression: int
    colours: int
    pixels: int
    """Offset of the pixels in the file."""


def decode(data: bytes) -> Image:
    """Decode a BMP file.

    Returns
    -------
    NDArray
        (H, W) uint8 where the palette is grey, else (H, W, 3) RGB, or (H, W, 4) RGBA where the
        header has a mask of alpha. Values of fewer than 8 bits are their upper bits.

    Raises
    ------
    UnacceptedError
        The file is truncated, damaged, compressed, or promises too many pixels.
    """
    header = _header(data)
    check_size(abs(header.height), header.width, _COPIES)
    check_promise(abs(header.height) * header.width, len(data), _PIXELS_A_BYTE)
    rows = _rows(data, header)
    if header.bits in _PALETTES:
        image = _palette(data, header)[_indices(rows, header)]
    elif header.bits == 24:
        image = rows[:, : 3 * header.width].reshape(-1, header.width, 3)[..., ::-1]
    else:
        image = _masked(rows, header.width, header.bits, _masks(data, header))
    return np.ascontiguousarray(image[::-1] if header.height > 0 else image)


def _header(data: bytes) -> _Header:
    if len(data) < _FILE_HEADER + _CORE_HEADER:
        raise truncated(len(data), _FILE_HEADER + _CORE_HEADER)
    pixels, size = struct.unpack_from("<II", data, 10)
    if size == _CORE_HEADER:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        header = _Header(size, width, height, bits, _NO_COMPRESSION, 0, pixels)
    elif _INFO_HEADER <= size <= _LONGEST_HEADER:
        if len(data) < _FILE_HEADER + size:
            raise truncated(len(data), _FILE_HEADER + size)
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        (colours,) = struct.unpack_from("<I", data, 46)
        header = _Header(size, width, height, bits, compression, colours, pixels)
    else:
        raise UnacceptedError(f"is damaged: its header has {size:,} bytes, which no BMP file has")
    if header.pixels < _FILE_HEADER + size:
        raise UnacceptedError("is damaged: its pixels begin within its header")
    methods = (_NO_COMPRESSION, _MASKS) if bits in _USUAL_MASKS else (_NO_COMPRESSION,)
    if bits not in (*_PALETTES, *_USUAL_MASKS, 24) or header.compression not in methods:
        raise UnacceptedError(
            f"is a BMP file of {bits} bits a pixel with compression {header.compression}; accepted "
            "are 1, 2, 4, 8, 16, 24 and 32 bits without compression"
        )
    return header


def _rows(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """Return the stored rows, (H, bytes), each of whole numbers of 32 bits."""
    row = (header.width * header.bits + 31) // 32 * 4
    height = abs(header.height)
    if len(data) < header.pixels + row * height:
        raise truncated(len(data), header.pixels + row * height)
    return np.frombuffer(data, np.uint8, row * height, header.pixels).reshape(height, row)


def _indices(rows: NDArray[np.uint8], header: _Header) -> NDArray[np.uint8]:
    if header.bits < 8:
        bits = np.unpackbits(rows, axis=1).reshape(len(rows), -1, header.bits)
        rows = np.packbits(bits, axis=2)[..., 0] >> np.uint8(8 - header.bits)
    return rows[:, : header.width]


def _palette(data: bytes, header: _Header) -> NDArray[np.uint8]:
    """Return a colour, or grey value, for each index; black for those that the file leaves out."""
    entry = 3 if header.size == _CORE_HEADER else 4
    count = min(header.colours or 2**header.bits, 2**header.bits)
    begin = _FILE_HEADER + header.size
    if len(data) < begin + entry * count:
        raise truncated(len(data), begin + entry * count)
    stored = np.frombuffer(data, np.uint8, entry * count, begin).reshape(count, entry)
    colours = np.zeros((2**header.bits, 3), np.uint8)
    colours[:count] = stored[:, 2::-1]
    return colours[:, 0] if (colours == colours[:, :1]).all() else colours


def _masks(data: bytes, header: _Header) -> list[int]:
    """Return the masks of red, green and blue, and of alpha if there is one."""
    masks = _USUAL_MASKS[header.bits]
    if header.compression == _MASKS:
        count = 4 if header.size > _MASKED_HEADER else 3
        begin = _FILE_HEADER + _INFO_HEADER
        if len(data) < begin + 4 * count:
            raise truncated(len(data), begin + 4 * count)
        masks = (*struct.unpack_from(f"<{count}I", data, begin), 0)[:4]
    for mask in masks:
        if mask and (mask // (mask & -mask) not in _MASKS_OF_A_BYTE or mask >> header.bits):
            raise UnacceptedError(f"is damaged: its colours have the mask {mask:#x}")
    if not all(masks[:3]):
        raise UnacceptedError("is damaged: a colour has no mask")
    return [mask for mask in masks if mask]


_MASKS_OF_A_BYTE = frozenset(2**bits - 1 for bits in range(1, 9))
"""Masks that stand side by side, moved to the lowest bits."""


def _masked(rows: NDArray[np.uint8], width: int, bits: int, masks: list[int]) -> NDArray[np.uint8]:
    values = rows.view(f"<u{bits // 8}")[:, :width]
    image = np.empty((*values.shape, len(masks)), np.uint8)
    for channel, mask in enumerate(masks):
        part = values & values.dtype.type(mask)
        part >>= max(0, mask.bit_length() - 8)
        part <<= max(0, 8 - mask.bit_length())
        image[..., channel] = part
    return image
