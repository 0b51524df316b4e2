"""Backends: the same steps under the same names, whatever the device."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nucleiseg.backends import parts
from nucleiseg.limits import Limits
from nucleiseg.model import Model

logger = logging.getLogger("nucleiseg")

DEVICES = ("auto", "cpu", "cuda", "gpu")

TRIAL = 1024
"""Side of the tile that engines of a GPU are timed on."""

GAIN = 0.8
"""Of the time of the package's own engine, which gives the CPU's bytes, another may take."""

Array = Any
"""NumPy's on the CPU, a `_native.cuda.Buffer` on a GPU. The driver asks for ``shape`` and
``dtype``, takes slices, and passes them on."""

AnyLimits = Any
"""`Limits` on the CPU; on a GPU an array, whose values may not be known yet."""


class Steps(Protocol):
    """The steps of one image, on one device.

    Steps that take an array also take a NumPy array.
    """

    def array(self, value: Any, name: str) -> Array:
        """Bring in what a caller gave, under the name ("image" or "maps") that errors give it."""
        ...

    def host(self, *arrays: Array) -> list[NDArray[Any]]:
        """Give arrays to be read on the host, good until the next step."""
        ...

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Give memory. On a GPU that of the last array of this name, which is lost."""
        ...

    def zeros(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """As `empty`, filled with 0."""
        ...

    def limits(self, image: Array) -> AnyLimits:
        """Find the two intensities that become 0 and 255."""
        ...

    def known(self, limits: AnyLimits) -> Limits:
        """Return the limits; ValueError if the image has values that are not finite."""
        ...

    def is_blank(self, limits: AnyLimits) -> bool:
        """Return whether nothing in the image is known to stand out from its noise."""
        ...

    def normalize(self, image: Array, limits: AnyLimits) -> Array:
        """Stretch the range between the limits to 0..255: (H, W, 3) uint8."""
        ...

    def gather(self, image: Array, origins: NDArray[np.int64], height: int, width: int) -> Array:
        """Cut tiles, (N, height, width, 3) uint8, mirrored beyond the image."""
        ...

    def infer(self, tiles: Array) -> Array:
        """Run the network: cells, (N, h / 2, w / 2, 8) uint8."""
        ...

    def assemble(
        self,
        cells: Array,
        origins: NDArray[np.int64],
        cores: NDArray[np.int64],
        out: Array,
    ) -> None:
        """Spread each tile's cells over pixels and write its core into ``out``."""
        ...

    def mask(self, maps: Array, out: Array) -> None:
        """Threshold the nucleus map into ``out``."""
        ...

    def label(
        self,
        maps: Array,
        scale: float = 1.0,
    ) -> Array:
        """Give one id a nucleus; ``scale`` says how far the maps were magnified."""
        ...

    def repeat(self, key: tuple[Any, ...], image: Array, work: Callable[[Array], Any]) -> Any:
        """Give ``work(image)``; images of one shape with one key may replay what was recorded.

        What ``work`` does depends on nothing but the image's shape and dtype and the key.
        """
        ...

    def finish(self, limits: AnyLimits | None, results: tuple[Array, ...]) -> tuple[Any, ...]:
        """Return results to keep, once they are there. Those of a blank image are all 0."""
        ...


class Backend(Protocol):
    """A set of kernels and an engine on one device."""

    name: str
    threads: int
    tile: int
    batch: int
    largest_tile: int | None
    largest_batch: int | None

    def times(self) -> dict[str, float] | None:
        """Return what `nucleiseg.Segmenter.times` returns."""
        ...

    def session(self, to_host: bool) -> AbstractContextManager[Steps]:
        """Give the steps for one image; ValueError if its results cannot stay on the device."""
        ...


def choose(
    device: str | Backend,
    model: Model,
    threads: int | None,
    tile: int | None = None,
    batch: int | None = None,
) -> Backend:
    """Make the backend for a device.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "gpu"} or Backend
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
    backend = _named(device, model, threads, tile, batch) if isinstance(device, str) else device
    check_sizes(backend, tile, batch)
    return backend


def _named(
    device: str, model: Model, threads: int | None, tile: int | None, batch: int | None
) -> Backend:
    if device not in DEVICES:
        raise ValueError(f"device: got {device!r}; accepted are {', '.join(map(repr, DEVICES))}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: got {threads}; accepted is 1 or more, or None for all")
    threads = available_threads() if threads is None else threads
    if device == "cpu":
        return _on_the_cpu(model, threads, unused="")
    there = True
    try:
        found = parts.find()
        there, lacking = found[0].there, parts.lacking(found)
        if not lacking:
            backend = _on_the_gpu(model, threads)
            if device == "auto":
                check_sizes(backend, tile, batch)
            return backend
    # Whatever keeps a GPU from being used, the processor will do.
    except Exception as error:
        lacking = " ".join(str(error).split()) or type(error).__name__
        if device != "auto":
            raise RuntimeError(f"device: {device!r} was asked for, but {lacking}") from error
    if device != "auto":
        raise RuntimeError(f"device: {device!r} was asked for, but {lacking}")
    return _on_the_cpu(model, threads, unused=lacking if there else "")


def check_sizes(backend: Backend, tile: int | None, batch: int | None) -> None:
    """Refuse a tile or a batch that is larger than the backend takes, or not above 0."""
    sizes = (("tile", tile, backend.largest_tile), ("batch", batch, backend.largest_batch))
    for name, value, largest in sizes:
        if value is not None and (value < 1 or (largest is not None and value > largest)):
            limit = (
                "or more" if largest is None else f"to {largest}, which the engine was built for"
            )
            raise ValueError(f"{name}: got {value}; accepted is 1 {limit}")


def _on_the_gpu(model: Model, threads: int) -> Backend:
    from nucleiseg._native import cuda
    from nucleiseg.backends.cuda import CudaBackend

    engine = _gpu_engine(model)
    backend = CudaBackend(model, cuda, engine, threads)
    logger.info("runs on %s with %s, %s", backend.gpu.words, engine.name, backend.words)
    return backend


def _gpu_engine(model: Model) -> Any:
    """Make TensorRT's engine where it is installed, right and faster, else the package's own."""
    from nucleiseg._native import cuda
    from nucleiseg.engines.cuda import Engine

    own = Engine(model, cuda)  # first, as it refuses what is another network
    if not parts.tensorrt_module():
        return own
    try:
        from nucleiseg import tensorrt

        other = tensorrt.Engine(model, cuda)
        took, own_took = (_milliseconds(cuda, engine) for engine in (other, own))
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
    from nucleiseg.engines.clock import Clock

    clock = Clock(kernels, repeats)
    work, _ = clock.network(engine, np.zeros((1, side, side, 3), np.uint8))
    return clock.milliseconds(work)


def _on_the_cpu(model: Model, threads: int, unused: str) -> Backend:
    from nucleiseg.backends.cpu import CpuBackend

    backend = CpuBackend(model, threads)
    level = logging.WARNING if unused else logging.INFO
    reason = f"; the GPU is not used: {unused}" if unused else ""
    logger.log(level, "runs on the CPU with %s, %d threads%s", backend.engine.name, threads, reason)
    return backend


def available_threads() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
