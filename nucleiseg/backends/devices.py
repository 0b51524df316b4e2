"""The GPUs of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Device:
    """One GPU.

    Attributes
    ----------
    name : str
    compute_capability : tuple of int
    integrated : bool
        Whether it shares the host's memory, as a Jetson's does.
    free, total : int
        Bytes of memory.
    """

    name: str
    compute_capability: tuple[int, int]
    integrated: bool
    free: int
    total: int

    @property
    def words(self) -> str:
        """Name, compute capability and memory."""
        major, minor = self.compute_capability
        return f"{self.name} (compute capability {major}.{minor}, {self.free / 2**30:.1f} GiB free)"


def find(kernels: ModuleType) -> list[Device]:
    """Describe the GPUs, in CUDA's order.

    Parameters
    ----------
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    """
    before = kernels.current_device()
    found = []
    for index, entry in enumerate(kernels.devices()):
        kernels.set_device(index)
        free, total = kernels.memory()
        found.append(
            Device(entry["name"], entry["compute_capability"], entry["integrated"], free, total)
        )
    kernels.set_device(before)
    return found
