"""The command ``nucleiseg slide``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nucleiseg import command_options as shared
from nucleiseg.console import FAILED, INTERRUPTED, bar, cannot_start, reason, say, speak
from nucleiseg.model import DEFAULT
from nucleiseg.names import printable

if TYPE_CHECKING:
    from nucleiseg.slides.run import Progress, Summary


EXAMPLES = shared.examples(
    "nucleiseg slide slide.svs --model nuclei",
    "nucleiseg slide *.svs -o out --save geojson,csv,report --resume",
    "nucleiseg slide slide.svs -o out --region 20000,10000,8192,8192 --exclude-border",
)


class SlideCommand(shared.Grouped):
    """The command, whose help lists the formats."""

    @staticmethod
    def formats() -> dict[str, str]:
        """Return what `nucleiseg.slides.outputs` has."""
        from nucleiseg.slides.outputs import OUTPUTS

        return {name: each.about for name, each in OUTPUTS.items()}


def slide(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="SLIDE",
            help="Slides of scanners (SVS, NDPI, MRXS, SCN, BIF, DICOM), OME-TIFF and other tiled "
            "TIFF, OME-Zarr folders, or images.",
        ),
    ],
    mpp: Annotated[
        float | None,
        shared.input_option(
            metavar="UM", help="Micrometres per pixel of the finest level, instead of the file's."
        ),
    ] = None,
    tissue: Annotated[
        str,
        shared.input_option(
            metavar="auto|none|FILE",
            help="Where to look: tissue that is found, everywhere, or what a picture of the slide "
            "(0 is no tissue) or GeoJSON with polygons says.",
        ),
    ] = "auto",
    region: Annotated[
        str | None,
        shared.input_option(
            metavar="X,Y,W,H", help="A rectangle of the finest level, outside of which not to look."
        ),
    ] = None,
    channel: Annotated[
        int | None,
        shared.input_option(
            metavar="INDEX", help="Channel with the nuclei, where there are several."
        ),
    ] = None,
    stain: shared.Stain = "auto",
    nucleus_threshold: shared.NucleusThreshold = None,
    separation: shared.Separation = None,
    min_area: shared.MinArea = None,
    min_diameter: shared.MinDiameter = None,
    max_diameter: shared.MaxDiameter = None,
    exclude_border: shared.ExcludeBorder = False,
    output: Annotated[
        Path,
        shared.output_option(
            "--output", "-o", metavar="DIR", help="Folder for the results, one folder a slide."
        ),
    ] = shared.FOLDER,
    save: Annotated[
        str,
        shared.output_option(
            metavar="FORMATS",
            help=f"What to save, separated by commas: {shared.FORMATS_HERE}.",
        ),
    ] = "zarr,geojson,csv",
    measurements: Annotated[
        str, shared.output_option(metavar="few|all|none", help="Of each nucleus, in GeoJSON.")
    ] = "few",
    compression: Annotated[
        str,
        shared.output_option(
            metavar="none|gz|zip", help="Of GeoJSON. QuPath opens it as it is and in a zip file."
        ),
    ] = "none",
    resume: Annotated[
        bool,
        shared.output_option(
            "--resume", help="Go on with a run of the same settings that was stopped or failed."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        shared.output_option(
            "--dry-run", help="Say what would be done, and what it would take, and stop there."
        ),
    ] = False,
    model: shared.ModelOption = DEFAULT,
    device: Annotated[
        str, shared.run_option(metavar="auto|cpu|cuda|gpu", help="Where to run.")
    ] = "auto",
    threads: shared.Threads = None,
    memory: Annotated[
        float, shared.run_option(metavar="GB", help="Memory that the run may take.")
    ] = 2.0,
    workers: Annotated[
        int | None,
        shared.run_option(
            metavar="N", help="Processes on this machine (package dask.distributed)."
        ),
    ] = None,
    scheduler: Annotated[
        str | None, shared.run_option(metavar="ADDRESS", help="Of a dask cluster: docs/cluster.md.")
    ] = None,
    verbose: shared.Verbose = False,
    quiet: shared.Quiet = False,
) -> None:
    """Find the nuclei of whole slides and save them as files.

    The results of SLIDE lie in DIR/NAME, with a manifest of what was done. The exit code is 1 when
    a slide or any region of it failed, 2 when the run could not start.
    """
    from nucleiseg import images
    from nucleiseg.model import Model
    from nucleiseg.parameters import Decoding

    images.hush()
    with cannot_start():
        from nucleiseg.slides import executors, forecast, outputs, run
        from nucleiseg.slides.plan import Options, plan, side_of

        speak(verbose, quiet)
        _check_names(paths)
        options = Options(
            model,
            device,
            threads,
            mpp,
            channel,
            tissue,
            _rectangle(region),
            memory * 1e9,
            stain=stain,
            decoding=Decoding(
                nucleus_threshold,
                separation,
                min_area,
                min_diameter,
                max_diameter,
                exclude_border,
            ),
        )
        side_of(options, Model.load(model))
        made = outputs.make(save, measurements, compression)
        where = executors.chosen(workers, scheduler)
    failed = 0
    with cannot_start(), where as executor:
        for path in paths:
            try:
                planned = plan(path, options)
                if dry_run:
                    for line in forecast.lines(planned, save):
                        print(printable(line))
                    continue
                segment = partial(
                    run.segment_planned, planned, output / path.stem, made, executor, resume
                )
                failed += not _segmented(segment, path, quiet)
            except (ValueError, OSError, RuntimeError) as error:
                say(reason(error))
                failed += 1
            except KeyboardInterrupt:
                say("interrupted; the same command with --resume goes on from here")
                raise typer.Exit(INTERRUPTED) from None
    if failed:
        raise typer.Exit(FAILED)


def _check_names(paths: Sequence[Path]) -> None:
    """Refuse slides whose results would lie in the same folder."""
    names = [path.stem for path in paths]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"SLIDE: got several of the name {min(twice)}; accepted is one each")


def _segmented(segment: Callable[[Progress], Summary], path: Path, quiet: bool) -> bool:
    """Segment one slide and say what came of it; return whether all of it was done."""
    with bar(quiet=quiet) as shown:
        task = shown.add_task("", total=None)
        summary = segment(lambda done, total: shown.update(task, completed=done, total=total))
    for line in summary.failures:
        say(f"{path}: {line}")
    if summary.doubt and not quiet:
        say(f"{path}: doubtful intensities: {summary.doubt}")
    if not quiet:
        print(printable(f"{path}: {_told(summary)}"))
    return not summary.failures


def _told(summary: Summary) -> str:
    found = f"{summary.nuclei:,} nuclei in {summary.folder}"
    if not summary.is_new:
        return f"{found}, done before"
    stages = {name: took for name, took in summary.seconds.items() if name != "wall"}
    total = sum(stages.values()) or 1.0
    shares = ", ".join(f"{name} {took / total:.0%}" for name, took in stages.items())
    wall = summary.seconds["wall"]
    failed = f"; {len(summary.failures)} regions failed" if summary.failures else ""
    return f"{found} in {wall:.1f} s ({shares}){failed}"


def _rectangle(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--region: got {text!r}; accepted is X,Y,W,H in whole pixels") from None
    return x, y, width, height
