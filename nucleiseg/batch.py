"""Many image files: read, segment and save each of them, several at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from nucleiseg import images, journal, pool, walk
from nucleiseg.journal import Done, Journal
from nucleiseg.names import natural, printable
from nucleiseg.outputs import Format, beside, check_inputs_survive
from nucleiseg.outputs.combined import parts
from nucleiseg.readers import versions
from nucleiseg.readers.selection import Plane, Selection
from nucleiseg.report import flags
from nucleiseg.result import Result
from nucleiseg.segmenter import IN_FLIGHT, Segmenter

if TYPE_CHECKING:
    from nucleiseg.report.collect import Report

FROM_FILE = "file"
"""As ``mpp``: the pixel size that each image's own file gives."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Job:
    """An image file, and the stem of its outputs to which each format adds an ending."""

    image: Path
    stem: Path


@dataclass
class Outcome:
    """What became of one image, all its planes together.

    Attributes
    ----------
    image : Path
    nuclei, pixels : int
        0 if it failed. Pixels are those of this run: planes that an earlier one did are not
        segmented again.
    before : bool
        Whether an earlier run did all of its planes.
    failure : str
        The reason why it failed, empty if it did not.
    full : bool
        Whether there was no room left for its files.
    doubt : str
        Why it is worth a second look, empty where there is no reason.
    stems : list of Path
        Of the outputs of its planes; none if it failed.
    """

    image: Path
    nuclei: int = 0
    pixels: int = 0
    before: bool = True
    failure: str = ""
    full: bool = False
    doubt: str = ""
    stems: list[Path] = field(default_factory=list)

    def add(self, plane: Outcome) -> None:
        """Add a plane; the first failure and the first doubt are the image's."""
        self.nuclei += plane.nuclei
        self.pixels += plane.pixels
        self.before &= plane.before
        self.failure = self.failure or plane.failure
        self.full |= plane.full
        self.doubt = self.doubt or plane.doubt
        self.stems += plane.stems
        if self.failure:
            self.nuclei = self.pixels = 0
            self.stems = []


@dataclass(frozen=True)
class Plan:
    """What is done with every image.

    Attributes
    ----------
    formats : sequence of Format
        What to save of each plane.
    options : mapping
        What `Segmenter.analyze` is given by name for every image, or `FROM_FILE` as ``mpp``.
    selection : Selection
        What to take of stacks and channels. Each plane has outputs of its own, with its suffix
        behind the stem.
    journal : Journal
        Where to record what is done, of the folder in which the stems lie.
    resume : bool
        Whether to leave out what the journal says is done.
    overwrite : bool
        Whether to replace files that the journal does not name.
    report : Report, optional
        The page that shows every plane; what it keeps of one is in the journal.
    """

    formats: Sequence[Format]
    options: Mapping[str, Any]
    selection: Selection
    journal: Journal
    resume: bool = False
    overwrite: bool = False
    report: Report | None = None

    def check_free(self, paths: Iterable[Path]) -> None:
        """Raise FileExistsError if files would replace some of which the journal does not know."""
        for path in paths:
            if os.path.lexists(path) and path not in self.journal and not self.overwrite:
                raise FileExistsError(
                    f"{printable(str(path))} is there and no run made it; --overwrite replaces it"
                )


def run(
    segmenter: Segmenter, jobs: Sequence[Job], plan: Plan, at_once: int = IN_FLIGHT
) -> Generator[Outcome, None, None]:
    """Do all jobs. One that fails does not stop the others, unless the disk is full.

    Parameters
    ----------
    segmenter : Segmenter
    jobs : sequence of Job
        The stems must differ; missing folders are made.
    plan : Plan
    at_once : int
        Planes to work on at once, and to have in memory: one in the network, the others being
        read, decoded, measured or written beside it.

    Yields
    ------
    Outcome
        As images are done, in any order. When the caller stops early, or is interrupted, or the
        disk is full, the planes at hand are finished, and no other is begun.

    Raises
    ------
    ValueError
        At once, of the command's ``--jobs``: fewer than one at once.
    """
    if at_once < 1:
        raise ValueError(f"jobs: got {at_once}; accepted is 1 or more")
    return _Run(segmenter, jobs, plan, at_once).outcomes()


def settings(
    segmenter: Segmenter, options: Mapping[str, Any], selection: Selection
) -> dict[str, Any]:
    """Return the settings that outputs depend on besides the image, for the journal."""
    from nucleiseg import __version__

    return {
        "nucleiseg": __version__,
        "model": segmenter.model.identity,
        "description": journal.digest(segmenter.model.metadata),
        "arithmetic": segmenter.arithmetic,
        **{name: value for name, value in options.items() if value is not None},
        "channel": selection.channel,
        "axes": selection.axes,
        "decoders": versions(),
    }


class _Image:
    """An image at hand: what its planes have come to so far, and how many are being done."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.file = ExitStack()
        self.outcome = Outcome(job.image)
        self.running = 0
        self.is_read = self.is_whole = False
        self._source: str | None = None
        self._lock = Lock()

    def source(self) -> str:
        """Return the checksum of the file, computed before any of its pixels are read."""
        with self._lock:
            if self._source is None:
                self._source = journal.checksum(self.job.image)
            return self._source


_Task = tuple[_Image, Plane | Outcome]
"""A plane to be done, or, once there are no more, what came of finding them."""


class _Run:
    """One run; `outcomes` belongs to the calling thread, and `_do` to those of the pool."""

    def __init__(self, segmenter: Segmenter, jobs: Sequence[Job], plan: Plan, at_once: int) -> None:
        self.segmenter = segmenter
        self.jobs = jobs
        self.plan = plan
        self.at_once = at_once
        self.threads = max(1, segmenter.threads // max(1, min(at_once, len(jobs))))
        self.inputs = frozenset(os.path.realpath(job.image) for job in jobs)
        self.stems = {job.stem: job.image for job in jobs}
        self.stopping = Event()
        self.at_hand: list[_Image] = []

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Yield the outcome of each image once all of its planes are done."""
        done = pool.each(self._do, self._tasks(), self.at_once, in_order=False)
        try:
            with closing(done):
                for image, outcome in done:
                    image.running -= 1
                    image.outcome.add(outcome)
                    if image.is_read and not image.running:
                        self._close(image)
                        if image.is_whole or image.outcome.failure:
                            yield image.outcome
        finally:
            for image in [*self.at_hand]:
                self._close(image)

    def _close(self, image: _Image) -> None:
        """Close the file of an image, whose planes are read while it is open."""
        image.file.close()
        self.at_hand.remove(image)

    def _tasks(self) -> Iterator[_Task]:
        """Yield the planes of all images, and after those of each image its end."""
        for job in self.jobs:
            if self.stopping.is_set():
                return
            image = _Image(job)
            self.at_hand.append(image)
            end = Outcome(job.image)
            try:
                planes = image.file.enter_context(images.planes(job.image, self.plan.selection))
                for plane in planes:
                    if image.outcome.failure or self.stopping.is_set():
                        break
                    image.running += 1
                    yield image, plane
                else:
                    image.is_whole = True
            except Exception as error:
                end = _failed(job, error)
            image.running += 1
            image.is_read = True
            yield image, end

    def _do(self, task: _Task) -> tuple[_Image, Outcome]:
        image, plane = task
        if isinstance(plane, Outcome):
            return image, plane
        where = plane.suffix and f"{plane.suffix[1:]}: "
        try:
            outcome = self._plane(image, plane)
        except Exception as error:
            outcome = _failed(image.job, error, where)
            if outcome.full:
                self.stopping.set()
        if outcome.doubt:
            outcome.doubt = where + outcome.doubt
        return image, outcome

    def _plane(self, image: _Image, plane: Plane) -> Outcome:
        plan, job = self.plan, image.job
        stem = self._stem(job, plane.suffix)
        source = image.source()
        name = f"{job.image}{plane.suffix}"
        done = self._done_before(stem, source, name)
        if done:
            return Outcome(job.image, done.nuclei, doubt=done.doubt, stems=[stem])
        plan.check_free(beside(stem, each.ending) for each in plan.formats)
        options = _options(plan.options, plane)
        with_maps = bool(plan.report) or any(each.maps for each in plan.formats)
        result = self.segmenter.analyze(plane.load(), **options, maps=with_maps)
        result.mpp = result.mpp or plane.mpp
        result.name, result.plane, result.threads = job.image.name, plane.suffix, self.threads
        doubt = self._save(stem, result, source, name)
        return Outcome(
            job.image,
            len(result),
            result.mask.size,
            before=False,
            doubt=doubt,
            stems=[stem],
        )

    def _done_before(self, stem: Path, source: str, name: str) -> Done | None:
        plan = self.plan
        if not plan.resume:
            return None
        done = plan.journal.find(stem, source, plan.formats)
        if done and plan.report:
            files = list(dict.fromkeys(_made(done, stem, each) for each in plan.formats))
            try:
                plan.report.restore(name, plan.journal.entry(done), files)
            except ValueError:  # a damaged entry: the plane is done again
                return None
        return done

    def _save(self, stem: Path, result: Result, source: str, name: str) -> str:
        """Write all files of a plane, and record first their names and last that they are there.

        Returns
        -------
        str
            Why the result is worth a second look.
        """
        plan = self.plan
        paths = list(dict.fromkeys(each.path(stem, result) for each in plan.formats))
        plan.check_free(paths)
        stem.parent.mkdir(parents=True, exist_ok=True)
        plan.journal.begin(stem, [path.name for path in paths])
        for each in plan.formats:
            each.save(stem, result)
        entry = plan.report.describe(name, result, paths) if plan.report else None
        doubt = flags.reasons(result, self.segmenter.model)
        plan.journal.finish(stem, source, paths, len(result), doubt, entry)
        return doubt

    def _stem(self, job: Job, suffix: str) -> Path:
        """Return the stem of a plane, which must be neither another image's nor an image."""
        stem = beside(job.stem, suffix)
        other = self.stems.setdefault(stem, job.image)
        if other != job.image:
            theirs = printable(f"those of {other}: {stem}")
            raise ValueError(f"its outputs would have the names of {theirs}")
        check_inputs_survive([stem] if suffix else [], self.inputs, self.plan.formats)
        return stem


def _made(done: Done, stem: Path, each: Format) -> Path:
    """Return the file of a format that was made."""
    return next(beside(stem, end) for end in each.endings if stem.name + end in done.files)


def combine(plan: Plan, outcomes: Iterable[Outcome]) -> None:
    """Write the files that formats have for all images of a run, in the order of the outcomes.

    Raises
    ------
    OSError
        One cannot be written, or the file of an image cannot be read.
    """
    stems = [stem for outcome in outcomes for stem in sorted(outcome.stems, key=natural)]
    journal = plan.journal
    for each in plan.formats:
        if each.combined and stems:
            path = journal.output / each.combined.name
            journal.begin(path.with_suffix(""), [path.name])
            with images.writing(path) as file:
                each.combined.write(parts(stems, each.ending, journal.output), file)


def _options(options: Mapping[str, Any], plane: Plane) -> Mapping[str, Any]:
    if options.get("mpp") != FROM_FILE:
        return options
    if plane.mpp is None:
        raise ValueError("does not say its pixel size; give it with --mpp UM, or leave it out")
    return {**options, "mpp": plane.mpp}


def _failed(job: Job, error: Exception, where: str = "") -> Outcome:
    full = isinstance(error, OSError) and error.errno in _FULL
    return Outcome(job.image, failure=where + _reason(job.image, error), full=full)


def _reason(image: Path, error: Exception) -> str:
    """Return an error in one line, without the image's name, which stands before it already."""
    if isinstance(error, OSError) and error.strerror:
        named = error.filename and str(error.filename) != str(image)
        return f"{error.strerror}: {error.filename}" if named else error.strerror
    message = (str(error) or type(error).__name__).removeprefix(f"{image}: ")
    kind = walk.UNREAD.get(image.suffix.lower())
    advice = f"; {kind} are not read: {walk.EXPORT}" if kind else ""
    return message.splitlines()[0] + advice
