"""Names of files in messages and in order: they may hold line breaks and any bytes."""

from __future__ import annotations

import os
import re
from pathlib import PurePath


def printable(text: str) -> str:
    """Return a text in one line, with what cannot be printed escaped as Python does it."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def as_utf8(name: str) -> str:
    """Return a file's name as its bytes are in UTF-8, whatever the locale.

    Bytes that are not valid UTF-8 stay surrogates.
    """
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def natural(path: str | PurePath) -> list[list[tuple[int, str]]]:
    """Return the sort key of a path in natural order, in which ``a2`` comes before ``a10``."""
    return [
        [(int(digits or -1), text) for digits, text in re.findall(r"(\d+)|(\D+)", part)]
        for part in PurePath(path).parts
    ]
