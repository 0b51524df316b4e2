"""The command ``nucleiseg``.

Exit codes: 0 all is done, 1 some images failed, 2 the command could not start, 130 interrupted.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nucleiseg import interrupts
from nucleiseg.benchmark import ModelOption, benchmark
from nucleiseg.model import DEFAULT
from nucleiseg.names import printable
from nucleiseg.slides.command import slide

if TYPE_CHECKING:
    from nucleiseg.batch import Job, Outcome
    from nucleiseg.model import Model
    from nucleiseg.outputs import Format
    from nucleiseg.outputs.report import Report
    from nucleiseg.segmenter import Segmenter

FAILED, CANNOT_START, INTERRUPTED = 1, 2, interrupts.EXIT_CODE

GO_ON = "the same command with --resume goes on from here"

app = typer.Typer(
    help="Find cell nuclei in microscope images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Device(str, Enum):
    """Where to run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    gpu = "gpu"


def main() -> None:
    """Run the command line."""
    # Names of files may hold what the terminal cannot show: it is escaped, as it is on stderr.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with interrupts.handled():
        app(prog_name="nucleiseg")


def _print_version(wanted: bool) -> None:
    if wanted:
        from nucleiseg import __version__

        print(f"nucleiseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


@app.command()
def segment(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Image files (PNG, JPEG, TIFF, OME-TIFF, SVS, BMP, WebP, .npy), Zarr folders, "
            "folders or quoted patterns. Results of earlier runs are left out.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.")
    ],
    save: Annotated[
        str,
        typer.Option(
            metavar="FORMATS",
            help="What to save, separated by commas: mask (8-bit PNG, 0 and 255), "
            "labels (16-bit PNG, one number a nucleus; 32-bit TIFF beyond 65,535), "
            "overlay (RGB PNG with outlines), tiff (labels with the pixel size), "
            "geojson (outlines for QuPath), rois (zip for ImageJ), coco (JSON), "
            "csv and parquet (measurements of each nucleus).",
        ),
    ] = "mask,labels",
    scale: Annotated[
        str,
        typer.Option(
            metavar="auto|NUMBER",
            help="How many times larger the nuclei are, in pixels, than the model is best at; "
            "auto measures them in each image.",
        ),
    ] = "auto",
    mpp: Annotated[
        str | None,
        typer.Option(
            metavar="UM|file",
            help="Micrometres a pixel, instead of --scale; file takes what each file says.",
        ),
    ] = None,
    diameter: Annotated[
        float | None,
        typer.Option(
            metavar="PIXELS", help="Diameter of a usual nucleus in pixels, instead of --scale."
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|INDEX",
            help="Channel with the nuclei, where there are several; digits are its number, from 0.",
        ),
    ] = None,
    z: Annotated[
        str | None,
        typer.Option(
            "--z", metavar="INDEX|all", help="Plane of volumes, from 0, or all, one by one."
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(metavar="INDEX|all", help="Frame of time series, from 0, or all."),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            metavar="LETTERS",
            help="What each axis of the files is, where they do not say it: T frame, Z plane, "
            "C channel, Y row, X column, S colour. For example ZCYX.",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.auto,
    threads: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processor threads to use.", show_default="all"),
    ] = None,
    model: ModelOption = DEFAULT,
    with_report: Annotated[
        bool, typer.Option("--report", help="Write DIR/report.html, a page about the run.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a run that was stopped: leave out what was done with the same "
            "settings and is still there, byte for byte.",
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Images to work on at once, one in the network and the others being read or "
            "written; more take more memory.",
            show_default="4",
        ),
    ] = None,
) -> None:
    """Find the nuclei of images and save them as files.

    The results are named after the images, and lie in the same sub-folders below DIR; those of
    several planes of a file end in _z003, _t001 or both.
    Mpixel/s counts the pixels of the images against the wall time from the first read to the last
    write. What was done is noted in DIR/.nucleiseg, which --resume looks up.
    """
    from nucleiseg import Segmenter, batch, images
    from nucleiseg.records import Records

    images.hush()
    at_once = batch.AT_ONCE if jobs is None else jobs
    formats, todo = _plan(paths, output, save)
    with _cannot_start():
        batch.check_at_once(at_once)
        selection = images.selection(channel, z, frame, axes)
        segmenter = Segmenter(model, device=device.value, threads=threads)
        size = _size(segmenter.model, scale, mpp, diameter)
    begin = time.perf_counter()
    report = _report(segmenter) if with_report else None
    records = Records(output, batch.settings(segmenter, size, selection), resume)
    running = batch.run(segmenter, todo, formats, size, selection, report, records, at_once)
    outcomes = _watched(running, len(todo), output)
    seconds = time.perf_counter() - begin
    for line in _lines(todo, {each.image: each.doubt for each in outcomes if each.doubt}):
        _say(f"doubtful intensities in {line}")
    failures = _lines(todo, {each.image: each.failure for each in outcomes if each.failure})
    if report:
        failures += _write(report, output / "report.html", segmenter, formats, size)
    for line in failures:
        print(line, file=sys.stderr)
    print(printable(_summary(outcomes, seconds, f"{_listed(formats)} in {output}")))
    if len(outcomes) < len(todo):
        left = _counted(len(todo) - len(outcomes), "image")
        _say(f"the disk is full, {left} not begun; {GO_ON}")
    if failures:
        raise typer.Exit(FAILED)


@app.command()
def build(
    ahead_of_time: Annotated[
        bool,
        typer.Option(
            "--ahead-of-time",
            help="Build with TensorRT for RTX, for all GPUs of compute capability 8.0 and later "
            "that it knows; this machine needs none.",
        ),
    ] = False,
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X.Y", help="Of a GPU to build for ahead of time: 7.5 needs a file of its own."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the engines.",
            show_default="the user's folder for engines",
        ),
    ] = None,
    model: ModelOption = DEFAULT,
) -> None:
    """Build the TensorRT engine for a GPU, so that the first image need not wait for it.

    An engine that is there already, of the same model, library and settings, is not built again.
    The machine that has the GPU finds engines built ahead of time in ~/.cache/nucleiseg/engines.
    """
    from nucleiseg import tensorrt
    from nucleiseg.model import Model

    try:
        with _cannot_start():
            targets = _targets(ahead_of_time, compute_capability or [])
            loaded = Model.load(model)
            for target in targets:
                if target is None:
                    print(tensorrt.Engine(loaded, folder=output).built)
                else:
                    print(
                        tensorrt.build(
                            loaded, compute_capability=target, library="tensorrt_rtx", folder=output
                        )
                    )
    except KeyboardInterrupt:
        _say("interrupted; engines that were named are built")
        raise typer.Exit(INTERRUPTED) from None


@app.command()
def doctor(
    gpu: Annotated[
        bool,
        typer.Option(
            "--gpu",
            help="Compare every engine on the GPU with the CPU, and time each step; takes minutes "
            "where TensorRT builds its engine.",
        ),
    ] = False,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="What --gpu found, as JSON to send back."
        ),
    ] = Path("nucleiseg-gpu.json"),
) -> None:
    """Say what this machine offers and what is missing for more speed."""
    from nucleiseg.doctor import examine, prove_gpu

    for line in examine():
        print(line)
    if gpu:
        with _cannot_start():
            passed = prove_gpu(output, print)
        if not passed:
            raise typer.Exit(FAILED)


app.command()(benchmark)
app.command()(slide)


@contextmanager
def _cannot_start(prefix: str = "") -> Iterator[None]:
    try:
        yield
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        _say(f"{prefix}{_reason(error)}")
        raise typer.Exit(CANNOT_START) from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _targets(ahead: bool, written: list[str]) -> list[tuple[int, int] | None]:
    """Read compute capabilities; None is that of the GPU that is there."""
    from nucleiseg.tensorrt_cache import PORTABLE

    if written and not ahead:
        raise ValueError(
            "--compute-capability: accepted is with --ahead-of-time; "
            "leave both out to build for the GPU of this machine"
        )
    targets: list[tuple[int, int] | None] = []
    for words in written:
        major, dot, minor = words.partition(".")
        if not (dot and major.isdecimal() and minor.isdecimal()):
            raise ValueError(
                f"--compute-capability: got {words!r}; accepted are numbers such as 8.6"
            )
        targets.append((int(major), int(minor)))
    return targets or [PORTABLE if ahead else None]


def _plan(paths: list[str], output: Path, save: str) -> tuple[list[Format], list[Job]]:
    """Find out all that can be wrong before the work begins."""
    from nucleiseg import outputs, walk
    from nucleiseg.batch import Job

    with _cannot_start("--save: "):
        formats = outputs.formats(save)
    with _cannot_start():
        found = walk.find(paths)
    with _cannot_start("--output: "):
        stems = outputs.stems(found.images, output, formats)
        outputs.prepare(output)
    for note in found.notes:
        _say(note)
    return formats, [Job(image, stem) for image, stem in zip(found.images, stems, strict=True)]


def _size(
    model: Model, scale: str, mpp: str | None, diameter: float | None
) -> dict[str, str | float | None]:
    """Check what the user said about the size of nuclei."""
    from nucleiseg import resizing
    from nucleiseg.batch import FROM_FILE

    size = {"scale": _number(scale), "mpp": _number(mpp), "diameter": diameter}
    # Any size will do to find out that more than one of them was given.
    known = {**size, "mpp": model.mpp} if mpp == FROM_FILE else size
    resizing.requested(**known, model=model)  # type: ignore[arg-type]
    return size


def _number(text: str | None) -> str | float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return text


def _watched(running: Generator[Outcome, None, None], total: int, output: Path) -> list[Outcome]:
    """Show the progress of a run; give all that came of it."""
    from nucleiseg import progress, records

    outcomes: list[Outcome] = []
    try:
        with records.claimed(output), closing(running), progress.shown(total) as advance:
            for outcome in running:
                outcomes.append(outcome)
                advance()
    except KeyboardInterrupt:
        _say(f"interrupted after {len(outcomes):,} of {_counted(total, 'image')}; {GO_ON}")
        raise typer.Exit(INTERRUPTED) from None
    return outcomes


def _report(segmenter: Segmenter) -> Report:
    from nucleiseg.outputs.report import Report

    return Report(segmenter.model)


def _write(
    report: Report,
    path: Path,
    segmenter: Segmenter,
    formats: Sequence[Format],
    size: dict[str, str | float | None],
) -> list[str]:
    """Write the report; what went wrong, if anything, in a line."""
    given = {name: str(value) for name, value in size.items() if value is not None}
    if len(given) > 1:
        del given["scale"]  # "auto", which the other stands instead of
    settings = {
        **given,
        "device": f"{segmenter.backend_name}, {_counted(segmenter.threads, 'thread')}",
        "saved": _listed(formats),
    }
    try:
        report.write(path, settings)
    except OSError as error:
        return [f"{path}: {error.strerror or error}"]
    return []


def _say(message: str) -> None:
    print(f"nucleiseg: {printable(message)}", file=sys.stderr)


def _lines(jobs: Sequence[Job], reasons: Mapping[Path, str]) -> list[str]:
    """Return a line for each image that there is a reason to name, in the order of the jobs."""
    lines = (f"{job.image}: {reasons[job.image]}" for job in jobs if job.image in reasons)
    return [printable(line) for line in lines]


def _summary(outcomes: Sequence[Outcome], seconds: float, saved: str) -> str:
    done = [outcome for outcome in outcomes if not outcome.failure]
    if not done:
        return f"{_counted(len(outcomes), 'image')} failed"
    before = sum(outcome.before for outcome in done)
    nuclei = sum(outcome.nuclei for outcome in done)
    pixels = sum(outcome.pixels for outcome in done)
    speed = f", {pixels / 1e6 / seconds:.1f} Mpixel/s" if pixels or not before else ""
    notes = [f"{before:,} done before"] if before else []
    notes += [f"{len(outcomes) - len(done):,} failed"] if len(done) < len(outcomes) else []
    images = _counted(len(done), "image") + (f" ({', '.join(notes)})" if notes else "")
    return f"{images}, {_counted(nuclei, 'nucleus', 'nuclei')}{speed}, {saved}"


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _listed(formats: Sequence[Format]) -> str:
    *first, last = [each.plural for each in formats]
    return f"{', '.join(first)} and {last}" if first else last
