"""What commands write to the terminal beside their results: reasons, numbers and progress."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.text import Text

from nucleiseg.names import printable

FAILED, CANNOT_START, INTERRUPTED = 1, 2, 130
"""Exit codes: some of the work failed, none of it began, it was interrupted."""


def say(message: str) -> None:
    """Write a sentence to stderr."""
    print(f"nucleiseg: {printable(message)}", file=sys.stderr)


@contextmanager
def cannot_start(prefix: str = "") -> Iterator[None]:
    """End the command with a sentence if the block raises what a user can mend."""
    try:
        yield
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        say(f"{prefix}{reason(error)}")
        raise typer.Exit(CANNOT_START) from None


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things in words."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def reason(error: Exception) -> str:
    """Return what an exception says, without the number of an operating system's error."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


class _Rate(ProgressColumn):
    """The recent rate in images a second."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:.3g} images/s")


def speak(verbose: bool, quiet: bool) -> None:
    """Let the package's logger write to stderr what a user wants to hear.

    Raises
    ------
    ValueError
        Both were asked for.
    """
    if verbose and quiet:
        raise ValueError("--verbose and --quiet: got both; accepted is one of them")
    logger = logging.getLogger("nucleiseg")
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("nucleiseg: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    if quiet:
        logger.setLevel(logging.ERROR)


@contextmanager
def progress(total: int, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Show a bar, a count, the rate and the time left on stderr while the block runs.

    Nothing is shown where stderr is no terminal, or quiet is wanted.

    Yields
    ------
    callable
        To be called for each of the ``total`` that is done.
    """
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    ) as shown:
        task = shown.add_task("", total=total)
        yield lambda: shown.advance(task)
