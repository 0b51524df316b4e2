"""Words of other people in a page: escaped, and with places to break."""

from __future__ import annotations

import re
from html import escape


def escaped(words: str) -> str:
    """Escape, for text and quoted attributes, what may hold bytes that are no UTF-8."""
    decoded = words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return escape(decoded, quote=True)


def file_name(name: str) -> str:
    """Write a file's name: it may break after ``_``, ``-`` and ``/``.

    It stands apart from the direction of writing around it.
    """
    return f"<bdi>{re.sub('(?<=[_/-])(?=.)', '<wbr>', escaped(name))}</bdi>"


def counted(count: int, one: str, many: str) -> str:
    """Write a number of things."""
    return f"{count:,} {one if count == 1 else many}"
