"""The measurements of a slide's nuclei as CSV and as Parquet: the same columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from nucleiseg.outputs import csvs, extras, parquets
from nucleiseg.outputs.geoparquet import COMPRESSION
from nucleiseg.outputs.table import LENGTHS, Table
from nucleiseg.slides.nuclei import Nuclei, SlideInfo
from nucleiseg.slides.outputs.one_file import OneFile


def columns(nuclei: Nuclei, info: SlideInfo) -> Table:
    """Return the measurements of nuclei, in pixels of level 0 and in micrometres.

    Returns
    -------
    Table
        ``label``, ``centroid_x``, ``centroid_y``, ``area``, ``diameter``, those again in units that
        end in ``_um`` and ``_um2``, ``confidence``, and then the features; a length among these
        has a twin in micrometres. x and y are from the upper left corner of the slide.
    """
    x, y = nuclei.centroid[:, 1], nuclei.centroid[:, 0]
    mpp_x, mpp_y = info.mpp
    mpp = info.mean_mpp
    table = Table(
        label=nuclei.id,
        centroid_x=x,
        centroid_x_um=x * mpp_x,
        centroid_y=y,
        centroid_y_um=y * mpp_y,
        area=nuclei.area,
        area_um2=nuclei.area * (mpp_x * mpp_y),
        diameter=nuclei.diameter,
        diameter_um=nuclei.diameter * mpp,
        confidence=nuclei.confidence,
    )
    for name, values in nuclei.features.items():
        table[name] = values
        if name in LENGTHS:
            table[f"{name}_um"] = values * mpp
    return table


class CsvTable(OneFile):
    """Writes ``nuclei.csv`` (RFC 4180, UTF-8). Values that are not known are empty fields."""

    about = "measurements of each nucleus"
    name = "nuclei.csv"

    def _write(self, nuclei: Nuclei) -> None:
        table = columns(nuclei, self.info)
        for name, values in table.items():
            if values.dtype == np.float32:
                # Six decimals: in full, 0.9 in float32 would be 0.8999999761581421.
                table[name] = values.astype(np.float64).round(6)
        if not self._written:
            self._file.write(csvs.header(table))
        self._file.write(csvs.rows(table))


class ParquetTable(OneFile):
    """Writes ``nuclei.parquet``, one row group each time that it is given nuclei.

    Raises
    ------
    ModuleNotFoundError
        When constructed: the package pyarrow is not installed.
    """

    about = "measurements of each nucleus"
    name = "nuclei.parquet"

    def __init__(self) -> None:
        self._pyarrow = extras.load("pyarrow")

    def _open(self) -> None:
        self._writer: Any = None

    def _write(self, nuclei: Nuclei) -> None:
        table = self._table(nuclei)
        if self._writer is None:
            self._writer = self._new_writer(table.schema)
        self._writer.write_table(table, row_group_size=max(1, len(table)))

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        super()._close()

    def _table(self, nuclei: Nuclei) -> Any:
        """Return a ``pyarrow.Table`` of some nuclei."""
        found = columns(nuclei, self.info)
        return self._pyarrow.table({name: parquets.column(each) for name, each in found.items()})

    def _new_writer(self, schema: Any) -> Any:
        from pyarrow import parquet

        return parquet.ParquetWriter(self._file, schema, compression=COMPRESSION)
