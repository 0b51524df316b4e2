"""What every kernel's tests share: memory layouts, thread counts and instruction sets."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from machines import EVERY_DEVICE, Machine

from nucleiseg._native import cpu

Layout = Callable[[np.ndarray], np.ndarray]


def _strided(array: np.ndarray) -> np.ndarray:
    doubled = np.zeros([2 * size for size in array.shape], array.dtype)
    view = doubled[tuple(slice(1, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def _reversed(array: np.ndarray) -> np.ndarray:
    everywhere = tuple(slice(None, None, -1) for _ in array.shape)
    return array[everywhere].copy()[everywhere]


def _read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _big_endian(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder(">"))


def _unaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


LAYOUTS: dict[str, Layout] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": _strided,
    "reversed": _reversed,
    "read-only": _read_only,
    "big-endian": _big_endian,
    "unaligned": _unaligned,
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Layout:
    """Puts an array into one of the memory layouts that the kernels accept."""
    return LAYOUTS[request.param]


@pytest.fixture(params=cpu.features()["levels"])
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Makes the kernels use one of the instruction sets that this CPU has."""
    before = cpu.features()["level"]
    cpu.set_simd_level(request.param)
    yield request.param
    cpu.set_simd_level(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture(params=EVERY_DEVICE)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """The emulated device or a real one, with a stream."""
    made = Machine(request.param)
    made.shuffle(0)
    yield made
    made.stream.synchronize()
