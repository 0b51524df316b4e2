"""A GPU: native kernels and an engine, on arrays in its memory."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Protocol

from nucleiseg.backends import devices
from nucleiseg.backends.lane import Device, Lane
from nucleiseg.backends.stepwise import StepwisePipeline
from nucleiseg.model import Model

logger = logging.getLogger("nucleiseg")

LANES = 3
"""Images on the device at once: while one is in the network, the next is uploaded and the one
before is downloaded. Further threads wait."""

TILE_BYTES = 160
"""Device memory for one pixel of a tile, of which images as large as a tile need about 40 (the
picture, the tiles, cells, maps, labels and their workspace) and the network's activations the rest.
Reckoned, not measured: it only decides where tiles get smaller than the engine takes."""

KEPT = 8
"""Unused results whose memory is kept for the next ones."""

COPIERS = 4
"""Threads that copy an image to page-locked memory: more hardly gain."""

PAGE_LOCKED = 1 << 28
"""Bytes of results on the host that may be page-locked: those are not copied once more. A caller
who keeps more gets memory that is not."""


class Engine(Protocol):
    """The network compiled for the device."""

    @property
    def largest_tile(self) -> int:
        """Pixels a side that it takes without being built again."""
        ...

    @property
    def largest_batch(self) -> int:
        """Tiles at once, likewise."""
        ...

    def enqueue(self, tiles: Any, cells: Any, stream: Any, memory: Callable[[int], Any]) -> None:
        """Put the network into a stream, of whose calls it keeps what they need apart.

        Parameters
        ----------
        tiles : Buffer, (N, h, w, 3) uint8
        cells : Buffer, (N, h / 2, w / 2, 8) uint8
        stream : Stream
            It may be captured into a graph, after one call with the same shapes that was not. Then
            this stream's later calls have those shapes, too. It is idle when it goes.
        memory : callable
            Gives a Buffer of so many bytes for what comes between the layers. Calls whose streams
            wait for each other may be given the same.
        """
        ...


class CudaBackend:
    """Kernels of ``_native.cuda``, or of its emulation, and an engine, on the current device.

    Parameters
    ----------
    model : Model
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    engine : Engine
    threads : int
        Processor threads, for what the host resizes and decodes.
    """

    name = "cuda"

    def __init__(self, model: Model, kernels: ModuleType, engine: Engine, threads: int) -> None:
        self.threads = threads
        self.model = model
        self.kernels = kernels
        self.engine = engine
        self.index = kernels.current_device()
        self.gpu = devices.find(kernels)[self.index]
        self.largest_tile: int | None = engine.largest_tile
        self.largest_batch: int | None = engine.largest_batch
        self.tile, self.batch = self._sizes()
        pools = kernels.MemoryPool(KEPT), kernels.PinnedMemoryPool(KEPT, PAGE_LOCKED)
        self._shared = Device(kernels, model, engine, self.gpu, *pools, min(threads, COPIERS))
        self._idle: list[Lane] = []
        self._lock = threading.Lock()
        self._free = threading.Semaphore(LANES)
        self._process = os.getpid()

    @property
    def words(self) -> str:
        """Tiles, batch and whether memory is shared, for the log."""
        shared = ", memory shared with the host" if self.gpu.integrated else ""
        return f"tiles up to {self.tile} pixels, {self.batch} at once{shared}"

    def pipeline(self, tile: int, batch: int, model: Model | None = None) -> StepwisePipeline:
        """Return a pipeline with tiles of this size, so many at once."""
        return StepwisePipeline(self, model or self.model, tile, batch)

    @contextmanager
    def session(self, to_host: bool) -> Iterator[Lane]:
        """Lend a lane for one image; RuntimeError in a child process, where CUDA cannot be used.

        There its locks might never be released, either.
        """
        if os.getpid() != self._process:
            raise RuntimeError(
                "device: a Segmenter on a GPU cannot be used after a fork; make it in the child "
                "process, or start that by 'spawn'"
            )
        with self._free:
            # Each thread has a current device of its own.
            self.kernels.set_device(self.index)
            with self._lock:
                lane = self._idle.pop() if self._idle else None
            lane = Lane(self._shared) if lane is None else lane
            try:
                with lane.image(to_host):
                    yield lane
            finally:
                with self._lock:
                    self._idle.append(lane)

    def _sizes(self) -> tuple[int, int]:
        """Return the largest tile, and tiles at once, that half of the free memory allows."""
        stride, halo = self.model.stride, self.model.halo
        pixels = self.gpu.free / 2 / LANES / TILE_BYTES
        smallest = 2 * halo + stride
        side = int(min(self.engine.largest_tile, pixels**0.5)) // stride * stride
        side = max(side, smallest)
        return side, max(1, min(self.engine.largest_batch, int(pixels / side**2)))
