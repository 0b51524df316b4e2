"""Where regions are computed: in threads of this process, or by workers of dask.distributed."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import ModuleType
from typing import Any

from nucleiseg.device import available_threads
from nucleiseg.slides import task
from nucleiseg.slides.area import Part
from nucleiseg.slides.grid import Region
from nucleiseg.slides.plan import AT_ONCE

Task = tuple[Region, Part]

Result = tuple[Region, task.Outcome]

AHEAD = 8
"""Regions that wait to be computed or written: a row of them is written at once, which takes as
long as some regions do."""

FOR_EACH = 2
"""Regions that are given to a worker of a cluster at once: the next one waits there already."""

TRIES = 5
"""Times that a region is given to workers that are lost, before that is taken to be its fault."""


class Threads:
    """Threads of this process: while one region is in the network others are read or decoded."""

    threads = None

    def arithmetic(self, settings: task.Settings) -> str:
        """Return that of this process."""
        return task.arithmetic(settings)

    def run(self, settings: task.Settings, tasks: Iterable[Task]) -> Iterator[Result]:
        """Return what came of each region, about in their order."""
        waiting: dict[Future[task.Outcome], Region] = {}
        with ThreadPoolExecutor(AT_ONCE, "region") as pool:
            try:
                for region, part in tasks:
                    waiting[pool.submit(task.compute, settings, region, part)] = region
                    if len(waiting) >= AT_ONCE + AHEAD:
                        yield from _finished(waiting)
                while waiting:
                    yield from _finished(waiting)
            finally:
                for future in waiting:
                    future.cancel()
        task.forget()


def _finished(waiting: dict[Future[task.Outcome], Region]) -> Iterator[Result]:
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), future.result()


class Cluster:
    """Workers of dask.distributed.

    Parameters
    ----------
    client : distributed.Client
    threads : int or None
        That a region's network may use, where the user did not say it; None is all.
    """

    def __init__(self, client: Any, threads: int | None = None) -> None:
        self._client, self.threads = client, threads

    def arithmetic(self, settings: task.Settings) -> str:
        """Return that of a worker."""
        return str(self._client.submit(task.arithmetic, settings, pure=False).result())

    def run(self, settings: task.Settings, tasks: Iterable[Task]) -> Iterator[Result]:
        """Return what came of each region, as it comes; of dead workers' others do it again."""
        distributed = _loaded("distributed")
        finished = distributed.as_completed(with_results=True, raise_errors=False)
        given: dict[str, tuple[Task, int]] = {}
        left = iter(tasks)

        def submit(one: Task, tries: int) -> None:
            future = self._client.submit(task.compute, settings, *one, pure=False)
            given[future.key] = one, tries
            finished.add(future)

        while True:
            for one in itertools.islice(left, max(0, self._most() - len(given))):
                submit(one, 1)
            if not given:
                return
            future, result = next(finished)
            one, tries = given.pop(future.key)
            if isinstance(result, task.Outcome):
                yield one[0], result
            elif tries < TRIES:
                # Its workers died, or its result was lost with one.
                submit(one, tries + 1)
            else:
                yield one[0], task.Failed(f"{tries} workers were lost: {_words(result)}")

    def _most(self) -> int:
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        threads = sum(int(each["nthreads"]) for each in workers.values())
        return max(FOR_EACH, FOR_EACH * threads)


Executor = Threads | Cluster
"""Computes regions; no more are under way than its workers need."""


def _words(result: Any) -> str:
    """Return what dask gives instead of a result, in a line."""
    error = result[1] if isinstance(result, tuple) and len(result) > 1 else result
    return " ".join(f"{type(error).__name__}: {error}".split())


def _loaded(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"workers: {module} is not installed: pip install 'nucleiseg[dask]'", name=module
        ) from error


@contextlib.contextmanager
def chosen(workers: int | None, scheduler: str | None) -> Iterator[Executor]:
    """Return an executor.

    Parameters
    ----------
    workers : int or None
        Processes of a cluster on this machine.
    scheduler : str or None
        Address of a cluster that is there.

    Raises
    ------
    ModuleNotFoundError
        dask.distributed is not installed.
    ValueError
        Both are given, or fewer than one worker.
    OSError
        There is no scheduler at the address.
    """
    if workers is None and scheduler is None:
        yield Threads()
        return
    if workers is not None and (scheduler is not None or workers < 1):
        raise ValueError(
            f"workers: got {workers}{' and a scheduler' if scheduler else ''}; accepted is one of "
            "workers, from 1, and scheduler"
        )
    distributed = _loaded("distributed")
    if scheduler is not None:
        with distributed.Client(scheduler) as client:
            yield Cluster(client)
        return
    dask = _loaded("dask")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": TRIES}),
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield Cluster(client, max(1, available_threads() // (workers or 1)))
