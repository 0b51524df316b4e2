"""Values of any kind as those that the network's preparation takes, exactly or not at all."""

from __future__ import annotations

import numpy as np

from nucleiseg.readers.stack import Image, UnacceptedError

NATIVE = ("uint8", "uint16", "int16", "float32", "float64")

_EXACT = {
    "int8": np.int16,
    "uint32": np.float64,
    "int32": np.float64,
    "uint64": np.float64,
    "int64": np.float64,
    "float16": np.float32,
}

_LARGEST_WHOLE = 2**53
"""Up to here float64 holds every whole number (IEEE 754, 53 binary digits)."""


def accepted(array: Image) -> Image:
    """Return the same values as uint8, uint16, int16, float32 or float64.

    Parameters
    ----------
    array
        Any shape. bool becomes uint8 0 and 255; int8 becomes int16; float16 becomes float32; whole
        numbers of 32 and 64 bits become float64.

    Raises
    ------
    UnacceptedError
        Another dtype, or a whole number beyond 2**53, which float64 would round.
    """
    if array.dtype.name in NATIVE:
        return array
    if array.dtype == np.bool_:
        intensities: Image = np.where(array, np.uint8(255), np.uint8(0))
        return intensities
    if array.dtype.name not in _EXACT:
        raise UnacceptedError(
            f"holds values of {array.dtype}; accepted are bool, {', '.join((*NATIVE, *_EXACT))}"
        )
    if array.dtype.itemsize == 8 and array.size:
        lowest, highest = int(array.min()), int(array.max())
        if lowest < -_LARGEST_WHOLE or highest > _LARGEST_WHOLE:
            raise UnacceptedError(
                f"holds values from {lowest} to {highest}; accepted are whole numbers within "
                "-2**53 and 2**53, which are exact as float64"
            )
    return array.astype(_EXACT[array.dtype.name])
