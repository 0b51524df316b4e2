"""A thread pool for work on many images, few of which are in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


def each(
    do: Callable[[_Item], _Done], items: Iterable[_Item], at_once: int, *, in_order: bool = True
) -> Generator[_Done, None, None]:
    """Yield what a function returns for each item, computed by several threads.

    At most ``at_once`` items are taken of ``items``, by the calling thread, before their results
    are yielded, so ``items`` may be endless. When the caller stops early, the calls that have
    begun are finished and no other begins.

    Parameters
    ----------
    do : callable
        An error that it raises is raised here in place of its result.
    items : iterable
    at_once : int
        Threads, and items that are held at once.
    in_order : bool
        Whether results come in the order of the items, or as soon as they are there.
    """
    with ThreadPoolExecutor(at_once, "nucleiseg") as pool:
        waiting: list[Future[_Done]] = []
        try:
            for item in items:
                waiting.append(pool.submit(do, item))
                while len(waiting) == at_once or (not in_order and _any_done(waiting)):
                    yield _take(waiting, in_order).result()
            while waiting:
                yield _take(waiting, in_order).result()
        finally:
            for future in waiting:
                future.cancel()


def _any_done(waiting: list[Future[_Done]]) -> bool:
    return any(each.done() for each in waiting)


def _take(waiting: list[Future[_Done]], in_order: bool) -> Future[_Done]:
    """Remove the future whose result comes next from those waiting."""
    if in_order:
        return waiting.pop(0)
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    return waiting.pop(next(place for place, each in enumerate(waiting) if each in done))
