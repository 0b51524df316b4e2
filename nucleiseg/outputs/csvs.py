"""Measurements as CSV (RFC 4180, UTF-8): a line for each nucleus, numbers in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nucleiseg import images
from nucleiseg.outputs.result import Result, beside
from nucleiseg.outputs.table import Table

ENDINGS = ("_nuclei.csv",)


def save(stem: Path, result: Result) -> Path:
    """Write ``<stem>_nuclei.csv`` and return its path. What is not known is left empty.

    Raises
    ------
    OSError
        See `nucleiseg.images.write`.
    """
    path = beside(stem, ENDINGS[0])
    with images.writing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(result.table)
        writer.writerows(_known(result.table))
        text.detach()
    return path


def _known(table: Table) -> Iterator[tuple[Any, ...]]:
    for row in table.rows():
        yield tuple("" if value != value else value for value in row)
