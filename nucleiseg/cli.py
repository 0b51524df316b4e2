"""The command ``nucleiseg``.

Exit codes: 0 all is done, 1 some images failed, 2 the command could not start, 130 interrupted.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from nucleiseg import interrupts
from nucleiseg.benchmark import benchmark
from nucleiseg.command_options import Grouped, ModelOption
from nucleiseg.console import FAILED, cannot_start
from nucleiseg.model import DEFAULT
from nucleiseg.segment_command import EXAMPLES, Segment, segment
from nucleiseg.slides.command import EXAMPLES as SLIDE_EXAMPLES
from nucleiseg.slides.command import SlideCommand, slide
from nucleiseg.train_command import EXAMPLES as TRAIN_EXAMPLES
from nucleiseg.train_command import train

app = typer.Typer(
    help="Find cell nuclei in microscope images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


app.command(cls=Segment, epilog=EXAMPLES)(segment)


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

    with cannot_start(interrupted="engines that were named are built"):
        targets = _targets(ahead_of_time, compute_capability or [])
        loaded = Model.load(model)
        for target in targets:
            if target is None:
                built = tensorrt.Engine(loaded, folder=output).built
            else:
                built = tensorrt.build(
                    loaded, compute_capability=target, library="tensorrt_rtx", folder=output
                )
            print(built)


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
    """Show what this machine offers and what is missing for more speed."""
    from nucleiseg.doctor import examine, prove_gpu

    for line in examine():
        print(line)
    if gpu:
        with cannot_start():
            passed = prove_gpu(output, print)
        if not passed:
            raise typer.Exit(FAILED)


app.command()(benchmark)
app.command(cls=SlideCommand, epilog=SLIDE_EXAMPLES)(slide)
app.command(cls=Grouped, epilog=TRAIN_EXAMPLES)(train)


def _targets(ahead: bool, written: list[str]) -> list[tuple[int, int] | None]:
    """Return compute capabilities that were written; None is that of the GPU that is there."""
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
