from collections.abc import Sequence
from typing import Any, Protocol, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T", bound=np.generic)
_Merging = tuple[float, int, Sequence[int]]

class _Features(TypedDict):
    architecture: str
    level: str
    levels: list[str]
    cpu: list[str]

def features() -> _Features: ...
def convolution_levels() -> list[str]: ...

_Kernel = NDArray[np.int8]
_Floats = NDArray[np.float32]

class Layers(Protocol):
    """An empty network, to which layers are added: each returns the number of its tensor."""

    def stem(self, kernel: _Kernel, factors: _Floats, offsets: _Floats) -> int: ...
    def convolution(
        self, sources: list[int], kernels: list[_Kernel], factors: _Floats, offsets: _Floats
    ) -> int: ...
    def grow(self, source: int, kernel: _Kernel, factors: _Floats, offsets: _Floats) -> int: ...
    def pool(self, source: int) -> int: ...
    def cells(self, source: int, kernel: _Kernel, factors: _Floats, offsets: _Floats) -> None: ...

class Network(Layers):
    def __init__(self, level: str = "") -> None: ...
    @property
    def level(self) -> str: ...
    @property
    def stride(self) -> int: ...
    def run(self, tiles: NDArray[np.uint8], threads: int = 1) -> NDArray[np.uint8]: ...

def check(array: NDArray[Any], name: str) -> None: ...
def limits(
    image: NDArray[Any], low: float, high: float, threads: int = 1
) -> tuple[float, float, float, float]: ...
def normalize(
    image: NDArray[Any],
    low: float,
    high: float,
    ceiling: float = ...,
    threads: int = 1,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]: ...
def label(
    maps: NDArray[np.uint8],
    nucleus_threshold: int,
    marker_threshold: int,
    prominence: int,
    min_area: int,
    min_peak: int = 0,
    min_probability: int = 0,
    merging: _Merging | None = None,
    threads: int = 1,
) -> tuple[NDArray[np.int32], int]: ...
def nuclei(
    maps: NDArray[np.uint8],
    nucleus_threshold: int,
    marker_threshold: int,
    prominence: int,
    min_area: int,
    min_peak: int,
    min_probability: int,
    merging: _Merging | None,
    most_prominence: int,
    threads: int = 1,
) -> tuple[
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
]: ...
def resize(
    image: NDArray[_T],
    height: int,
    width: int,
    rows: tuple[int, int] | None = None,
    columns: tuple[int, int] | None = None,
    above: int = 0,
    below: int = 0,
    threads: int = 1,
) -> NDArray[_T]: ...

_Rule = tuple[int, int, int, int, int, int, _Merging | None]

class Device:
    def __init__(self, network: Network, threads: int) -> None: ...
    def times(self) -> dict[str, float]: ...

_Limits = tuple[float, float, float, float]

_Array = Any  # NumPy's; of a GPU's pipeline also a Buffer

class Pipeline:
    whole: int
    def __init__(
        self,
        device: Any,
        *,
        stride: int,
        halo: int,
        tile: int,
        batch: int,
        percentiles: tuple[float, float],
        rule: _Rule,
    ) -> None: ...
    def run(
        self,
        image: _Array,
        outputs: Sequence[str],
        scale: float = 1.0,
        limits: _Limits | None = None,
        to_host: bool = True,
    ) -> tuple[tuple[_Array, ...], _Limits]: ...
    def maps(
        self, image: _Array, scale: float = 1.0, limits: _Limits | None = None
    ) -> tuple[_Array, _Limits]: ...
    def limits(self, image: _Array) -> _Limits: ...
    def decode(
        self,
        maps: _Array,
        outputs: Sequence[str],
        scale: float = 1.0,
        shape: Sequence[int] | None = None,
        to_host: bool = True,
    ) -> tuple[_Array, ...]: ...

def measure(
    labels: NDArray[np.int32],
    image: NDArray[Any] | None = None,
    maps: NDArray[np.uint8] | None = None,
    *,
    ring: int = 5,
    threads: int = 1,
) -> dict[str, NDArray[Any]]: ...
def areas(labels: NDArray[np.int32]) -> NDArray[np.int64]: ...
def csv_rows(columns: Sequence[NDArray[Any]]) -> bytes: ...
def outline(
    labels: NDArray[np.int32], *, tolerance: float = 0.0, threads: int = 1
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_]]: ...
