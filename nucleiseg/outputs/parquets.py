"""Measurements as Parquet: the columns of the CSV file, with their types."""

from __future__ import annotations

from typing import BinaryIO

from nucleiseg.outputs import extras
from nucleiseg.outputs.segmented import Segmented

ENDING = "_nuclei.parquet"

NEEDS = "pyarrow"


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the table; ModuleNotFoundError without the package pyarrow."""
    pyarrow = extras.load(NEEDS)
    extras.load("pyarrow.parquet").write_table(pyarrow.table(dict(result.table)), file)
