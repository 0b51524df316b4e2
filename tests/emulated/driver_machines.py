"""The devices that the tests of the driver run on: an emulated one, and a real one."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import nucleiseg._native as native
from nucleiseg import Model, Segmenter, backends, device, images, tensorrt, tensorrt_cache
from nucleiseg.backends import Backend
from nucleiseg.engines import cuda
from nucleiseg.engines import native as integers

OUTPUTS = ("mask", "labels", "maps")
DATA = Path(__file__).parents[1] / "data" / "images"
MEMORY = 4 << 30
"""Bytes that the emulated device says it has, unless a test says otherwise."""


def host_view(address: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return memory of the emulated device as NumPy sees it: it is the host's."""

    class View:
        __array_interface__ = {  # noqa: RUF012
            "version": 3, "shape": shape, "typestr": "|u1", "data": (address, False),
        }  # fmt: skip

    return np.asarray(View())


class DeferredEngine:
    """The CPU's, as the emulated device's: the work of a stream, done when it gets there.

    So a missing wait, or a graph that is recorded wrongly, is a wrong result.

    Attributes
    ----------
    calls : list of tuple
        Of each call of `enqueue` the stream and the shape.
    before : callable
        Called at the begin of each.
    """

    def __init__(self, model: Model, largest_tile: int = 3072, largest_batch: int = 4) -> None:
        self.largest_tile, self.largest_batch = largest_tile, largest_batch
        self._engine = integers.Engine(model, 2)
        self.calls: list[tuple[int, tuple[int, int, int]]] = []
        self.before: Callable[[], object] = lambda: None

    def enqueue(
        self,
        tiles: int,
        cells: int,
        shape: tuple[int, int, int],
        stream: int,
        memory: Callable[[int], int],
    ) -> None:
        self.calls.append((stream, shape))
        self.before()
        count, height, width = shape

        def work() -> None:
            found = self._engine.infer(host_view(tiles, (*shape, 3)))
            host_view(cells, (count, height // 2, width // 2, 8))[...] = found

        native.emulated.call(work, stream=native.emulated.Stream(stream))


class Watched:
    """A device's own engine, called from Python; what it is given is kept.

    Attributes
    ----------
    calls : list of tuple
        Of each call the stream, the shape, and the address of the memory between the layers.
    """

    def __init__(self, name: str) -> None:
        self._engine = cuda.Engine(Model.load(), getattr(native, name))
        self.largest_tile, self.largest_batch = cuda.TILE, cuda.BATCH
        self.calls: list[tuple[int, tuple[int, int, int], int]] = []

    def enqueue(
        self,
        tiles: int,
        cells: int,
        shape: tuple[int, int, int],
        stream: int,
        memory: Callable[[int], int],
    ) -> None:
        def kept(size: int) -> int:
            self.calls.append((stream, shape, memory(size)))
            return self.calls[-1][2]

        self._engine.network.enqueue(tiles, cells, shape, stream, kept)


def watched_backend(name: str) -> Backend:
    return backends.on_gpu(Model.load(), getattr(native, name), Watched(name), 2)


def own_backend(name: str) -> Backend:
    """Return a device with the package's own engine."""
    model, kernels = Model.load(), getattr(native, name)
    return backends.on_gpu(model, kernels, cuda.Engine(model, kernels), 2)


def emulated_backend(
    engine: type[DeferredEngine] = DeferredEngine, model: Model | None = None
) -> Backend:
    model = Model.load() if model is None else model
    return backends.on_gpu(model, native.emulated, engine(model), 2)


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
    return device.lacking(device.find())


def device_parameter(name: str, *marks: pytest.MarkDecorator) -> object:
    reason = missing(name)
    return pytest.param(name, marks=[*marks, pytest.mark.skipif(bool(reason), reason=reason)])


EVERY_DEVICE = [device_parameter("emulated"), device_parameter("cuda", pytest.mark.gpu)]


def both(segmenter: Segmenter, image: Any, **size: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask and the labels of an image, from one call."""
    found = segmenter.analyze(image, maps=False, **size)
    return found.mask, found.labels


def example(name: str = "fluorescence_small") -> np.ndarray:
    return images.read(DATA / f"{name}.png")


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Blobs: noise that was shrunk, so that there is something to find."""
    small = rng.integers(0, 256, (shape[0] // 16 + 1, shape[1] // 16 + 1, *shape[2:]), np.uint8)
    return np.kron(small, np.ones((16, 16, *[1] * len(shape[2:])), np.uint8))[
        : shape[0], : shape[1]
    ].copy()


def check(machine: Machine, image: np.ndarray, given: object = None, **options: object) -> None:
    """Compare all outputs; ``given`` is another form of the image, if not the image itself."""
    for output in OUTPUTS:
        expected = machine.expected(image, output, **options)
        found = machine.segmenter.segment(image if given is None else given, output, **options)
        np.testing.assert_array_equal(found, expected, strict=True, err_msg=output)
