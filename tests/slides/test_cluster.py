"""A cluster of processes gives the files of one machine, whatever happens to its workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from runs import FORMATS, digests, run

from nucleiseg.slides import executors, segment_slide

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_and_regions_do_not_show_in_the_files(
    svs: Path, unbroken: Path, workers: int, tmp_path: Path
) -> None:
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        for side in (1024, 2048, 4096):
            folder = run(
                svs,
                tmp_path / str(side),
                side=side,
                threads=1,
                scheduler=cluster.scheduler_address,
            )
            same = side == 1024
            assert digests(folder, manifest=same) == digests(unbroken, manifest=same)


def test_workers_of_this_machine(svs: Path, unbroken: Path, tmp_path: Path) -> None:
    assert digests(run(svs, tmp_path, side=1024, workers=2)) == digests(unbroken)


def test_two_of_four_workers_are_killed_and_the_files_are_the_same(
    svs: Path, unbroken: Path, tmp_path: Path
) -> None:
    killed: list[int] = []
    with distributed.LocalCluster(
        n_workers=4, threads_per_worker=1, dashboard_address=None
    ) as cluster:

        def kill(done: int, total: int) -> None:
            """Kill a worker after the second and the fourth region."""
            if done in (2, 4) and len(killed) < done // 2:
                # One that was killed has no process until its nanny has started another.
                alive = [one.pid for one in cluster.workers.values() if one.pid]
                os.kill(alive[0], signal.SIGKILL)
                killed.append(alive[0])

        summary = segment_slide(
            svs,
            tmp_path / "cluster",
            formats=FORMATS,
            device="cpu",
            threads=1,
            side=1024,
            scheduler=cluster.scheduler_address,
            progress=kill,
        )
        # A nanny that is starting another worker while it is closed may wait for it for ever.
        for _ in range(600):
            if all(_is_running(one, killed) for one in cluster.workers.values()):
                break
            time.sleep(0.1)
    assert len(killed) == 2
    assert not summary.failures
    assert digests(summary.folder) == digests(unbroken)


def _is_running(nanny: distributed.Nanny, killed: list[int]) -> bool:
    return nanny.status.name == "running" and bool(nanny.pid) and nanny.pid not in killed


def test_workers_and_a_scheduler_are_one_or_the_other() -> None:
    with (
        pytest.raises(ValueError, match="workers: got 2 and a scheduler"),
        executors.chosen(2, "tcp://somewhere:8786"),
    ):
        pass
    with pytest.raises(ValueError, match="workers: got 0"), executors.chosen(0, None):
        pass


def test_a_scheduler_that_is_not_there_is_an_error() -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(OSError, match=r"127\.0\.0\.1:9"),
        executors.chosen(None, "tcp://127.0.0.1:9"),
    ):
        pass
