"""The command ``nucleiseg segment``."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nucleiseg import command_options as shared
from nucleiseg.console import (
    FAILED,
    INTERRUPTED,
    Rate,
    bar,
    cannot_start,
    counted,
    number_or_text,
    say,
    speak,
)
from nucleiseg.model import DEFAULT
from nucleiseg.names import printable
from nucleiseg.summary import NUCLEUS, listed, summary, worth_a_look

if TYPE_CHECKING:
    from nucleiseg.batch import Job, Outcome, Plan
    from nucleiseg.journal import Journal
    from nucleiseg.model import Model
    from nucleiseg.outputs import Format
    from nucleiseg.report.collect import Report
    from nucleiseg.segmenter import Segmenter

EXAMPLES = shared.examples(
    "nucleiseg segment --example --save overlay,csv",
    "nucleiseg segment images/ 'more/*.tif' -o out --save mask,labels,overlay",
    "nucleiseg segment tissue/ -o out --model nuclei --mpp 0.25 --save geojson,csv --smooth",
    "nucleiseg segment plate/ -o out --separation 0.03 --min-diameter 8 --exclude-border",
    "nucleiseg segment plate/ -o out --report --resume",
)

GO_ON = "the same command with --resume goes on from here"


class Device(str, Enum):
    """Where to run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    gpu = "gpu"


class Segment(shared.Grouped):
    """The command, whose help lists the formats."""

    @staticmethod
    def formats() -> dict[str, str]:
        """Return what `nucleiseg.outputs` has."""
        from nucleiseg.outputs import FORMATS

        return {name: each.about for name, each in FORMATS.items()}


def segment(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Image files (PNG, JPEG, TIFF, OME-TIFF, SVS, BMP, WebP, .npy; ND2, CZI, LIF and "
            "DICOM with extras), Zarr folders, folders or quoted patterns. Results of earlier runs "
            "are left out.",
            show_default=False,
        ),
    ] = None,
    example: Annotated[
        bool,
        shared.input_option("--example", help="Segment the two images that come with the package."),
    ] = False,
    channel: Annotated[
        str | None,
        shared.input_option(
            metavar="NAME|INDEX",
            help="Channel with the nuclei, where there are several; numbers count from 0.",
        ),
    ] = None,
    z: Annotated[
        str | None,
        shared.input_option(
            "--z", metavar="INDEX|all", help="Plane of volumes, from 0, or all of them."
        ),
    ] = None,
    frame: Annotated[
        str | None,
        shared.input_option(metavar="INDEX|all", help="Frame of time series, from 0, or all."),
    ] = None,
    axes: Annotated[
        str | None,
        shared.input_option(
            metavar="LETTERS",
            help="Meaning of each axis of the files, where they do not give it: T frame, Z plane, "
            "C channel, Y row, X column, S colour. For example ZCYX.",
        ),
    ] = None,
    series: Annotated[
        str,
        shared.input_option(
            metavar="NAME|INDEX|all",
            help="Image of a file that holds several, such as a plate's field, a position or a "
            "scene; numbers count from 0.",
        ),
    ] = "all",
    stain: shared.Stain = "auto",
    scale: Annotated[
        str,
        shared.size_option(
            metavar="auto|NUMBER",
            help="How many times larger the nuclei are, in pixels, than the model was trained for; "
            "auto estimates it for each image.",
        ),
    ] = "auto",
    mpp: Annotated[
        str | None,
        shared.size_option(
            metavar="UM|file",
            help="Micrometres per pixel, instead of --scale; file takes it from each file.",
        ),
    ] = None,
    diameter: Annotated[
        float | None,
        shared.size_option(
            metavar="PIXELS", help="Usual diameter of a nucleus in pixels, instead of --scale."
        ),
    ] = None,
    nucleus_threshold: shared.NucleusThreshold = None,
    separation: shared.Separation = None,
    min_area: shared.MinArea = None,
    min_diameter: shared.MinDiameter = None,
    max_diameter: shared.MaxDiameter = None,
    exclude_border: shared.ExcludeBorder = False,
    output: Annotated[
        Path, shared.output_option("--output", "-o", metavar="DIR", help="Folder for the results.")
    ] = shared.FOLDER,
    save: Annotated[
        str,
        shared.output_option(
            metavar="FORMATS",
            help=f"What to save, separated by commas: {shared.FORMATS_HERE}. csv, parquet and coco "
            "are also written for all images together.",
        ),
    ] = "mask,labels",
    smooth: Annotated[
        bool,
        shared.output_option(
            "--smooth",
            help="Smooth the outlines of geojson, rois and coco, which then has polygons.",
        ),
    ] = False,
    with_report: Annotated[
        bool,
        shared.output_option(
            "--report", help="Write DIR/report.html, a page about the run (needs jinja2)."
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        shared.output_option(
            "--overwrite/--no-overwrite", help="Replace files in DIR that no run of nucleiseg made."
        ),
    ] = False,
    resume: Annotated[
        bool,
        shared.output_option(
            "--resume",
            help="Continue a run that was stopped: leave out images whose results, made with the "
            "same settings, are still there byte for byte.",
        ),
    ] = False,
    model: shared.ModelOption = DEFAULT,
    device: Annotated[Device, shared.run_option(help="Where to run.")] = Device.auto,
    threads: shared.Threads = None,
    jobs: Annotated[
        int | None,
        shared.run_option(
            metavar="N",
            help="Images to work on at once: one in the network, the others being read or "
            "written. More take more memory.",
            show_default="4",
        ),
    ] = None,
    verbose: shared.Verbose = False,
    quiet: shared.Quiet = False,
) -> None:
    """Find the nuclei of images and save them as files.

    The results are named after the images, and lie in the same subfolders below DIR; those of
    several planes of a file end in _z003, _t001 or both.
    Mpixel/s is the pixels of the images over the wall time from the first read to the last write.
    DIR/.nucleiseg records what was done; --resume reads it.
    """
    from nucleiseg import Segmenter, batch, images, stains
    from nucleiseg.journal import Journal
    from nucleiseg.parameters import Decoding
    from nucleiseg.readers.selection import selection
    from nucleiseg.segmenter import IN_FLIGHT

    images.hush()
    with cannot_start():
        speak(verbose, quiet)
        parameters = Decoding(
            nucleus_threshold=nucleus_threshold,
            separation=separation,
            min_area=min_area,
            min_diameter=min_diameter,
            max_diameter=max_diameter,
            exclude_border=exclude_border,
        ).given | ({"smooth": True} if smooth else {})
        stains.check(stain)
    formats, todo, notes = _found(_inputs(paths, example), output, save)
    with cannot_start():
        chosen = selection(channel, z, frame, axes, series)
        segmenter = Segmenter(model, device=device.value, threads=threads)
        options = _size(segmenter.model, scale, mpp, diameter) | {"stain": stain} | parameters
        journal = Journal(output, batch.settings(segmenter, options, chosen))
        report = _report(segmenter, output) if with_report else None
        plan = batch.Plan(formats, options, chosen, journal, resume, overwrite, report)
        plan.check_free([report.path] if report else [])
        plan.check_free(output / each.combined.name for each in formats if each.combined)
        running = batch.run(segmenter, todo, plan, IN_FLIGHT if jobs is None else jobs)
    for note in [] if quiet else notes:
        say(note)
    outcomes, seconds = _watched(running, len(todo), journal, verbose, quiet)
    places = {job.image: place for place, job in enumerate(todo)}
    outcomes.sort(key=lambda outcome: places[outcome.image])
    doubts, lines = _concluded(segmenter, plan, outcomes)
    if doubts and not quiet:
        say(worth_a_look(doubts, report))
    for line in lines:
        print(line, file=sys.stderr)
    if not quiet:
        print(printable(summary(outcomes, seconds, f"{listed(formats)} in {output}")))
    if left := len(todo) - len(outcomes):
        say(f"the disk is full, {counted(left, 'image')} not begun; {GO_ON}")
    if lines:
        raise typer.Exit(FAILED)


def _inputs(paths: list[str] | None, example: bool) -> list[str]:
    """Return the paths of what to segment."""
    from nucleiseg import data

    if bool(paths) == example:
        got = "both" if example else "neither"
        raise typer.BadParameter(
            f"got {got}; accepted is one of them", param_hint="PATH, --example"
        )
    return paths or [str(data.path(name)) for name in data.EXAMPLES]


def _found(
    paths: list[str], output: Path, save: str
) -> tuple[list[Format], list[Job], Sequence[str]]:
    """Return formats, jobs and notes for the user, all checked."""
    from nucleiseg import outputs, walk
    from nucleiseg.batch import Job

    with cannot_start("--save: "):
        formats = outputs.formats(save)
    with cannot_start():
        found = walk.find(paths)
    with cannot_start("--output: "):
        stems = outputs.stems(found.images, output, formats)
        outputs.prepare(output)
    jobs = [Job(image, stem) for image, stem in zip(found.images, stems, strict=True)]
    return formats, jobs, found.notes


def _size(model: Model, scale: str, mpp: str | None, diameter: float | None) -> dict[str, Any]:
    """Return the size of nuclei that was asked for, checked."""
    from nucleiseg import resizing
    from nucleiseg.batch import FROM_FILE

    size: dict[str, Any] = {
        "scale": number_or_text(scale),
        "mpp": mpp and number_or_text(mpp),
        "diameter": diameter,
    }
    # Any size will do to find out that more than one of them was given.
    known = {**size, "mpp": model.mpp} if mpp == FROM_FILE else size
    resizing.requested(**known, model=model)
    return size


def _watched(
    running: Generator[Outcome, None, None],
    total: int,
    journal: Journal,
    verbose: bool,
    quiet: bool,
) -> tuple[list[Outcome], float]:
    """Return the outcomes of a run and its seconds; its progress is shown meanwhile."""
    begin = time.perf_counter()
    outcomes: list[Outcome] = []
    try:
        with ExitStack() as stack:
            with cannot_start():
                stack.enter_context(journal.claimed())
            stack.enter_context(closing(running))
            shown = stack.enter_context(bar(Rate(), quiet=quiet))
            task = shown.add_task("", total=total)
            for outcome in running:
                outcomes.append(outcome)
                shown.advance(task)
                if verbose and not outcome.failure:
                    before = " (done before)" if outcome.before else ""
                    say(f"{outcome.image}: {counted(outcome.nuclei, *NUCLEUS)}{before}")
    except KeyboardInterrupt:
        say(f"interrupted after {len(outcomes):,} of {counted(total, 'image')}; {GO_ON}")
        raise typer.Exit(INTERRUPTED) from None
    return outcomes, time.perf_counter() - begin


def _concluded(
    segmenter: Segmenter, plan: Plan, outcomes: Sequence[Outcome]
) -> tuple[dict[str, str], list[str]]:
    """Write what is about all images; return the doubtful ones, and a line for each failure."""
    from nucleiseg import batch

    failures = {str(each.image): each.failure for each in outcomes if each.failure}
    doubts = {str(each.image): each.doubt for each in outcomes if each.doubt}
    lines = [printable(f"{name}: {reason}") for name, reason in failures.items()]
    with _noted(lines, plan.journal.output):
        batch.combine(plan, outcomes)
    if report := plan.report:
        for name, reason in failures.items():
            report.fail(name, reason)
        doubts = report.flagged()
        with _noted(lines, report.path):
            plan.journal.begin(report.path.with_suffix(""), [report.path.name])
            report.write(_settings(segmenter, plan))
    return doubts, lines


@contextmanager
def _noted(lines: list[str], path: Path) -> Iterator[None]:
    """Add a line if something cannot be written."""
    try:
        yield
    except OSError as error:
        lines.append(printable(f"{path}: {error.strerror or error}"))


def _report(segmenter: Segmenter, output: Path) -> Report:
    from nucleiseg.report.collect import Report

    return Report(segmenter.model, output / "report.html")


def _settings(segmenter: Segmenter, plan: Plan) -> dict[str, str]:
    """Return the settings of a run as the report shows them."""
    given = {name: str(value) for name, value in plan.options.items() if value is not None}
    if "mpp" in given or "diameter" in given:
        del given["scale"]  # "auto", which the other stands instead of
    return {
        **given,
        "device": f"{segmenter.backend_name}, {counted(segmenter.threads, 'thread')}",
        "saved": listed(plan.formats),
    }
