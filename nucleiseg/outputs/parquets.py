"""Measurements as Parquet: the columns of the CSV file, with their types."""

from __future__ import annotations

from pathlib import Path

from nucleiseg import images
from nucleiseg.outputs import extras
from nucleiseg.outputs.result import Result, beside

ENDINGS = ("_nuclei.parquet",)

NEEDS = "pyarrow"


def save(stem: Path, result: Result) -> Path:
    """Write ``<stem>_nuclei.parquet`` and return its path.

    Raises
    ------
    ModuleNotFoundError
        The package pyarrow is not installed.
    OSError
        See `nucleiseg.images.write`.
    """
    pyarrow = extras.load(NEEDS)
    from pyarrow import parquet

    path = beside(stem, ENDINGS[0])
    with images.writing(path) as file:
        parquet.write_table(pyarrow.table(dict(result.table)), file)
    return path
