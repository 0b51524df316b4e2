"""The model run by the package's own integer kernels on a GPU: `_native.cuda.Network`."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

from nucleiseg.engines import native
from nucleiseg.model import Model

logger = logging.getLogger("nucleiseg")

TILE = 2048
"""Largest side of a tile: above it nothing gets faster."""

BATCH = 4
"""Most tiles at once."""


class Engine:
    """Run the network on bytes in a GPU's memory, with the bytes of the CPU's kernels.

    Made for the current device. Nothing is built or kept: it starts in the time that its weights
    need to get there, and takes any shape.

    Parameters
    ----------
    model : Model
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.

    Attributes
    ----------
    name : str
    largest_tile, largest_batch : int

    Raises
    ------
    ModelError
        The file holds another network than the int8 U-Net of `training.export`.
    """

    largest_tile, largest_batch = TILE, BATCH

    def __init__(self, model: Model, kernels: ModuleType) -> None:
        self.network = native.with_layers(kernels.Network(), model)
        self.name = "its own int8 kernels (mma)"


def device(kernels: ModuleType, engine: Any, threads: int = 1) -> Any:
    """Return the current GPU with an engine: `_native.cuda.Device`.

    Parameters
    ----------
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    engine : Engine or tensorrt.Engine
        One without a ``network`` has ``enqueue(tiles, cells, shape, stream, memory)`` instead, the
        `network` of `_native.cuda.Device`.
    threads : int
        Of the processor, for what the host resizes and copies.
    """
    network = getattr(engine, "network", None) or engine.enqueue
    return kernels.Device(network, threads, logger.warning)
