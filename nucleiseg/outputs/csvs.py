"""Measurements as CSV (RFC 4180, UTF-8): a line for each nucleus, numbers in full precision."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from nucleiseg import images
from nucleiseg.outputs.result import Result, beside

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
        writer.writerows(result.table.rows(unknown=""))
        text.detach()
    return path
