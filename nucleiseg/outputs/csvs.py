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
    images.write(path, _text(result.table))
    return path


def _text(table: Table) -> bytes:
    names = io.StringIO()
    writer = csv.writer(names)
    writer.writerow(table)
    if hasattr(cpu, "csv_rows"):
        return names.getvalue().encode() + cpu.csv_rows(list(table.values()))
    writer.writerows(table.rows(unknown=""))
    return names.getvalue().encode()
