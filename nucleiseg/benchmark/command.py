"""The command ``nucleiseg benchmark``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nucleiseg.model import DEFAULT, shipped
from nucleiseg.names import printable

if TYPE_CHECKING:
    from rich.console import Console

    from nucleiseg.benchmark.run import Run
    from nucleiseg.resizing import Scale

CANNOT_START, INTERRUPTED = 2, 130

ModelOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH",
        help=f"Shipped model ({', '.join(shipped())}), or the path of an .onnx file.",
    ),
]


def benchmark(
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES",
            help="Pictures to draw: pixels a side, or rows x columns, separated by commas.",
            show_default="512,1024,2048",
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            help="Images given to one Segmenter.map; 1 is one segment().",
            show_default="1,8",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|gpu,...", help="Where to run.")
    ] = "auto",
    threads: Annotated[
        str | None,
        typer.Option(metavar="N,...", help="Processor threads to use.", show_default="all"),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="stained|fluorescence", help="What to draw.", show_default="stained"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of images to take instead of drawing some."),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(metavar="auto|NUMBER", help="As of nucleiseg segment; auto measures nuclei."),
    ] = "1",
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Longest time for a row; it ends earlier once it is steady.",
            show_default="10",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A rough run of a few seconds: 512 pixels a side.")
    ] = False,
    model: ModelOption = DEFAULT,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the results there.")
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What --json wrote earlier, to compare with."),
    ] = None,
) -> None:
    """Measure how fast this machine is, beside its own ceilings.

    Every row is warmed up and repeated until its coefficient of variation is under 2.5 %, or says
    that it is not. Nothing else should run meanwhile.
    """
    from nucleiseg.benchmark import compare as comparing
    from nucleiseg.benchmark import tables
    from nucleiseg.benchmark.report import check_writable
    from nucleiseg.benchmark.run import Run, Settings

    with _cannot_start():
        if images is not None and (size or kind):
            raise ValueError("images: got a folder and --size or --kind; accepted is one of them")
        if json is not None:
            check_writable(json)
        earlier = None if compare is None else comparing.load(compare)
        settings = Settings.quick() if quick else Settings()
        given: dict[str, Any] = {
            "sizes": _sizes(size),
            "batches": _counts("batch", batch),
            "devices": tuple(name.strip() for name in device.split(",")),
            "threads": _counts("threads", threads),
            "kind": kind,
            "folder": images,
            "scale": _scale(scale),
            "seconds": seconds,
            "model": model,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        run = Run(replace(settings, **chosen))
    out = tables.console()
    with _cannot_start():
        is_whole = _carry_out(run, out)
    document = run.report.as_json()
    tables.show(document, out)
    if not is_whole:
        raise typer.Exit(INTERRUPTED)
    if earlier is not None:
        found = comparing.ratios(document, earlier)
        tables.show_ratios(found, comparing.differences(document, earlier), out)
    if json is not None:
        with _cannot_start("json: "):
            run.report.save(json)


def _carry_out(run: Run, out: Console) -> bool:
    """Do all steps, saying which on a terminal; False if the user stopped it before the end."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    console, steps = Console(stderr=True), run.steps()
    columns = (MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    hidden = not console.is_terminal
    try:
        out.print(run.report.title)
        with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
            task = progress.add_task("", total=len(steps))
            for words, step in steps:
                progress.update(task, description=words)
                step()
                progress.advance(task)
    except KeyboardInterrupt:
        _say(f"interrupted after {len(run.report.rows)} rows; no file was written")
        return False
    return True


@contextmanager
def _cannot_start(prefix: str = "") -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        _say(f"{prefix}{error}")
        raise typer.Exit(CANNOT_START) from None


def _say(message: str) -> None:
    print(f"nucleiseg: {printable(message)}", file=sys.stderr)


def _sizes(text: str | None) -> tuple[tuple[int, int], ...] | None:
    if text is None:
        return None
    found = [re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", one.strip()) for one in text.split(",")]
    if not all(found):
        raise ValueError(
            f"size: got {text!r}; accepted are pixels of a square's side (512) or rows x columns "
            "(520x696), separated by commas"
        )
    return tuple((int(one[1]), int(one[2] or one[1])) for one in found if one)


def _counts(name: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if not all(re.fullmatch(r"[1-9]\d*", one.strip()) for one in text.split(",")):
        raise ValueError(
            f"{name}: got {text!r}; accepted are whole numbers from 1 up, separated by commas"
        )
    return tuple(map(int, text.split(",")))


def _scale(text: str) -> Scale:
    try:
        return float(text)
    except ValueError:
        return text  # type: ignore[return-value]  # what is not "auto" is refused later
