"""The measurements of a slide's nuclei as Parquet: the CSV file's columns, with their types."""

from __future__ import annotations

from typing import Any

from nucleiseg.outputs import extras, parquets
from nucleiseg.outputs.geoparquet import COMPRESSION
from nucleiseg.slides.nuclei import Nuclei
from nucleiseg.slides.outputs.columns import columns
from nucleiseg.slides.outputs.one_file import OneFile


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
        """Return a ``pyarrow.Table`` of one group."""
        found = columns(nuclei, self.info)
        return self._pyarrow.table({name: parquets.column(each) for name, each in found.items()})

    def _new_writer(self, schema: Any) -> Any:
        from pyarrow import parquet

        return parquet.ParquetWriter(self._file, schema, compression=COMPRESSION)
