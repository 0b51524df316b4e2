# Present in builds with a CUDA compiler. Arrays on the device are Buffers, or anything with
# __cuda_array_interface__; functions with `stream` do not wait unless they say so.
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, TypedDict, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .cpu import Layers

class CudaArray(Protocol):
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

class DlpackArray(Protocol):
    def __dlpack__(self, *, stream: int | None = None) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

_Index = int | slice | tuple[int | slice, ...]
_Table = NDArray[np.int32] | NDArray[np.int64]

class _Array:
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

class Buffer(_Array):
    def __init__(self, shape: Sequence[int], dtype: DTypeLike = "uint8") -> None: ...
    def __getitem__(self, index: _Index) -> Buffer: ...
    @property
    def device(self) -> int: ...
    def view(
        self, shape: Sequence[int], dtype: DTypeLike | None = None, offset: int = 0
    ) -> Buffer: ...
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

class PinnedBuffer(_Array):
    def __init__(
        self, shape: Sequence[int], dtype: DTypeLike = "uint8", mapped: bool = False
    ) -> None: ...
    def __getitem__(self, index: _Index) -> PinnedBuffer: ...
    def view(
        self, shape: Sequence[int], dtype: DTypeLike | None = None, offset: int = 0
    ) -> PinnedBuffer: ...
    @property
    def array(self) -> NDArray[Any]: ...
    def device(self) -> Buffer: ...

class Event:
    def __init__(self, timing: bool = False) -> None: ...
    def record(self, stream: Stream) -> None: ...
    def synchronize(self) -> None: ...
    @property
    def done(self) -> bool: ...
    def milliseconds_since(self, start: Event) -> float: ...

class Graph:
    def launch(self, stream: Stream) -> None: ...

class Capture:
    def __enter__(self) -> Graph: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

class Stream:
    @overload
    def __init__(self) -> None: ...
    @overload
    def __init__(self, handle: int) -> None: ...
    @property
    def handle(self) -> int: ...
    def synchronize(self) -> None: ...
    @property
    def done(self) -> bool: ...
    def wait(self, event: Event) -> None: ...
    def capture(self) -> Capture: ...

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
def set_device(index: int) -> None: ...
def memory() -> tuple[int, int]: ...
def runtime_version() -> tuple[int, int]: ...
def driver_version() -> tuple[int, int]: ...
def as_buffer(array: CudaArray | DlpackArray, name: str = "array", *, stream: Stream) -> Buffer: ...
@overload
def copy(destination: Buffer, source: CudaArray | PinnedBuffer, *, stream: Stream) -> Buffer: ...
@overload
def copy(
    destination: PinnedBuffer, source: CudaArray | PinnedBuffer, *, stream: Stream
) -> PinnedBuffer: ...
def fill(destination: Buffer, byte: int, *, stream: Stream) -> Buffer: ...
def to_device(array: NDArray[Any], *, stream: Stream) -> Buffer: ...
def to_host(array: CudaArray | PinnedBuffer, *, stream: Stream) -> NDArray[Any]: ...
def convolution_levels() -> list[str]: ...

class Network(Layers):
    def __init__(self, level: str = "") -> None: ...
    @property
    def level(self) -> str: ...
    @property
    def stride(self) -> int: ...
    @property
    def layers(self) -> list[str]: ...
    def workspace(self, count: int, height: int, width: int) -> int: ...
    def run(
        self,
        tiles: CudaArray,
        *,
        stream: Stream,
        out: CudaArray | None = None,
        workspace: CudaArray | None = None,
        only: int | None = None,
    ) -> Buffer: ...
    def enqueue(
        self,
        tiles: int,
        cells: int,
        shape: tuple[int, int, int],
        stream: int,
        memory: Callable[[int], int],
    ) -> None: ...

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

LANES: int

def limits_workspace() -> int: ...
def limits(
    image: CudaArray,
    low: float,
    high: float,
    *,
    stream: Stream,
    workspace: CudaArray,
    out: CudaArray | None = None,
) -> Buffer: ...
def check_limits(limits: NDArray[np.float64], values: int) -> tuple[float, float, float, float]: ...
def normalize(
    image: CudaArray,
    low: float | None = None,
    high: float | None = None,
    ceiling: float = ...,
    *,
    stream: Stream,
    limits: CudaArray | None = None,
    out: CudaArray | None = None,
) -> Buffer: ...
def gather(
    image: CudaArray,
    origins: _Table,
    height: int,
    width: int,
    *,
    stream: Stream,
    out: CudaArray | None = None,
) -> Buffer: ...
def assemble(
    cells: CudaArray, origins: _Table, cores: _Table, out: Buffer, *, stream: Stream
) -> Buffer: ...
def mask(
    maps: CudaArray, threshold: int, *, stream: Stream, out: CudaArray | None = None
) -> Buffer: ...
def label_workspace(height: int, width: int) -> int: ...
def label(
    maps: CudaArray,
    nucleus_threshold: int,
    marker_threshold: int,
    prominence: int,
    min_area: int,
    min_peak: int = 0,
    *,
    stream: Stream,
    workspace: CudaArray,
    out: CudaArray | None = None,
    count: CudaArray | None = None,
) -> tuple[Buffer, Buffer]: ...
