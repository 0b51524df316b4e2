"""Arguments that several command lines take; `argparse` prints what they refuse."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path


def of_model_and_data(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of a model and of annotated folders, to which more can be added."""
    from nucleiseg.model import DEFAULT  # machines that only train lack the package

    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument(
        "model", nargs="?", default=DEFAULT, help="shipped model or ONNX file, default %(default)s"
    )
    parser.add_argument(
        "--data", type=existing_folder, nargs="+", required=True, help="annotated folders"
    )
    return parser


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
    return _accepted(text, finite(text) > 0, "above 0")


def weight(text: str) -> float:
    """Return a number from 0 up."""
    return _accepted(text, finite(text) >= 0, "from 0 up")


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    return _accepted(text, 0 <= finite(text) <= 1, "from 0 to 1")


def _accepted(text: str, is_within: bool, which: str) -> float:
    if not is_within:
        raise argparse.ArgumentTypeError(f"got {text!r}; accepted is a number {which}")
    return float(text)


def finite(text: str) -> float:
    """Return a finite number; NaN for any other text."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
