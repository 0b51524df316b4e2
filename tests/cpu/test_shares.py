"""Threads that calls in progress share."""

import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest

from nucleiseg import Segmenter
from nucleiseg.backends.shares import Shares
from nucleiseg.model import Model

SECONDS = 30


class Caller(threading.Thread):
    """Takes a share, and gives it back when told to."""

    def __init__(self, shares):
        super().__init__(daemon=True)
        self.shares, self.number = shares, None
        self.has, self.done = threading.Event(), threading.Event()
        self.start()

    def run(self):
        with self.shares.take() as self.number:
            self.has.set()
            self.done.wait(SECONDS)

    def finish(self):
        self.done.set()
        self.join(SECONDS)
        assert not self.is_alive()


def wait_in_line(shares, count):
    deadline = time.monotonic() + SECONDS
    while len(shares._line) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def queued(shares, count):
    """Callers that wait, in their order."""
    callers = []
    for number in range(count):
        callers.append(Caller(shares))
        wait_in_line(shares, number + 1)
    return callers


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_call_that_is_alone_gets_all_threads_each_time(threads):
    shares = Shares(threads)
    for _ in range(3):
        with shares.take() as number:
            assert number == threads


@pytest.mark.parametrize(
    ("threads", "waiting", "expected"),
    [(2, 2, [1, 1]), (8, 2, [4, 4]), (7, 3, [2, 2, 2]), (2, 3, [1, 1])],
)
def test_calls_that_wait_share_what_is_free(threads, waiting, expected):
    shares = Shares(threads)
    with shares.take():
        callers = queued(shares, waiting)
        assert not any(caller.has.is_set() for caller in callers)
    for caller in callers[: len(expected)]:
        assert caller.has.wait(SECONDS)
    assert [caller.number for caller in callers[: len(expected)]] == expected
    assert not any(caller.has.is_set() for caller in callers[len(expected) :])
    for caller in callers:
        caller.finish()
    assert shares._free == threads


def test_company_is_remembered_for_a_moment():
    """Four calls at once, and then one after the other: each a quarter, then half, then all."""
    shares = Shares(8)
    with shares.take():
        callers = queued(shares, 4)
    for caller in callers:
        assert caller.has.wait(SECONDS)
        assert caller.number == 2
    for caller in callers:
        caller.finish()
    numbers = []
    for _ in range(3):
        with shares.take() as number:
            numbers.append(number)
    assert numbers == [4, 8, 8]


def test_who_waits_longest_is_next():
    shares = Shares(1)
    with shares.take():
        callers = queued(shares, 4)
    for place, caller in enumerate(callers):
        assert caller.has.wait(SECONDS)
        assert not any(later.has.is_set() for later in callers[place + 1 :])
        caller.finish()


def test_an_error_gives_the_threads_back():
    shares, numbers = Shares(3), []

    def fail():
        with shares.take() as number:
            numbers.append(number)
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            fail()
    assert numbers == [3, 3]


def test_sessions_of_the_cpu_share_its_threads():
    backend = Segmenter(device="cpu", threads=3)._backend
    with backend.session(True) as steps:
        assert steps.threads == 3
    with backend._shares.take():
        callers = queued(backend._shares, 2)
    with ExitStack() as stack:
        for caller in callers:
            assert caller.has.wait(SECONDS)
            stack.callback(caller.finish)
        assert [caller.number for caller in callers] == [1, 1]
    with pytest.raises(ValueError, match="to_host"), backend.session(False):
        pass


def test_a_file_is_read_before_threads_are_taken(tmp_path, monkeypatch):
    segmenter = Segmenter(device="cpu", threads=1)
    read = threading.Event()
    monkeypatch.setattr("nucleiseg.segmenter._read", lambda image: read.set() or image)
    image = np.zeros((64, 64), np.uint8)
    with segmenter._backend._shares.take():
        call = threading.Thread(target=segmenter.segment, args=(image,))
        call.start()
        assert read.wait(SECONDS)
        assert call.is_alive()
    call.join(SECONDS)
    assert not call.is_alive()


@pytest.mark.parametrize("side", [256, 1056])
def test_the_engine_gives_the_same_on_any_share(side):
    from nucleiseg.engines import native

    engine = native.Engine(Model.load(), threads=3)
    tiles = np.random.default_rng(0).integers(0, 256, (1, side, 1024, 3), np.uint8)
    expected = engine.infer(tiles)
    found = {}

    def work(threads):
        found[threads] = engine.infer(tiles, threads)

    calls = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 5)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    for cells in found.values():
        np.testing.assert_array_equal(cells, expected)
    assert len(found) == 3
