"""Processor threads that are shared by the calls in progress."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from nucleiseg.forks import renew_in_child


class Shares:
    """So many threads, shared out among those who ask for them, in the order in which they ask.

    A call that is alone gets all of them, so that one image is done as fast as can be. Where
    several are there at once each gets its part, in the end one: images side by side, on a thread
    each, wait for nobody, while the threads of one image wait for the last of them after every
    layer of the network. A call that is alone for a moment only, while the next is still being
    read, leaves the others their part: company is forgotten by half with each call.

    Parameters
    ----------
    threads : int
        At least 1.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        renew_in_child(self, Shares._begin)

    def _begin(self) -> None:
        self._free = self._threads
        self._line: deque[object] = deque()
        self._served = 0
        self._company = 1
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
                self._served -= 1
                self._changed.notify_all()

    def _wait(self) -> int:
        place = object()
        with self._changed:
            self._line.append(place)
            try:
                self._changed.wait_for(lambda: self._line[0] is place and self._free > 0)
                self._company = max(self._served + len(self._line), self._company // 2)
                number = min(self._free, max(1, self._threads // self._company))
                self._free -= number
                self._served += 1
            finally:
                self._line.remove(place)
                self._changed.notify_all()
        return number
