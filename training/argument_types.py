"""Types of arguments that several command lines take; `argparse` prints what they refuse."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path


def existing_file(text: str) -> Path:
    """Return the path of a file that there is."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"no such file: {text}")
    return Path(text)


def existing_folder(text: str) -> Path:
    """Return the path of a folder that there is."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return Path(text)


def whole(least: int) -> Callable[[str], int]:
    """Return a type for whole numbers from ``least`` up."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            accepted = f"a whole number from {least} up"
            raise argparse.ArgumentTypeError(f"got {text!r}; accepted is {accepted}")
        return int(text)

    return read


def positive(text: str) -> float:
    """Return a number above 0."""
    value = finite(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"got {text!r}; accepted is a number above 0")
    return value


def weight(text: str) -> float:
    """Return a number from 0 up."""
    value = finite(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"got {text!r}; accepted is a number from 0 up")
    return value


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    value = finite(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; accepted is a number from 0 to 1")
    return value


def finite(text: str) -> float:
    """Return a finite number; NaN for any other text."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
