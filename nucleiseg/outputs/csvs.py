"""Measurements as CSV (RFC 4180, UTF-8): a line for each nucleus, numbers in full precision."""

from __future__ import annotations

import csv
import io
from typing import BinaryIO

from nucleiseg._native import cpu
from nucleiseg.outputs.segmented import Segmented

ENDING = "_nuclei.csv"


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the table. What is not known is left empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(result.table)
    if hasattr(cpu, "csv_rows"):
        file.write(text.getvalue().encode() + cpu.csv_rows(list(result.table.values())))
        return
    writer.writerows(result.table.rows(unknown=""))
    file.write(text.getvalue().encode())
