"""Measurements as Parquet: the columns of the CSV file, with their types."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import extras
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "parquet", "Parquet tables"
ABOUT = "measurements of each nucleus"
MAPS = True
ENDING = "_nuclei.parquet"

NEEDS = "pyarrow"


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the table; ModuleNotFoundError without the package pyarrow."""
    pyarrow = extras.load(NEEDS)
    extras.load("pyarrow.parquet").write_table(pyarrow.table(dict(result.table)), file)


def column(values: NDArray[Any]) -> Any:
    """Return integers or floating-point numbers, (n,), as a ``pyarrow.Array``.

    ``pyarrow.array`` would import pandas where that is installed, which takes 50 MB.
    """
    assert values.dtype.kind in "iuf"
    arrow = extras.load(NEEDS)
    buffers = [None, arrow.py_buffer(np.ascontiguousarray(values))]
    return arrow.Array.from_buffers(arrow.from_numpy_dtype(values.dtype), len(values), buffers)
