"""JPEG headers, and data that end too early within a scan, which libjpeg fills in with a warning.

Bytes that do not belong to the picture are put where each piece of it ends. libjpeg skips them if
the piece is complete, and decodes them if it is not: then the picture changes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SCAN, END = b"\xff\xda", b"\xff\xd9"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Marks that begin a frame, with its size (ITU-T T.81, table B.1)."""
_RESTARTS = range(0xD0, 0xD8)
_RESTART_INTERVAL = b"\xff\xdd"
_SEVERAL = (b"\xff\xc2", b"\xff\xc6", b"\xff\xca", b"\xff\xce", _RESTART_INTERVAL)
"""Marks in the header of progressive files, and of those whose scans have restart marks."""

_BLOCK = 8

_NOISE = bytes(value % 251 for value in range(7, 7 * 64, 7))
"""Without the byte 0xff, which begins a mark."""


def first_scan(
    data: bytes, check: Callable[[int, int, int], object] = lambda *frame: None
) -> tuple[int, tuple[int, int]]:
    """Return where the data of the first scan begin, and rows and columns, 0 where nothing says it.

    An end mark behind that place is the picture's own, not that of a thumbnail in the header:
    within a scan a stored 0xff is followed by 0 or a restart mark (ITU-T T.81, B.1.1.5).

    Parameters
    ----------
    check
        Is given rows, columns and colours of each frame.

    Raises
    ------
    LookupError
        Something else stands where a mark should.
    struct.error
        The data end within the header.
    """
    position, rows, columns = 2, 0, 0
    while True:
        mark, kind, length = struct.unpack_from(">BBH", data, position)
        if mark != 0xFF:
            raise LookupError
        if kind == 0xFF:  # a fill byte
            position += 1
            continue
        if kind in _FRAMES:
            rows, columns, colours = struct.unpack_from(">HHB", data, position + 5)
            check(rows, columns, colours)
        position += 2 + length
        if kind == SCAN[1]:
            return position, (rows, columns)


def is_complete(
    data: bytes, begin: int, image: NDArray[np.generic], decode: Callable[[bytes], object]
) -> bool:
    """Return whether all of a decoded JPEG came from its data.

    What is missing of a sequential file without restart marks is flat and reaches the last block,
    so most files are recognised by that alone; the others are decoded once more.

    Parameters
    ----------
    data
        The file, which has an end mark.
    begin
        Offset behind the header of the first scan.
    image
        What the data were decoded to, rows and columns first.
    decode
        Returns an array of the same kind.
    """
    several = any(mark in data[:begin] for mark in _SEVERAL) or SCAN in data[begin:]
    # Colours of the first row and column of a block may be mixed with those beside it.
    row, column = ((side - 1) // _BLOCK * _BLOCK + 1 for side in image.shape[:2])
    last = image[row:, column:]
    if not several and last.size and np.any(last != last[-1, -1]):
        return True
    return bool(np.array_equal(image, np.asarray(decode(_padded(data, begin)))))


def _padded(data: bytes, begin: int) -> bytes:
    """Put noise before each mark that ends a piece of a scan, and more pieces behind the last."""
    parts, position, in_scan, restart = [data[:begin]], begin, True, 0
    restarts = _RESTART_INTERVAL in data[:begin]
    while (mark := data.find(b"\xff", position)) >= 0 and mark + 1 < len(data):
        kind, end = data[mark + 1], mark + 2
        parts.append(data[position:mark])
        if kind in _RESTARTS:
            parts.append(_NOISE)
            restart = (kind + 1) % 8
        elif kind == 0xFF:  # a fill byte
            end = mark + 1
        elif kind:
            if in_scan:
                parts.append(_NOISE)
                following = ((restart + count) % 8 for count in range(8 * restarts))
                parts += [bytes((0xFF, _RESTARTS[each])) + _NOISE for each in following]
            if kind != END[1]:
                end += int.from_bytes(data[end : end + 2], "big")
            in_scan, restart = kind == SCAN[1], 0
        parts.append(data[mark:end])
        position = end
    return b"".join([*parts, data[position:]])
