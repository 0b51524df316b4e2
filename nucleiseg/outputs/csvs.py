"""Measurements as CSV (RFC 4180, UTF-8): a line for each nucleus, numbers in full precision."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from nucleiseg import images
from nucleiseg._native import cpu
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
    images.write(path, header(result.table) + rows(result.table))
    return path


def header(table: Table) -> bytes:
    """Return the first line: the names of the columns."""
    names = io.StringIO()
    csv.writer(names).writerow(table)
    return names.getvalue().encode()


def rows(table: Table) -> bytes:
    """Return the lines after the first, one for each row of the table."""
    if hasattr(cpu, "csv_rows"):
        return cpu.csv_rows(list(table.values()))
    lines = io.StringIO()
    csv.writer(lines).writerows(table.rows(unknown=""))
    return lines.getvalue().encode()
