"""The GPUs of this machine: from pycuda where it is installed, else from the native module."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from types import ModuleType

logger = logging.getLogger("nucleiseg")


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
        ``_native.cuda`` or ``_native.emulated``, of which pycuda knows nothing.
    """
    if kernels.__name__.endswith("cuda") and importlib.util.find_spec("pycuda"):
        try:
            return _from_pycuda()
        except Exception as error:  # whatever its own driver library makes of this machine
            logger.debug("pycuda finds no devices (%s); the native module is asked", error)
    return _from_kernels(kernels)


def _from_kernels(kernels: ModuleType) -> list[Device]:
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


def _from_pycuda() -> list[Device]:
    import pycuda.driver as driver

    driver.init()
    found = []
    for index in range(driver.Device.count()):
        device = driver.Device(index)
        # The primary context is the one that the CUDA runtime, and so the native module, uses.
        context = device.retain_primary_context()
        context.push()
        try:
            free, total = driver.mem_get_info()
        finally:
            driver.Context.pop()
        integrated = device.get_attribute(driver.device_attribute.INTEGRATED)
        found.append(
            Device(device.name(), device.compute_capability(), bool(integrated), free, total)
        )
    return found
