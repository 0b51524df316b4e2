"""The measurements of a slide's nuclei as CSV (RFC 4180, UTF-8), one line for each nucleus."""

from __future__ import annotations

import numpy as np

from nucleiseg.outputs import csvs
from nucleiseg.slides.nuclei import Nuclei
from nucleiseg.slides.outputs.columns import columns
from nucleiseg.slides.outputs.one_file import OneFile


class CsvTable(OneFile):
    """Writes ``nuclei.csv``. Values that are not known are empty fields."""

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
