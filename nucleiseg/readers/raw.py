"""Parts of an array that lies in a file as it does in memory, read and never mapped.

A file that another program shortens while it is mapped ends the process (SIGBUS); reading it is an
error like any other.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from nucleiseg.readers.stack import Image, Index, check_bytes, truncated

_LEAST_RUN = 4096
"""Bytes that are worth a call of their own."""


def read(
    descriptor: int, offset: int, shape: Sequence[int], dtype: np.dtype[Any], index: Index
) -> Image:
    """Return the part of an array in C order that an index of numbers and ``slice(None)`` names.

    Parameters
    ----------
    descriptor
        Of the open file.
    offset
        Where the array begins.
    shape, dtype
        Of the whole array.
    index
        An entry an axis.

    Raises
    ------
    UnacceptedError
        The file ends before, or what has to be read needs too much memory.
    """
    axes = len(shape)
    chosen = [axis for axis in range(axes) if not isinstance(index[axis], slice)]
    inner = chosen[-1] + 1 if chosen else 0
    if math.prod(shape[inner:]) * dtype.itemsize < _LEAST_RUN:
        # Single values far from each other: read all behind the leading numbers.
        inner = next((axis for axis in range(axes) if axis not in chosen), axes)
    run = math.prod(shape[inner:]) * dtype.itemsize
    places = [
        range(length) if isinstance(place, slice) else (place,)
        for length, place in zip(shape[:inner], index, strict=False)
    ]
    counts = [len(each) for each in places]
    check_bytes(math.prod(counts) * run)
    pixels = np.empty((*counts, *shape[inner:]), dtype)
    left = pixels.reshape(-1).view(np.uint8).data
    strides = [math.prod(shape[axis + 1 : inner]) * run for axis in range(inner)]
    for number, each in enumerate(itertools.product(*places)):
        begin = offset + sum(place * step for place, step in zip(each, strides, strict=True))
        fill(descriptor, begin, left[number * run : (number + 1) * run])
    rest = (slice(None) if length > 1 or isinstance(place, slice) else 0
            for length, place in zip(counts, index, strict=False))  # fmt: skip
    part: Image = pixels[tuple(rest) + index[inner:]]
    return part if part.flags.c_contiguous else part.copy()


def fill(descriptor: int, begin: int, left: memoryview) -> None:
    """Fill memory with a file's bytes from a place on; UnacceptedError where the file ends."""
    while left:
        count = os.preadv(descriptor, [left], begin)
        if not count:
            raise truncated(begin, begin + len(left))
        left, begin = left[count:], begin + count
