"""What work takes on a GPU, by its own events."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

REPEATS, PASSES = 20, 7
"""How often work stands in the graph that is timed, and how often that is launched."""


class Clock:
    """A stream of a device, with memory for networks, and times of what is given to it.

    Parameters
    ----------
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    repeats : int
    """

    def __init__(self, kernels: ModuleType, repeats: int = REPEATS) -> None:
        self.kernels, self.repeats = kernels, repeats
        self.stream = kernels.Stream()
        self._memory: Any = None

    def memory(self, size: int) -> Any:
        """Return a Buffer of so many bytes, the last one where it is large enough."""
        if self._memory is None or self._memory.nbytes < size:
            self._memory = None
            self._memory = self.kernels.Buffer([size])
        return self._memory

    def put(self, array: Array) -> Any:
        """Copy to the device."""
        return self.kernels.to_device(array, stream=self.stream)

    def get(self, array: Any) -> Array:
        """Copy from the device."""
        found: Array = self.kernels.to_host(array, stream=self.stream)
        return found

    def milliseconds(self, work: Callable[[], object]) -> float:
        """Time work by events around a graph of many times the same: the median of passes."""
        work()
        with self.stream.capture() as graph:
            for _ in range(self.repeats):
                work()
        begin, end = (self.kernels.Event(timing=True) for _ in range(2))
        times = []
        for _ in range(PASSES + 1):
            begin.record(self.stream)
            graph.launch(self.stream)
            end.record(self.stream)
            end.synchronize()
            times.append(end.milliseconds_since(begin) / self.repeats)
        return float(statistics.median(times[1:]))

    def network(self, engine: Any, tiles: Array) -> tuple[Callable[[], None], Any]:
        """Return the work of an engine on tiles, and the Buffer of its cells."""
        count, height, width, _ = tiles.shape
        cells = self.kernels.Buffer((count, height // 2, width // 2, 8))
        return self.work(engine, self.put(tiles), cells), cells

    def work(self, engine: Any, tiles: Any, cells: Any) -> Callable[[], None]:
        """Return the work of an engine on Buffers of tiles and cells."""

        def enqueue() -> None:
            shape, handle = tiles.shape[:3], self.stream.handle
            engine.enqueue(tiles.ptr, cells.ptr, shape, handle, lambda size: self.memory(size).ptr)

        return enqueue
