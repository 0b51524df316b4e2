"""NumPy's ``.npy``: one array, of which only the wanted plane is read."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from nucleiseg.readers import raw
from nucleiseg.readers.stack import (
    Image,
    Index,
    Stack,
    UnacceptedError,
    axes_of_array,
    truncated,
)

SIGNATURES = (npy.MAGIC_PREFIX,)

_HEADERS = {(1, 0): (npy.read_array_header_1_0, 2), (2, 0): (npy.read_array_header_2_0, 4)}
"""How a version's header is parsed, and how many bytes hold its length."""

_LONGEST_HEADER = 10_000
"""Bytes of a header, as NumPy accepts them: it is parsed as Python's literals."""


@contextmanager
def opened(path: Path) -> Iterator[list[Stack]]:
    """Open an array of any numeric dtype: (H, W), (H, W, 3 or 4), else its axes have to be told.

    Raises
    ------
    UnacceptedError
        The file is truncated or damaged, or holds Python objects: nothing is unpickled.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(npy.MAGIC_LEN + 4 + _LONGEST_HEADER)
        shape, columns_first, dtype, offset = _header(head, size)
        if dtype.hasobject:
            raise UnacceptedError("holds Python objects, not numbers; accepted are numbers")
        needed = offset + math.prod(shape) * dtype.itemsize
        if size < needed:
            raise truncated(size, needed)

        def load(index: Index) -> Image:
            file = stream.fileno()
            if columns_first:
                return np.transpose(raw.read(file, offset, shape[::-1], dtype, index[::-1]))
            return raw.read(file, offset, shape, dtype, index)

        yield [Stack(axes_of_array(shape), shape, dtype, load)]


def _header(head: bytes, size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, order, dtype and the offset of the values; lengths are checked beforehand."""
    version = npy.read_magic(io.BytesIO(head))
    if version not in _HEADERS:
        raise UnacceptedError(f"is of .npy version {version}; accepted are 1.0 and 2.0")
    parse, digits = _HEADERS[version]
    begin = npy.MAGIC_LEN + digits
    length = int.from_bytes(head[npy.MAGIC_LEN : begin], "little")
    offset = begin + length
    if size < offset:
        raise truncated(size, offset)
    if length > _LONGEST_HEADER:
        raise UnacceptedError(
            f"has a header of {length:,} bytes; accepted are up to {_LONGEST_HEADER:,}"
        )
    try:
        shape, columns_first, dtype = parse(io.BytesIO(head[npy.MAGIC_LEN : offset]))
    except MemoryError:  # how Python's parser says that brackets are nested too deeply
        raise UnacceptedError("is damaged: its header cannot be parsed") from None
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise UnacceptedError(f"is damaged: it has the shape {shape}")
    return shape, columns_first, dtype, offset
