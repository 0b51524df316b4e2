"""The measurements of a slide's nuclei as CSV (RFC 4180, UTF-8), one line for each nucleus."""

from __future__ import annotations

from nucleiseg.outputs import csvs
from nucleiseg.outputs.table import Table
from nucleiseg.slides.nuclei import Nuclei
from nucleiseg.slides.outputs.columns import columns, decimal
from nucleiseg.slides.outputs.one_file import OneFile


class CsvTable(OneFile):
    """Writes ``nuclei.csv``. Values that are not known are empty fields."""

    about = "measurements of each nucleus"
    name = "nuclei.csv"

    def _write(self, nuclei: Nuclei) -> None:
        table = Table(
            {name: decimal(values) for name, values in columns(nuclei, self.info).items()}
        )
        if not self._written:
            self._file.write(csvs.header(table))
        self._file.write(csvs.rows(table))
