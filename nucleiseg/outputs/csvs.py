"""Measurements as CSV (RFC 4180, UTF-8): a line for each nucleus, numbers in full precision."""

from __future__ import annotations

import csv
import io
from typing import BinaryIO

from nucleiseg._native import cpu
from nucleiseg.outputs.segmented import Segmented
from nucleiseg.outputs.table import Table

NAME, PLURAL = "csv", "CSV tables"
ABOUT = "measurements of each nucleus"
MAPS = True
ENDING = "_nuclei.csv"


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the table. What is not known is left empty."""
    file.write(header(result.table) + rows(result.table))


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
