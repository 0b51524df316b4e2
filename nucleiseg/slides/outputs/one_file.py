"""The part that outputs of nuclei share: one file, which has its name when it is whole."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.slides.nuclei import Nuclei, SlideInfo

NO_NUCLEI = Nuclei(
    id=np.zeros(0, np.int64),
    area=np.zeros(0),
    centroid=np.zeros((0, 2)),
    diameter=np.zeros(0),
    confidence=np.zeros(0, np.float32),
    outline_offsets=np.zeros(1, np.int64),
    outline_points=np.zeros((0, 2), np.float32),
)


class OneFile(ABC):
    """An output that writes one file, each time that it is given nuclei or at the end.

    Attributes
    ----------
    name : str
        The file's name. Until `finish` it is written to ``.<name>.part``, which `begin` replaces
        if a killed run left it.
    info : SlideInfo
        Set by `begin`.
    """

    name: str
    info: SlideInfo

    def begin(self, info: SlideInfo, folder: Path) -> None:
        """Open the file.

        Raises
        ------
        OSError
            The folder is missing or not writable.
        """
        self.info = info
        self._written = False
        self._path, self._part = folder / self.name, folder / f".{self.name}.part"
        self._file = self._part.open("wb")
        self._open()

    def add(self, nuclei: Nuclei) -> None:
        """Take the next nuclei, whose ids follow those of the last call."""
        self._write(nuclei)
        self._written = True

    def add_labels(self, row: int, column: int, labels: NDArray[Any]) -> None:  # noqa: B027
        """Ignore labels: this is an output of nuclei."""

    def finish(self) -> None:
        """Complete the file and give it its name."""
        if not self._written:
            self.add(NO_NUCLEI)
        self._complete()
        self._close()
        self._part.replace(self._path)

    def discard(self) -> None:
        """Close and delete what was written, after a failure."""
        with contextlib.suppress(Exception):
            self._close()
        self._part.unlink(missing_ok=True)

    def _open(self) -> None:  # noqa: B027 (not every format needs it)
        """Prepare for the first nuclei."""

    @abstractmethod
    def _write(self, nuclei: Nuclei) -> None:
        """Write nuclei. It is called at least once, with no nuclei where there are none."""

    def _complete(self) -> None:  # noqa: B027
        """Write what comes after the last nuclei."""

    def _close(self) -> None:
        """Close what `begin` opened, also after a failure."""
        self._file.close()
