"""What commands write to the terminal besides their results: reasons, numbers and progress."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
def cannot_start(prefix: str = "", interrupted: str = "") -> Iterator[None]:
    """End the command with a sentence if the block raises what a user can mend.

    With words on what an interruption leaves, that ends it too.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not interrupted:
            raise
        say(f"interrupted; {interrupted}")
        raise typer.Exit(INTERRUPTED) from None
    except (ImportError, OSError, ValueError, RuntimeError, MemoryError) as error:
        say(f"{prefix}{reason(error)}")
        raise typer.Exit(CANNOT_START) from None


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things in words."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def reason(error: Exception) -> str:
    """Return the message of an exception, without the number of an operating system's error."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


class Rate(ProgressColumn):
    """The recent rate in images per second."""

    def render(self, task: Task) -> Text:
        """Return the rate of a task; nothing before there is one."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:.3g} images/s")


def speak(verbose: bool, quiet: bool) -> None:
    """Set which messages the package's logger writes to stderr.

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


def bar(*columns: ProgressColumn, quiet: bool = False) -> Progress:
    """Return a progress bar on stderr, to be entered: a bar, a count, the columns, the time left.

    Nothing is shown where stderr is no terminal, or ``quiet`` is wanted.
    """
    console = Console(stderr=True)
    return Progress(
        *(BarColumn(), MofNCompleteColumn(), *columns, TimeRemainingColumn()),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def number_or_text(text: str) -> Any:
    """Return the number that an option holds, or its text, such as "auto"."""
    try:
        return float(text)
    except ValueError:
        return text
