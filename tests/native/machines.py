"""The devices whose kernels are compared with the CPU's: the emulated one, and a real one."""

from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest

import nucleiseg._native as native


def missing(name: str) -> str:
    """Return why there is no such device, or nothing where there is one."""
    module = getattr(native, name, None)
    if module is None:
        how = {"cuda": "NUCLEISEG_CUDA=on", "emulated": "NUCLEISEG_EMULATION=ON"}[name]
        return f"this build has no _native.{name}: build with {how}"
    if module.device_count() == 0:
        return "no NVIDIA driver or no GPU is visible"
    return ""


def device_parameter(name: str, *marks: pytest.MarkDecorator) -> object:
    reason = missing(name)
    return pytest.param(name, marks=[*marks, pytest.mark.skipif(bool(reason), reason=reason)])


EVERY_DEVICE = [device_parameter("emulated"), device_parameter("cuda", pytest.mark.gpu)]


class Machine:
    """A device's module with one stream, for tests that compare values."""

    def __init__(self, name: str) -> None:
        self.kernels: ModuleType = getattr(native, name)
        self.name = name
        self.stream = self.kernels.Stream()

    def put(self, array: np.ndarray) -> object:
        return self.kernels.to_device(array, stream=self.stream)

    def get(self, buffer: object) -> np.ndarray:
        return self.kernels.to_host(buffer, stream=self.stream)

    def scratch(self, count: int) -> object:
        return self.kernels.Buffer([count])

    def shuffle(self, seed: int) -> None:
        """Run threads in another order; a real device needs no help."""
        if self.name == "emulated":
            self.kernels.set_seed(seed)


Layout = Callable[[Machine, np.ndarray], object]


def dense(machine: Machine, array: np.ndarray) -> object:
    return machine.put(array)


def strided(machine: Machine, array: np.ndarray) -> object:
    doubled = np.zeros([2 * size for size in array.shape], array.dtype)
    doubled[tuple(slice(1, None, 2) for _ in array.shape)] = array
    return machine.put(doubled)[tuple(slice(1, None, 2) for _ in array.shape)]


def backwards(machine: Machine, array: np.ndarray) -> object:
    everywhere = tuple(slice(None, None, -1) for _ in array.shape)
    return machine.put(np.ascontiguousarray(array[everywhere]))[everywhere]


def padded_rows(machine: Machine, array: np.ndarray) -> object:
    wider = np.zeros((array.shape[0], array.shape[1] + 3, *array.shape[2:]), array.dtype)
    wider[:, 1:-2] = array
    return machine.put(wider)[:, 1:-2]


def unaligned(machine: Machine, array: np.ndarray) -> object:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    memory[1:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return machine.put(memory).view(array.shape, array.dtype, offset=1)


LAYOUTS: dict[str, Layout] = {
    "dense": dense,
    "strided": strided,
    "backwards": backwards,
    "padded rows": padded_rows,
    "unaligned": unaligned,
}


def sizes(rng: np.random.Generator, count: int, most: int) -> Iterator[tuple[int, int]]:
    """Heights and widths of 1..most, small ones as likely as large ones."""
    for _ in range(count):
        height, width = np.exp(rng.uniform(0, np.log(most + 1), 2)).astype(int)
        yield int(height), int(width)
