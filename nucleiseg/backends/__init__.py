"""Backends: the same pipeline, whatever the device."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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
"""NumPy's on the host, a `_native.cuda.Buffer` on a GPU."""


class Pipeline(Protocol):
    """The way from an image to its outputs, on one device.

    Calls may come from several threads at once.
    """

    whole: int

    def check_place(self, to_host: bool) -> None:
        """Raise ValueError if outputs cannot be left where they are wanted."""
        ...

    def times(self) -> dict[str, float] | None:
        """Return what the time of all calls so far was spent on, None where that is not known."""
        ...

    def image(self, value: Any) -> Array:
        """Return an image that a caller gave, checked; TypeError or ValueError."""
        ...

    def host(self, array: Array) -> NDArray[Any]:
        """Return an array on the host."""
        ...

    def limits(self, image: Array) -> Limits:
        """Return the intensities that become 0 and 255."""
        ...

    def maps(
        self, image: Array, scale: float = 1.0, limits: Limits | None = None
    ) -> tuple[Array, Limits]:
        """Return the maps as the network sees an image, (H / scale, W / scale, 2), and its limits.

        ``limits`` are those of the image that this one is a part of.
        """
        ...

    def run(
        self,
        image: Array,
        outputs: Sequence[str],
        scale: float,
        limits: Limits | None = None,
        to_host: bool = True,
    ) -> tuple[tuple[Array, ...], Limits]:
        """Return outputs of an image at its own size, and its limits."""
        ...

    def decode(
        self,
        maps: Any,
        outputs: Sequence[str],
        scale: float = 1.0,
        shape: Sequence[int] | None = None,
        to_host: bool = True,
    ) -> tuple[Array, ...]:
        """Return outputs of maps, at the size of the image if that is another."""
        ...


class Backend(Protocol):
    """A device with the network on it."""

    name: str
    threads: int
    tile: int
    batch: int
    largest_tile: int | None
    largest_batch: int | None

    def pipeline(self, tile: int, batch: int, model: Model | None = None) -> Pipeline:
        """Return a pipeline with tiles of this size, so many at once.

        ``model`` is the backend's own with another decoding; itself when left out.
        """
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
