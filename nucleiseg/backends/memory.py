"""Memory of one lane, used again image after image: blocks that grow to what the largest needs."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Memory:
    """Blocks on the device and page-locked blocks on the host, each under a name.

    Parameters
    ----------
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    integrated : bool
        Whether the device shares the host's memory. Then page-locked memory is mapped, and what the
        host reads or writes is used in place.
    """

    def __init__(self, kernels: ModuleType, integrated: bool) -> None:
        self._kernels = kernels
        self._integrated = integrated
        self._device: dict[str, Any] = {}
        self._pinned: dict[str, Any] = {}

    def device(self, name: str, shape: Sequence[int], dtype: DTypeLike) -> Any:
        """Return memory for kernels. Whoever still uses the last array of this name shares it."""
        count = _bytes(shape, dtype)
        if name not in self._device or self._device[name].nbytes < count:
            self._device.pop(name, None)
            self._device[name] = self._kernels.Buffer([count])
        return self._device[name].view(shape, dtype)

    def pinned(self, name: str, shape: Sequence[int], dtype: DTypeLike) -> Any:
        """Return page-locked memory, in the same way."""
        count = _bytes(shape, dtype)
        if name not in self._pinned or self._pinned[name].nbytes < count:
            self._pinned.pop(name, None)
            self._pinned[name] = self._kernels.PinnedBuffer([count], mapped=self._integrated)
        return self._pinned[name].view(shape, dtype)

    def seen_from_host(self, array: Any) -> NDArray[Any] | None:
        """Return an array's memory as the host sees it, where it is shared."""
        for block in self._pinned.values() if self._integrated else ():
            if block.device().ptr == array.ptr:
                seen: NDArray[Any] = block.view(array.shape, array.dtype).array
                return seen
        return None

    def owns(self, array: Any) -> bool:
        """Return whether an array lies in one of the blocks, at its begin."""
        blocks = [*self._device.values()]
        if self._integrated:
            blocks += [block.device() for block in self._pinned.values()]
        return any(block.ptr == array.ptr for block in blocks)

    def blocks(self) -> list[Any]:
        """All blocks, for whoever needs them longer than the names are theirs."""
        return [*self._device.values(), *self._pinned.values()]


def _bytes(shape: Sequence[int], dtype: DTypeLike) -> int:
    return max(1, prod(shape) * np.dtype(dtype).itemsize)
