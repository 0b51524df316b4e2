"""The choice of a device, and a pipeline on it that takes each image in one call of C++."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import _native, device
from nucleiseg.device import available_threads
from nucleiseg.engines import cuda, native
from nucleiseg.limits import Limits
from nucleiseg.model import Model

logger = logging.getLogger("nucleiseg")

DEVICES = ("auto", "cpu", "cuda", "gpu")

CPU_TILE = 3072
"""Largest side of a tile in pixels. The network takes about 150 MB for one of this size; smaller
tiles spend more of their area on the halo. A batch gains nothing on a CPU once a tile is large."""

TILE_BYTES = 160
"""Device memory for one pixel of a tile, of which images as large as a tile need about 40 (the
picture, the tiles, cells, maps, labels and their workspace) and the network's activations the rest.
Reckoned, not measured: it only decides where tiles get smaller than the engine takes."""

TRIAL = 1024
"""Side of the tile that engines of a GPU are timed on."""

GAIN = 0.8
"""Share of the time of the package's own engine, which returns the CPU's bytes, that another engine
may take at most."""

# DLPack's kDLCUDA and kDLCUDAManaged, and what NumPy can read: kDLCPU, kDLCUDAHost.
_GPU_TYPES, _HOST_TYPES = (2, 13), (1, 3)

Array = Any
"""NumPy's on the host, a `_native.cuda.Buffer` on a GPU."""


@dataclass(frozen=True)
class Backend:
    """A device with the network on it.

    Attributes
    ----------
    name : {"cpu", "cuda"}
    kernels : module
        ``_native.cpu``, ``_native.cuda`` or ``_native.emulated``.
    native : Device
        Of these kernels; all pipelines of a backend share it.
    model : Model
    engine : object
        What runs the network; its ``largest_tile`` and ``largest_batch``, where it has them, are
        what it takes at most.
    threads : int
        Of the processor.
    tile, batch : int
        Side of the largest tile, and tiles at once, unless a caller says otherwise.
    """

    name: str
    kernels: Any
    native: Any
    model: Model
    engine: Any
    threads: int
    tile: int
    batch: int

    def pipeline(self, tile: int, batch: int, model: Model | None = None) -> Pipeline:
        """Return a pipeline with tiles of this size, so many at once.

        ``model`` is the backend's own with another decoding; itself when left out.
        """
        return Pipeline(self, model or self.model, tile, batch)

    def beside(self, model: Model) -> Backend:
        """Return a backend for another network on this device, with the package's own engine."""
        if self.name == "cpu":
            return _of_the_cpu(model, self.threads)
        return on_gpu(model, self.kernels, cuda.Engine(model, self.kernels), self.threads)


class Pipeline:
    """The way from an image to its outputs, on one device.

    Calls may come from several threads at once.

    Parameters
    ----------
    backend : Backend
    model : Model
    tile, batch : int

    Attributes
    ----------
    native : Pipeline
        Of the backend's kernels.
    """

    def __init__(self, backend: Backend, model: Model, tile: int, batch: int) -> None:
        self._device = backend.native
        self._is_on_gpu = backend.name != "cpu"
        self.native = backend.kernels.Pipeline(
            backend.native,
            stride=model.stride,
            halo=model.halo,
            tile=tile,
            batch=batch,
            percentiles=model.percentiles,
            rule=model.label_rule(),
        )

    def check_place(self, to_host: bool) -> None:
        """Raise ValueError if outputs cannot be left where they are wanted."""
        if not (to_host or self._is_on_gpu):
            raise ValueError(
                "to_host: got False, but this Segmenter runs on the CPU, so results are on the "
                "host; accepted is True, or use device='cuda'"
            )

    def times(self) -> dict[str, float] | None:
        """Return the seconds that calls so far have spent on each part, and "pixels".

        None on a GPU, whose steps are not waited for one by one.
        """
        return None if self._is_on_gpu else self._device.times()

    def image(self, value: Any) -> Array:
        """Return an image that a caller gave, checked; TypeError or ValueError."""
        if not isinstance(value, np.ndarray):
            return self._taken(value, "image")
        _native.cpu.check(value, "image")
        return value

    def host(self, array: Array) -> NDArray[Any]:
        """Return an array on the host."""
        copied: NDArray[Any] = array if isinstance(array, np.ndarray) else self._device.host(array)
        return copied

    def limits(self, image: Array) -> Limits:
        """Return the intensities that become 0 and 255."""
        return Limits(*self.native.limits(image))

    def maps(
        self, image: Array, scale: float = 1.0, limits: Limits | None = None
    ) -> tuple[Array, Limits]:
        """Return the maps as the network sees an image, (H / scale, W / scale, 2), and its limits.

        ``limits`` are those of the image that this one is a part of.
        """
        maps, found = self.native.maps(image, scale, limits)
        return maps, Limits(*found)

    def run(
        self,
        image: Array,
        outputs: Sequence[str],
        scale: float,
        limits: Limits | None = None,
        to_host: bool = True,
    ) -> tuple[tuple[Array, ...], Limits]:
        """Return outputs of an image at its own size, and its limits."""
        results, found = self.native.run(image, outputs, scale, limits, to_host)
        return results, Limits(*found)

    def decode(
        self,
        maps: Any,
        outputs: Sequence[str],
        scale: float = 1.0,
        shape: Sequence[int] | None = None,
        to_host: bool = True,
    ) -> tuple[Array, ...]:
        """Return outputs of maps, at the size of the image if that is another."""
        taken = self._taken(maps, "maps")
        found: tuple[Array, ...] = self.native.decode(taken, outputs, scale, shape, to_host)
        return found

    def _taken(self, value: Any, name: str) -> Array:
        """Return an array on the host, or one on the GPU once what writes it is done."""
        if not _is_on_gpu(value, name):
            array = np.asarray(value)
            _native.cpu.check(array, name)
            return array
        if self._is_on_gpu:
            return self._device.take(value, name)
        raise TypeError(
            f"{name}: got {type(value).__name__} in a GPU's memory; accepted is an array on the "
            "host, as this Segmenter runs on the CPU: copy it (cupy.asnumpy(x), x.cpu(), x.get()), "
            "or use device='cuda'"
        )


def _is_on_gpu(value: Any, name: str) -> bool:
    """Return whether an array is in a GPU's memory; TypeError if it is on any other device."""
    if isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__cuda_array_interface__"):
        return True
    if not hasattr(value, "__dlpack_device__"):
        return False
    kind = int(value.__dlpack_device__()[0])
    if kind not in _GPU_TYPES + _HOST_TYPES:
        raise TypeError(
            f"{name}: got an array on a device of DLPack's type {kind}; "
            "accepted are arrays on the host and on CUDA devices"
        )
    return kind in _GPU_TYPES


def choose(
    name: str | Backend,
    model: Model,
    threads: int | None,
    tile: int | None = None,
    batch: int | None = None,
) -> Backend:
    """Make the backend for a device.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "gpu"} or Backend
        "gpu" is another name of "cuda".
    model : Model
    threads : int or None
        Processor threads; all that this process may use when None.
    tile, batch : int, optional
        What the backend is to take. "auto" passes over a GPU whose engine does not.

    Raises
    ------
    ValueError
        An unknown device, fewer than one thread, or a tile or batch that the backend does not take.
    RuntimeError
        ``device="cuda"`` or "gpu" where no GPU can be used; it says what is missing.
    """
    backend = _named(name, model, threads, tile, batch) if isinstance(name, str) else name
    check_sizes(backend, tile, batch)
    return backend


def _named(
    name: str, model: Model, threads: int | None, tile: int | None, batch: int | None
) -> Backend:
    if name not in DEVICES:
        raise ValueError(f"device: got {name!r}; accepted are {', '.join(map(repr, DEVICES))}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: got {threads}; accepted is 1 or more, or None for all")
    threads = available_threads() if threads is None else threads
    if name == "cpu":
        return _on_the_cpu(model, threads, unused="")
    there = True
    try:
        found = device.find()
        there, lacking = found[0].there, device.lacking(found)
        if not lacking:
            backend = _on_the_gpu(model, threads)
            if name == "auto":
                check_sizes(backend, tile, batch)
            return backend
    # Whatever keeps a GPU from being used, the processor will do.
    except Exception as error:
        lacking = " ".join(str(error).split()) or type(error).__name__
        if name != "auto":
            raise RuntimeError(f"device: {name!r} was asked for, but {lacking}") from error
    if name != "auto":
        raise RuntimeError(f"device: {name!r} was asked for, but {lacking}")
    return _on_the_cpu(model, threads, unused=lacking if there else "")


def check_sizes(backend: Backend, tile: int | None, batch: int | None) -> None:
    """Refuse a tile or a batch that is larger than the backend takes, or not above 0."""
    for name, value in (("tile", tile), ("batch", batch)):
        largest = getattr(backend.engine, f"largest_{name}", None)
        if value is not None and (value < 1 or (largest is not None and value > largest)):
            limit = (
                "or more" if largest is None else f"to {largest}, which the engine was built for"
            )
            raise ValueError(f"{name}: got {value}; accepted is 1 {limit}")


def on_gpu(model: Model, kernels: ModuleType, engine: Any, threads: int) -> Backend:
    """Return a backend on the current GPU.

    Parameters
    ----------
    model : Model
    kernels : module
        ``_native.cuda``, or its emulation.
    engine : engines.cuda.Engine or tensorrt.Engine
    threads : int
        Of the processor, for what the host resizes and decodes.
    """
    tile, batch = _fitting(model, kernels, engine)
    return Backend(
        name="cuda",
        kernels=kernels,
        native=cuda.device(kernels, engine, threads),
        model=model,
        engine=engine,
        threads=threads,
        tile=tile,
        batch=batch,
    )


def _fitting(model: Model, kernels: ModuleType, engine: Any) -> tuple[int, int]:
    """Return the largest tile, and tiles at once, that half of the free memory allows."""
    pixels = kernels.memory()[0] / 2 / kernels.LANES / TILE_BYTES
    side = int(min(engine.largest_tile, pixels**0.5)) // model.stride * model.stride
    side = max(side, 2 * model.halo + model.stride)
    return side, max(1, min(engine.largest_batch, int(pixels / side**2)))


def _on_the_gpu(model: Model, threads: int) -> Backend:
    kernels = _native.cuda
    backend = on_gpu(model, kernels, _gpu_engine(model, kernels), threads)
    gpu = kernels.devices()[kernels.current_device()]
    logger.info(
        "runs on %s (compute capability %d.%d, %.1f GiB free) with %s, tiles up to %d pixels, "
        "%d at once%s",
        *(gpu["name"], *gpu["compute_capability"], kernels.memory()[0] / 2**30),
        *(backend.engine.name, backend.tile, backend.batch),
        ", memory shared with the host" if gpu["integrated"] else "",
    )
    return backend


def _gpu_engine(model: Model, kernels: ModuleType) -> Any:
    """Make TensorRT's engine where it is installed, right and faster, else the package's own."""
    own = cuda.Engine(model, kernels)  # first, as it refuses what is another network
    if not device.tensorrt_module():
        return own
    try:
        from nucleiseg import tensorrt  # which needs a POSIX system

        other = tensorrt.Engine(model, kernels)
        took, own_took = (_milliseconds(kernels, engine) for engine in (other, own))
    except Exception as error:  # whatever TensorRT makes of this machine
        reason = " ".join(str(error).split()) or type(error).__name__
        logger.warning("TensorRT is not used, but %s: %s", own.name, reason)
        return own
    if took < GAIN * own_took:
        return other
    words = "TensorRT is not used, but %s: %.3f ms for a tile, not %.3f"
    logger.info(words, own.name, own_took, took)
    return own


def _milliseconds(kernels: ModuleType, engine: Any, side: int = TRIAL, repeats: int = 20) -> float:
    tiles = np.zeros((1, side, side, 3), np.uint8)
    took: float = cuda.device(kernels, engine).milliseconds(tiles, repeats)
    return took


def _on_the_cpu(model: Model, threads: int, unused: str) -> Backend:
    backend = _of_the_cpu(model, threads)
    level = logging.WARNING if unused else logging.INFO
    reason = f"; the GPU is not used: {unused}" if unused else ""
    logger.log(level, "runs on the CPU with %s, %d threads%s", backend.engine.name, threads, reason)
    return backend


def _of_the_cpu(model: Model, threads: int) -> Backend:
    engine = native.Engine(model, threads)
    return Backend(
        name="cpu",
        kernels=_native.cpu,
        native=_native.cpu.Device(engine.network, threads),
        model=model,
        engine=engine,
        threads=threads,
        tile=CPU_TILE,
        batch=1,
    )
