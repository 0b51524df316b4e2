"""Names of files in messages: they may hold line breaks, control characters and any bytes."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text in one line, with what cannot be printed escaped as Python does it."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
