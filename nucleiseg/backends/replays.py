"""Work that is done again and again for images of one shape, as CUDA graphs."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MOST = 6
"""Graphs of a lane. An image needs two, so this is three shapes."""

_recording = threading.Lock()


class Replay:
    """Work under one key: done step by step at first, then recorded, then launched at once.

    Attributes
    ----------
    seen : int
        How often there was an image for it.
    has_no_graph : bool
        Whether none can be made: the engine gets tiles of several shapes, or capture failed.
    stream : Stream or None
        Its own, as an engine's state goes with a stream, and a graph holds that state.
    image : Buffer or None
        Where the work finds its input.
    graph : Graph or None
    result : object
        What the work returned: arrays that each launch writes again.
    kept : list
        Memory that the graph uses.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.has_no_graph = False
        self.stream: Any = None
        self.image: Any = None
        self.graph: Any = None
        self.result: Any = None
        self.kept: list[Any] = []

    def record(self, work: Callable[[Any], Any], memory: list[Any]) -> None:
        """Capture the work, which has been done in this stream before, so that all is in place."""
        with _without_collection(), self.stream.capture() as graph:
            self.result = work(self.image)
        self.kept, self.graph = memory, graph


class Replays:
    """The replays of a lane, of which the least recently used go first."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Any, ...], Replay] = OrderedDict()

    def find(self, key: tuple[Any, ...]) -> Replay:
        """Return the replay for a key, a new one if there is none, and count it as seen."""
        replay = self._found.setdefault(key, Replay())
        self._found.move_to_end(key)
        if len(self._found) > MOST:
            _, oldest = self._found.popitem(last=False)
            if oldest.stream is not None:
                oldest.stream.synchronize()  # its graph, and its engine's state, may be at work
        replay.seen += 1
        return replay


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the garbage collector from freeing device memory, which a capture does not survive."""
    with _recording:
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()
