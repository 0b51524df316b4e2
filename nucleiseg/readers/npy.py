"""NumPy's ``.npy``: one array, mapped into memory so that only the wanted plane is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from nucleiseg.readers.stack import (
    Image,
    Index,
    Stack,
    UnacceptedError,
    axes_of_array,
    damage,
    truncated,
)

SIGNATURES = (npy.MAGIC_PREFIX,)

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@contextmanager
def opened(path: Path) -> Iterator[Stack]:
    """Open an array of any numeric dtype: (H, W), (H, W, 3 or 4), else its axes have to be told.

    Raises
    ------
    UnacceptedError
        The file is truncated or damaged, or holds Python objects: nothing is unpickled.
    """
    with path.open("rb") as stream:
        with damage():
            version = npy.read_magic(stream)
            if version not in _HEADERS:
                raise UnacceptedError(f"is of .npy version {version}; accepted are 1.0 and 2.0")
            shape, columns_first, dtype = _HEADERS[version](stream)
        if dtype.hasobject:
            raise UnacceptedError("holds Python objects, not numbers; accepted are numbers")
        offset = stream.tell()
    size, needed = path.stat().st_size, offset + math.prod(shape) * dtype.itemsize
    if size < needed:
        raise truncated(size, needed)

    def load(index: Index) -> Image:
        mapped = np.memmap(path, dtype, "r", offset, shape, "F" if columns_first else "C")
        return np.array(mapped[index])

    yield Stack(axes_of_array(shape), shape, dtype, load)
