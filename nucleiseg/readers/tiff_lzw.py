"""LZW data (TIFF 6.0, section 13), checked before they are decoded.

The decoder of imagecodecs looks up the first code behind a Clear code without asking whether it is
a single byte: damaged data then have it read from memory that nobody wrote. The widths of codes
depend on nothing but how many came since Clear, so all codes up to the next one are found at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CLEAR, _END, _FIRST = 256, 257, 258
_TABLE = 4096

_STEPS = (slice(0, 256), slice(256, _TABLE + 256))
"""Codes behind a Clear code that are looked at together: some, then all that may follow."""

_SHORTEST = 128
"""Bytes between two Clear codes on average, at least. Encoders write a Clear code after some
thousand bytes; one that compresses nothing, after 280."""

_SPARE = 32
"""Clear codes that data of any length may have."""

_REACH = 2 * _STEPS[-1].stop
"""More bytes than all codes behind a Clear code take."""

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class _Order:
    """Where the codes behind a Clear code lie, for one order of the bits in a byte.

    Parameters
    ----------
    ends
        (codes,) Bits from the first code to the end of each.
    masks, limits
        (codes,) The bits of a code, and the largest code that may stand there: the one that is
        just being made.
    places, shifts
        (8, codes) For each bit of a byte at which the first code begins: the bytes to each code,
        and the bits behind it in the three bytes there.
    mirrored
        Whether a code's lowest bit comes first.
    """

    ends: Ints
    masks: Ints
    limits: Ints
    places: Ints
    shifts: Ints
    mirrored: bool


def _order(mirrored: bool) -> _Order:
    made = np.maximum(np.arange(_STEPS[-1].stop, dtype=np.int32) - 1, 0) + _FIRST
    # TIFF widens a code early; its old, mirrored form does so when there is need.
    changes = np.array([511, 1023, 2047]) + mirrored
    widths = (9 + np.searchsorted(changes, made, side="right")).astype(np.int32)
    ends = np.cumsum(widths, dtype=np.int32)
    begins = ends - widths + np.arange(8, dtype=np.int32)[:, None]
    shifts = begins & 7 if mirrored else 24 - (begins & 7) - widths
    limits = np.minimum(made, _TABLE - 1)
    return _Order(ends, (1 << widths) - 1, limits, begins >> 3, shifts, mirrored)


_TIFF, _MIRRORED = _order(mirrored=False), _order(mirrored=True)


def is_sound(data: bytes) -> bool:
    """Tell whether every Clear code is followed by a single byte.

    Data are looked at up to their end, or to a code that the decoder refuses by itself.
    """
    if len(data) < 2:
        return True
    order = _MIRRORED if data[0] == 0 and data[1] & 1 else _TIFF
    stored = np.frombuffer(data + bytes(_REACH), np.uint8)
    place = 0
    for clears in range(_SPARE + len(data) // _SHORTEST):
        first, cleared = _next_clear(stored, place, 8 * len(data), order)
        if clears and first >= _FIRST:
            return False
        if not cleared:
            return True
        place = cleared
    return False


def _next_clear(stored: NDArray[np.uint8], place: int, bits: int, order: _Order) -> tuple[int, int]:
    """Return the code at a bit, and the bit behind the next Clear code, 0 if there is none."""
    byte, phase = place >> 3, place & 7
    first, left = _END, min(bits - place, 8 * _REACH)
    for step in _STEPS:
        begin, end = (byte + int(order.places[phase, step][one]) for one in (0, -1))
        one, two, three = (stored[begin + n : end + n + 1].astype(np.int32) for n in range(3))
        words = one | two << 8 | three << 16 if order.mirrored else one << 16 | two << 8 | three
        codes = words[order.places[phase, step] - order.places[phase, step.start]]
        codes = codes >> order.shifts[phase, step] & order.masks[step]
        stops = (codes >> 1 == _CLEAR >> 1) | (codes > order.limits[step])
        stops |= order.ends[step] > left
        stop = int(stops.argmax())
        if step.start == 0 and order.ends[0] <= left:
            first = int(codes[0])
        if stops[stop]:
            after = place + int(order.ends[step][stop])
            return first, after if codes[stop] == _CLEAR and after <= bits else 0
    return first, 0
