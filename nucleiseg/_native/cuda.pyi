# Present in builds with a CUDA compiler. Arrays on the device are Buffers, or anything with
# __cuda_array_interface__ or DLPack.
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from .cpu import Layers

class CudaArray(Protocol):
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

class DlpackArray(Protocol):
    def __dlpack__(self, *, stream: int | None = None) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

class Buffer:
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def ptr(self) -> int: ...
    @property
    def device(self) -> int: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

class _Device(TypedDict):
    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    memory: int
    integrated: bool
    maps_host_memory: bool

def device_count() -> int: ...
def devices() -> list[_Device]: ...
def current_device() -> int: ...
def try_kernel() -> None: ...
def memory() -> tuple[int, int]: ...
def runtime_version() -> tuple[int, int]: ...
def driver_version() -> tuple[int, int]: ...
def convolution_levels() -> list[str]: ...

class Network(Layers):
    def __init__(self, level: str = "") -> None: ...
    @property
    def level(self) -> str: ...
    @property
    def stride(self) -> int: ...

class Device:
    def __init__(
        self,
        network: Network | Callable[..., None],
        threads: int,
        warn: Callable[[str], object],
        page_locked: int = ...,
    ) -> None: ...
    @property
    def threads(self) -> int: ...
    def infer(
        self,
        tiles: NDArray[np.uint8],
        cells: NDArray[np.uint8] | None = None,
        by_graph: bool = False,
    ) -> NDArray[np.uint8]: ...
    def milliseconds(self, tiles: NDArray[np.uint8], repeats: int = ...) -> float: ...
    def take(self, array: CudaArray | DlpackArray, name: str) -> Buffer: ...
    def host(self, buffer: Buffer) -> NDArray[Any]: ...

_Limits = tuple[float, float, float, float]

class Pipeline:
    whole: int
    def __init__(
        self,
        device: Device,
        *,
        stride: int,
        halo: int,
        tile: int,
        batch: int,
        percentiles: tuple[float, float],
        rule: tuple[int, int, int, int, int],
    ) -> None: ...
    def run(
        self,
        image: NDArray[Any] | Buffer,
        outputs: Sequence[str],
        scale: float = 1.0,
        limits: _Limits | None = None,
        to_host: bool = True,
    ) -> tuple[tuple[Any, ...], _Limits]: ...
    def maps(
        self, image: NDArray[Any] | Buffer, scale: float = 1.0, limits: _Limits | None = None
    ) -> tuple[Buffer, _Limits]: ...
    def limits(self, image: NDArray[Any] | Buffer) -> _Limits: ...
    def decode(
        self,
        maps: NDArray[np.uint8] | Buffer,
        outputs: Sequence[str],
        scale: float = 1.0,
        shape: Sequence[int] | None = None,
        to_host: bool = True,
    ) -> tuple[Any, ...]: ...
    def step_milliseconds(
        self, image: NDArray[Any], repeats: int = ...
    ) -> tuple[NDArray[np.int32], dict[str, float]]: ...

LANES: int

def copy_milliseconds(bytes: int, repeats: int) -> float: ...
