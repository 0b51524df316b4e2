"""Arrays that callers give: on the host or on a GPU, and what is said of those that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu

# DLPack's kDLCUDA and kDLCUDAManaged, and what NumPy can read: kDLCPU, kDLCUDAHost.
_GPU_TYPES, _HOST_TYPES = (2, 13), (1, 3)

_CHECKS = {"image": cpu.check_image, "maps": cpu.check_maps}


def is_on_gpu(value: Any, name: str) -> bool:
    """Return whether an array is in a GPU's memory.

    Parameters
    ----------
    value : object
    name : str
        What an error calls it.

    Raises
    ------
    TypeError
        It is on a device that is neither a CUDA device nor the host.
    """
    if isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__cuda_array_interface__"):
        return True
    if not hasattr(value, "__dlpack_device__"):
        return False
    kind = int(value.__dlpack_device__()[0])
    if kind not in _GPU_TYPES + _HOST_TYPES:
        raise TypeError(
            f"{name}: got an array on a device of DLPack's type {kind}; "
            "accepted are arrays on the host and on CUDA devices"
        )
    return kind in _GPU_TYPES


def on_host(value: Any, name: str) -> NDArray[Any]:
    """Return an array that is on the host, checked.

    Raises
    ------
    TypeError
        It is on a GPU, or of a dtype that is not accepted.
    ValueError
        Its shape is not accepted.
    """
    if is_on_gpu(value, name):
        raise TypeError(
            f"{name}: got {type(value).__name__} in a GPU's memory; accepted is an array on the "
            "host, as this Segmenter runs on the CPU: copy it (cupy.asnumpy(x), x.cpu(), x.get()), "
            "or use device='cuda'"
        )
    array = np.asarray(value)
    _CHECKS[name](array)
    return array


def check(array: Any, name: str) -> None:
    """Check shape and dtype of an array on a GPU, with the errors of one on the host."""
    _CHECKS[name](np.broadcast_to(np.empty((), array.dtype), array.shape))


def is_dense(array: Any) -> bool:
    """Return whether an array on a GPU is C-contiguous."""
    step = array.dtype.itemsize
    for length, stride in zip(reversed(array.shape), reversed(array.strides), strict=True):
        if length != 1 and stride != step:
            return False
        step *= length
    return True


class _Span:
    """The bytes between an array's first and its last, as an array of a GPU."""

    def __init__(self, array: Any, first: int, count: int) -> None:
        self._kept = array
        interface = dict(array.__cuda_array_interface__)
        interface.update(
            data=(array.ptr + first, True), shape=(count,), typestr="|u1", strides=None
        )
        self.__cuda_array_interface__ = interface
        self.shape, self.dtype = (count,), np.dtype(np.uint8)


def span(array: Any) -> tuple[Any, Callable[[NDArray[Any]], NDArray[Any]]]:
    """Return an array on a GPU as one that can be copied, and a view of the copy."""
    if is_dense(array):
        return array, lambda copied: copied
    reaches = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    first, last = sum(min(0, reach) for reach in reaches), sum(max(0, reach) for reach in reaches)

    def viewed(copied: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = np.ndarray(array.shape, array.dtype, copied, -first, array.strides)
        return found

    return _Span(array, first, last - first + array.dtype.itemsize), viewed
