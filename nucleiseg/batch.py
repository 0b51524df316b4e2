"""Many image files: read, segment and save each of them, several at once."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleiseg import images
from nucleiseg.outputs import Format, Result
from nucleiseg.outputs.report import Report
from nucleiseg.segmenter import Segmenter

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
    """What became of one image; nuclei and pixels are 0 if it failed for the reason given."""

    image: Path
    nuclei: int = 0
    pixels: int = 0
    failure: str = ""


def run(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    formats: Sequence[Format],
    size: Mapping[str, Any] | None = None,
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
        ``scale``, ``mpp`` or ``diameter`` of all images, as `Segmenter.segment` takes them.
    report
        What tells of the run: every image is entered into it, or its failure.

    Yields
    ------
    Outcome
        As images are done, in any order. When the caller stops early, or is interrupted, the images
        at hand are finished, and no other is begun.
    """
    pool = ThreadPoolExecutor(WORKERS, "nucleiseg-batch")
    try:
        futures = {
            pool.submit(_do, segmenter, job, formats, size or {}, report): job for job in jobs
        }
        for future in as_completed(futures):
            outcome = _outcome(futures[future].image, future)
            if report and outcome.failure:
                report.failure(str(outcome.image), outcome.failure)
            yield outcome
    finally:
        pool.shutdown(cancel_futures=True)


def _do(
    segmenter: Segmenter,
    job: Job,
    formats: Sequence[Format],
    size: Mapping[str, Any],
    report: Report | None,
) -> Outcome:
    image = images.read(job.image)
    if report:
        mask, labels, maps, scale = segmenter.segment_all(image, **size)
    else:
        mask, labels = segmenter.segment_both(image, **size)
    result = Result(image, mask, labels)
    job.stem.parent.mkdir(parents=True, exist_ok=True)
    for each in formats:
        each.save(job.stem, result)
    if report:
        report.entry(str(job.image), image, labels, maps, size.get("mpp"), scale)
    return Outcome(job.image, result.nuclei, result.mask.size)


def _outcome(image: Path, future: Future[Outcome]) -> Outcome:
    error = future.exception()
    if isinstance(error, Exception):
        return Outcome(image, failure=_reason(image, error))
    return future.result()


def _reason(image: Path, error: Exception) -> str:
    """One line, without the image's name, which stands before it already."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    return first_line.removeprefix(f"{image}: ")
