"""Many image files: read, segment and save each of them, several at once."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Semaphore
from typing import Any

from nucleiseg import images, records, walk
from nucleiseg.names import printable
from nucleiseg.outputs import Format, Result
from nucleiseg.outputs.report import Report
from nucleiseg.outputs.result import beside
from nucleiseg.readers import versions
from nucleiseg.records import Records, Source
from nucleiseg.segmenter import Segmenter

FROM_FILE = "file"
"""As ``mpp``: the pixel size that each image's own file gives."""

AT_ONCE = 4
"""Planes at once: one in the network, the others being read, decoded, measured or written beside
it. No more than these are in memory, however many images there are."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Job:
    """An image file, and the stem of its outputs to which each format adds an ending."""

    image: Path
    stem: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one image, all its planes together.

    ``nuclei`` and ``pixels`` are 0 if it failed for the reason given. ``pixels`` are those of this
    run: planes that an earlier one did are not segmented again, and ``before`` says that this is so
    of all of them. ``doubt`` says why its limits may not be right. ``full`` says that there was no
    room left for its files.
    """

    image: Path
    nuclei: int = 0
    pixels: int = 0
    before: bool = False
    failure: str = ""
    full: bool = False
    doubt: str = ""


class _Slots:
    """Room for so many planes at once."""

    def __init__(self, number: int) -> None:
        self._free = Semaphore(number)
        self._lock = Lock()
        self._taken = 0

    def acquire(self) -> None:
        """Take a slot, as soon as there is one."""
        self._free.acquire()
        with self._lock:
            self._taken += 1

    def release(self) -> None:
        """Give a slot back."""
        with self._lock:
            self._taken -= 1
        self._free.release()

    def share(self, threads: int) -> int:
        """Give how many of the threads are for each plane at hand, at least one."""
        return max(1, threads // max(1, self._taken))


@dataclass(frozen=True)
class _Run:
    """What all images share."""

    segmenter: Segmenter
    formats: Sequence[Format]
    size: Mapping[str, Any]
    selection: images.Selection
    inputs: frozenset[str]
    stems: dict[Path, Path]
    report: Report | None
    records: Records | None
    slots: _Slots
    planes: ThreadPoolExecutor
    stopping: Event = field(default_factory=Event)


def run(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    formats: Sequence[Format],
    size: Mapping[str, Any] | None = None,
    selection: images.Selection | None = None,
    report: Report | None = None,
    records: Records | None = None,
    at_once: int = AT_ONCE,
) -> Generator[Outcome, None, None]:
    """Do all jobs. One that fails does not stop the others, unless the disk is full.

    Parameters
    ----------
    segmenter
        What finds the nuclei.
    jobs
        The images. Each stem must be a different one; missing folders are made.
    formats
        What to save of each image.
    size
        ``scale``, ``mpp`` or ``diameter`` of all images, as `Segmenter.segment` takes them, or
        `FROM_FILE` as ``mpp``.
    selection
        What to take of stacks and channels. Each plane has outputs of its own, with its suffix
        behind the stem.
    report
        What tells of the run: every plane is entered into it, and every image's failure.
    records
        Where to note what is done, and to look up what was; nowhere when left out.
    at_once
        Planes to work on at once.

    Yields
    ------
    Outcome
        As images are done, in any order. When the caller stops early, or is interrupted, or the
        disk is full, the planes at hand are finished, and no other is begun.
    """
    check_at_once(at_once)
    with ExitStack() as stack:
        if records:
            stack.callback(records.close)
        # Closed in the opposite order: whoever reads may wait for planes, but not the reverse.
        planes = stack.enter_context(ThreadPoolExecutor(at_once, "nucleiseg-plane"))
        readers = stack.enter_context(ThreadPoolExecutor(at_once, "nucleiseg-read"))
        shared = _Run(
            segmenter,
            formats,
            size or {},
            selection or images.Selection(),
            frozenset(os.path.realpath(job.image) for job in jobs),
            {job.stem: job.image for job in jobs},
            report,
            records,
            _Slots(at_once),
            planes,
        )
        stack.callback(shared.stopping.set)
        for outcome in _outcomes(shared, jobs, readers, at_once):
            if report and outcome.failure:
                report.failure(str(outcome.image), outcome.failure)
            yield outcome


def check_at_once(number: int) -> None:
    """Refuse fewer than one at once.

    Raises
    ------
    ValueError
        As the command's ``--jobs`` says it.
    """
    if number < 1:
        raise ValueError(f"jobs: got {number}; accepted is 1 or more")


def settings(
    segmenter: Segmenter, size: Mapping[str, Any], selection: images.Selection
) -> dict[str, Any]:
    """Give all that outputs depend on beside the image, for `nucleiseg.records.Records`."""
    from nucleiseg import __version__

    return {
        "nucleiseg": __version__,
        "model": segmenter.model.identity,
        **{name: value for name, value in size.items() if value is not None},
        "channel": selection.channel,
        "axes": selection.axes,
        "decoders": versions(),
    }


def _outcomes(
    shared: _Run, jobs: Sequence[Job], readers: ThreadPoolExecutor, at_once: int
) -> Generator[Outcome, None, None]:
    """Give outcomes as they come, with a few jobs in line and not all of them."""
    todo = iter(jobs)
    done: SimpleQueue[Future[Outcome | None]] = SimpleQueue()
    in_line, more = 0, 2 * at_once
    while True:
        for job in islice(todo, 0 if shared.stopping.is_set() else more):
            readers.submit(_do, shared, job).add_done_callback(done.put)
            in_line += 1
        if not in_line:
            return
        outcome = done.get().result()
        in_line, more = in_line - 1, 1
        if outcome is not None:
            yield outcome


def _do(shared: _Run, job: Job) -> Outcome | None:
    """Do one image; None if the run is stopped before all of it is done."""
    so_far = _SoFar(shared, job)
    running: deque[Future[Outcome]] = deque()
    try:
        with closing(images.planes(job.image, shared.selection, so_far.skip)) as planes:
            while not so_far.outcome.failure and _read_next(so_far, planes, running):
                while running and running[0].done():
                    so_far.add(running.popleft().result())
    except Exception as error:
        so_far.add(_failed(job, error))
    for future in running:
        so_far.add(future.result())
    if so_far.outcome.failure:
        return replace(so_far.outcome, nuclei=0, pixels=0)
    return so_far.outcome if so_far.whole else None


class _SoFar:
    """What one image has come to, and which of its planes an earlier run did."""

    def __init__(self, shared: _Run, job: Job) -> None:
        self.shared, self.job = shared, job
        self.source = records.source(job.image) if shared.records else None
        self.outcome = Outcome(job.image, before=True)
        self.whole = False

    def skip(self, suffix: str) -> bool:
        """Say whether a plane is done, and take it in if so."""
        if self.shared.records is None:
            return False
        stem, report = beside(self.job.stem, suffix), self.shared.report
        done = self.shared.records.find(stem, self.source, self.shared.formats, bool(report))
        if done is None:
            return False
        if report and done.entry:
            report.restore(f"{self.job.image}{suffix}", done.entry)
        self.add(Outcome(self.job.image, done.nuclei, before=True, doubt=done.doubt))
        return True

    def add(self, plane: Outcome) -> None:
        """Take in a plane; the first failure and the first doubt are the image's."""
        self.outcome = Outcome(
            self.job.image,
            self.outcome.nuclei + plane.nuclei,
            self.outcome.pixels + plane.pixels,
            self.outcome.before and plane.before,
            self.outcome.failure or plane.failure,
            self.outcome.full or plane.full,
            self.outcome.doubt or plane.doubt,
        )


def _read_next(
    so_far: _SoFar,
    planes: Generator[images.Plane, None, None],
    running: deque[Future[Outcome]],
) -> bool:
    """Read a plane as soon as there is room for one, and have it done; False if there is none."""
    shared = so_far.shared
    shared.slots.acquire()
    try:
        plane = None if shared.stopping.is_set() else next(planes, None)
    except BaseException:
        shared.slots.release()
        raise
    if plane is None:
        shared.slots.release()
        so_far.whole = not shared.stopping.is_set()
        return False
    running.append(shared.planes.submit(_do_plane, shared, so_far.job, plane, so_far.source))
    return True


def _do_plane(shared: _Run, job: Job, plane: images.Plane, source: Source | None) -> Outcome:
    try:
        result, doubt = _segmented(shared, job, plane, source)
    except Exception as error:
        outcome = _failed(job, error, plane.suffix and f"{plane.suffix[1:]}: ")
        if outcome.full:
            shared.stopping.set()
        return outcome
    finally:
        shared.slots.release()
    if doubt and plane.suffix:
        doubt = f"{plane.suffix[1:]}: {doubt}"
    return Outcome(job.image, result.nuclei, result.mask.size, doubt=doubt)


def _segmented(
    shared: _Run, job: Job, plane: images.Plane, source: Source | None
) -> tuple[Result, str]:
    """Segment a plane and save it; with why its limits may not be right."""
    stem = _stem(shared, job, plane.suffix)
    size = _size(shared.size, plane)
    mpp = size.get("mpp") or plane.mpp
    with_maps = bool(shared.report) or any(each.maps for each in shared.formats)
    found = shared.segmenter.segment_all(plane.array, **size, with_maps=with_maps)
    threads = shared.slots.share(shared.segmenter.threads)
    name, doubt = job.image.name, found.limits.doubt or ""
    result = Result(plane.array, found.mask, found.labels, mpp, found.maps, name, threads=threads)
    _save(shared, stem, result, source, f"{job.image}{plane.suffix}", found.scale, doubt)
    return result, doubt


def _save(
    shared: _Run,
    stem: Path,
    result: Result,
    source: Source | None,
    name: str,
    scale: float,
    doubt: str,
) -> None:
    """Write all files of a plane, and last that they are there."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    record = shared.records.begin(stem, source, shared.formats) if shared.records else {}
    files = [each.save(stem, result) for each in shared.formats]
    entry = None
    if shared.report:
        table = result.table
        entry = shared.report.entry(
            name, result.image, result.labels, result.maps, result.mpp, scale, table
        ).kept()
    if shared.records:
        shared.records.finish(record, stem, files, result.nuclei, entry, doubt)


def _stem(shared: _Run, job: Job, suffix: str) -> Path:
    """Name a plane's outputs, which must be neither another image's nor one of the images."""
    stem = beside(job.stem, suffix)
    other = shared.stems.setdefault(stem, job.image)
    if other != job.image:
        theirs = printable(f"those of {other}: {stem}")
        raise ValueError(f"its outputs would have the names of {theirs}")
    endings = [ending for each in shared.formats for ending in each.endings] if suffix else []
    for output in (beside(stem, ending) for ending in endings):
        if os.path.realpath(output) in shared.inputs:
            name = printable(str(output))
            raise ValueError(f"{name} is one of the images and would be overwritten")
    return stem


def _size(size: Mapping[str, Any], plane: images.Plane) -> Mapping[str, Any]:
    if size.get("mpp") != FROM_FILE:
        return size
    if plane.mpp is None:
        raise ValueError("does not say its pixel size; give it with --mpp UM, or leave it out")
    return {**size, "mpp": plane.mpp}


def _failed(job: Job, error: Exception, where: str = "") -> Outcome:
    full = isinstance(error, OSError) and error.errno in _FULL
    return Outcome(job.image, failure=where + _reason(job.image, error), full=full)


def _reason(image: Path, error: Exception) -> str:
    """One line, without the image's name, which stands before it already."""
    if isinstance(error, OSError) and error.strerror:
        named = error.filename and str(error.filename) != str(image)
        return f"{error.strerror}: {error.filename}" if named else error.strerror
    message = (str(error) or type(error).__name__).removeprefix(f"{image}: ")
    kind = walk.UNREAD.get(image.suffix.lower())
    advice = f"; {kind} are not read: {walk.EXPORT}" if kind else ""
    return message.splitlines()[0] + advice
