"""Processor threads that are shared by the calls in progress."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Shares:
    """So many threads, shared out among those who ask for them, in the order in which they ask.

    A call that is alone gets all of them, so that one image is done as fast as can be. Where
    several wait at once each gets its part, in the end one: images side by side, on a thread each,
    wait for nobody, while the threads of one image wait for the last of them after every layer of
    the network.

    Parameters
    ----------
    threads : int
        At least 1.
    """

    def __init__(self, threads: int) -> None:
        self._free = threads
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def take(self) -> Iterator[int]:
        """Wait for a thread at least, and give how many threads there are until the block ends.

        Who takes a share must not wait for another to take one.
        """
        number = self._wait()
        try:
            yield number
        finally:
            with self._changed:
                self._free += number
                self._changed.notify_all()

    def _wait(self) -> int:
        place = object()
        with self._changed:
            self._line.append(place)
            try:
                self._changed.wait_for(lambda: self._line[0] is place and self._free > 0)
                number = max(1, self._free // len(self._line))
                self._free -= number
            finally:
                self._line.remove(place)
                self._changed.notify_all()
        return number
