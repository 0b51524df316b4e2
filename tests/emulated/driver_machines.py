"""The devices that the tests of the driver run on: an emulated one, and a real one."""

import importlib.util
import weakref
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import nucleiseg._native as native
from nucleiseg import Model, Segmenter, tensorrt, tensorrt_cache
from nucleiseg.backends import parts
from nucleiseg.backends.cuda import CudaBackend
from nucleiseg.engines import cuda
from nucleiseg.engines import native as integers

MEMORY = 4 << 30
"""Bytes that the emulated device says it has, unless a test says otherwise."""


class HostView:
    """A Buffer of the emulated device as NumPy sees it: its memory is the host's."""

    def __init__(self, buffer: object) -> None:
        self.kept = buffer
        self.__array_interface__ = {
            "version": 3,
            "shape": buffer.shape,
            "typestr": buffer.dtype.str,
            "data": (buffer.ptr, False),
            "strides": buffer.strides,
        }


class DeferredEngine:
    """The CPU's, as the emulated device's: the work of a stream, done when it gets there.

    So a missing wait, or a graph that is recorded wrongly, is a wrong result.
    """

    def __init__(self, model: Model, largest_tile: int = 3072, largest_batch: int = 4) -> None:
        self.largest_tile, self.largest_batch = largest_tile, largest_batch
        self._engine = integers.Engine(model, 2)
        self.streams: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def enqueue(self, tiles: object, cells: object, stream: object, memory: object) -> None:
        self.streams.setdefault(stream, set()).add(tiles.shape)

        def work() -> None:
            found = self._engine.infer(np.asarray(HostView(tiles)))
            np.asarray(HostView(cells))[...] = found

        native.emulated.call(work, stream=stream)


def own_backend(name: str, level: str = "") -> CudaBackend:
    """Return a device with the package's own engine."""
    model, kernels = Model.load(), getattr(native, name)
    return CudaBackend(model, kernels, cuda.Engine(model, kernels, level), 2)


def emulated_backend(
    engine: type[DeferredEngine] = DeferredEngine, model: Model | None = None
) -> CudaBackend:
    model = Model.load() if model is None else model
    return CudaBackend(model, native.emulated, engine(model), 2)


def unfit(library: str) -> str:
    """Return why one of TensorRT's libraries cannot build for the GPU, or nothing where it can."""
    if importlib.util.find_spec(library) is None:
        return f"{library} is not installed"
    found = native.cuda.devices()[0]["compute_capability"]
    try:
        if library == "tensorrt_rtx":
            tensorrt_cache.covering(tensorrt.find(library), found)
    except (ImportError, ValueError) as error:
        return str(error)
    return ""


BACKENDS = {"emulated": emulated_backend, "cuda": lambda: own_backend("cuda")}


class Machine:
    """One of the devices.

    ``segmenter`` runs on it. ``reference`` is what it has to agree with, bit for bit: the CPU.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.kernels: ModuleType = getattr(native, name)
        self.segmenter = self.new()
        self.reference = Segmenter(device="cpu")
        self._expected: dict[tuple[object, ...], np.ndarray] = {}

    def new(self, **options: object) -> Segmenter:
        return Segmenter(device=BACKENDS[self.name](), **options)

    def expected(self, image: np.ndarray, output: str = "labels", **options: object) -> np.ndarray:
        key = (image.tobytes(), image.shape, image.dtype.str, output, *sorted(options.items()))
        if key not in self._expected:
            self._expected[key] = self.reference.segment(image, output, **options)
        return self._expected[key]

    def put(self, array: np.ndarray) -> object:
        return self.kernels.to_device(array, stream=self.kernels.Stream())

    def get(self, array: object) -> np.ndarray:
        return self.kernels.to_host(array, stream=self.kernels.Stream())


def missing(name: str) -> str:
    """Return why there is no such device, or nothing where there is one."""
    if not hasattr(native, name):
        how = {"cuda": "NUCLEISEG_CUDA=on", "emulated": "NUCLEISEG_EMULATION=ON"}[name]
        return f"this build has no _native.{name}: build with {how}"
    if name == "emulated":
        return ""
    return parts.lacking(parts.find())


def device_parameter(name: str, *marks: pytest.MarkDecorator) -> object:
    reason = missing(name)
    return pytest.param(name, marks=[*marks, pytest.mark.skipif(bool(reason), reason=reason)])


EVERY_DEVICE = [device_parameter("emulated"), device_parameter("cuda", pytest.mark.gpu)]


def both(segmenter: Segmenter, image: Any, **size: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask and the labels of an image, from one call."""
    found = segmenter.analyze(image, maps=False, **size)
    return found.mask, found.labels
