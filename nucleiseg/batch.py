"""Many image files: read, segment and save each of them, several at once."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from nucleiseg import images
from nucleiseg.outputs import Format, Result
from nucleiseg.outputs.report import Report
from nucleiseg.outputs.result import beside
from nucleiseg.segmenter import Segmenter

FROM_FILE = "file"
"""As ``mpp``: the pixel size that each image's own file gives."""

# One image in the network, the others being read, decoded or written beside it. No more than these
# are in memory, however many images there are.
WORKERS = 4


@dataclass(frozen=True)
class Job:
    """An image file, and the stem of its outputs to which each format adds an ending."""

    image: Path
    stem: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one image, all its planes together.

    ``nuclei`` and ``pixels`` are 0 if it failed for the reason given.
    """

    image: Path
    nuclei: int = 0
    pixels: int = 0
    failure: str = ""


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
    stopping: Event = field(default_factory=Event)


def run(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    formats: Sequence[Format],
    size: Mapping[str, Any] | None = None,
    selection: images.Selection | None = None,
    report: Report | None = None,
) -> Generator[Outcome, None, None]:
    """Do all jobs. One that fails does not stop the others.

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

    Yields
    ------
    Outcome
        As images are done, in any order. When the caller stops early, or is interrupted, the planes
        at hand are finished, and no other is begun.
    """
    shared = _Run(
        segmenter,
        formats,
        size or {},
        selection or images.Selection(),
        frozenset(os.path.realpath(job.image) for job in jobs),
        {job.stem: job.image for job in jobs},
        report,
    )
    pool = ThreadPoolExecutor(WORKERS, "nucleiseg-batch")
    try:
        futures = [pool.submit(_do, shared, job) for job in jobs]
        for future in as_completed(futures):
            outcome = future.result()
            if report and outcome.failure:
                report.failure(str(outcome.image), outcome.failure)
            yield outcome
    finally:
        shared.stopping.set()
        pool.shutdown(cancel_futures=True)


def _do(shared: _Run, job: Job) -> Outcome:
    nuclei, pixels, where = 0, 0, ""
    try:
        for plane in images.planes(job.image, shared.selection):
            if shared.stopping.is_set():
                break
            where = plane.suffix and f"{plane.suffix[1:]}: "
            result = _do_plane(shared, job, plane)
            nuclei, pixels, where = nuclei + result.nuclei, pixels + result.mask.size, ""
    except Exception as error:
        return Outcome(job.image, failure=where + _reason(job.image, error))
    return Outcome(job.image, nuclei, pixels)


def _do_plane(shared: _Run, job: Job, plane: images.Plane) -> Result:
    stem = _stem(shared, job, plane.suffix)
    size = _size(shared.size, plane)
    mpp = size.get("mpp") or plane.mpp
    maps, scale = None, 1.0
    if shared.report or any(each.maps for each in shared.formats):
        mask, labels, maps, scale = shared.segmenter.segment_all(plane.array, **size)
    else:
        mask, labels = shared.segmenter.segment_both(plane.array, **size)
    threads = shared.segmenter.threads
    result = Result(plane.array, mask, labels, mpp, maps, job.image.name, threads=threads)
    stem.parent.mkdir(parents=True, exist_ok=True)
    for each in shared.formats:
        each.save(stem, result)
    if shared.report:
        name = f"{job.image}{plane.suffix}"
        shared.report.entry(name, plane.array, labels, maps, mpp, scale)
    return result


def _stem(shared: _Run, job: Job, suffix: str) -> Path:
    """Name a plane's outputs, which must be neither another image's nor one of the images."""
    stem = beside(job.stem, suffix)
    other = shared.stems.setdefault(stem, job.image)
    if other != job.image:
        raise ValueError(f"its outputs would have the names of those of {other}: {stem}")
    for ending in (ending for each in shared.formats for ending in each.endings):
        output = beside(stem, ending)
        if suffix and os.path.realpath(output) in shared.inputs:
            raise ValueError(f"{output} is one of the images and would be overwritten")
    return stem


def _size(size: Mapping[str, Any], plane: images.Plane) -> Mapping[str, Any]:
    if size.get("mpp") != FROM_FILE:
        return size
    if plane.mpp is None:
        raise ValueError("does not say its pixel size; give it with --mpp UM, or leave it out")
    return {**size, "mpp": plane.mpp}


def _reason(image: Path, error: Exception) -> str:
    """One line, without the image's name, which stands before it already."""
    if isinstance(error, OSError) and error.strerror:
        named = error.filename and str(error.filename) != str(image)
        return f"{error.strerror}: {error.filename}" if named else error.strerror
    message = (str(error) or type(error).__name__).removeprefix(f"{image}: ")
    return message.splitlines()[0]
