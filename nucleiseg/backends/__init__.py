"""Backends: the same steps under the same names, whatever the device."""

from __future__ import annotations

import logging
import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nucleiseg.model import Model

logger = logging.getLogger("nucleiseg")

DEVICES = ("auto", "cpu", "cuda")


class Backend(Protocol):
    """A set of kernels and an engine on one device.

    Arrays are NumPy's on the CPU and buffers on a GPU; the driver only passes them on.
    """

    name: str
    threads: int

    def percentiles(self, image: NDArray[Any]) -> tuple[float, float]:
        """Give the intensities at the model's two percentiles."""
        ...

    def normalize(self, image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
        """Stretch low..high to 0..255: (H, W, 3) uint8."""
        ...

    def gather(
        self, image: NDArray[np.uint8], origins: NDArray[np.int64], height: int, width: int
    ) -> NDArray[np.uint8]:
        """Cut tiles, (N, height, width, 3) uint8, mirrored beyond the image."""
        ...

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run the network: cells, (N, h / 2, w / 2, 8) uint8."""
        ...

    def assemble(
        self,
        cells: NDArray[np.uint8],
        origins: NDArray[np.int64],
        cores: NDArray[np.int64],
        out: NDArray[np.uint8],
    ) -> None:
        """Spread each tile's cells over pixels and write its core into ``out``."""
        ...

    def mask(self, maps: NDArray[np.uint8], out: NDArray[np.bool_]) -> None:
        """Threshold the nucleus map into ``out``."""
        ...

    def label(self, maps: NDArray[np.uint8], scale: float = 1.0) -> NDArray[np.int32]:
        """Give one id a nucleus; ``scale`` says how far the maps were magnified."""
        ...


def choose(device: str, model: Model, threads: int | None) -> Backend:
    """Make the backend for a device.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
    model : Model
    threads : int or None
        Processor threads; all that this process may use when None.

    Raises
    ------
    ValueError
        An unknown device, or fewer than one thread.
    RuntimeError
        ``device="cuda"`` where this build cannot use a GPU.
    """
    if device not in DEVICES:
        raise ValueError(f"device: got {device!r}; accepted are {', '.join(map(repr, DEVICES))}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: got {threads}; accepted is 1 or more, or None for all")
    if device == "cuda":
        raise RuntimeError(
            "device: 'cuda' was asked for, but this build has no CUDA kernels; "
            "use device='cpu' or device='auto'"
        )
    from nucleiseg.backends.cpu import CpuBackend

    backend = CpuBackend(model, available_threads() if threads is None else threads)
    logger.info("runs on the CPU with OpenVINO, %d threads", backend.threads)
    return backend


def available_threads() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
