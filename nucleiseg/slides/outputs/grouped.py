"""The part that outputs of nuclei share: groups of a fixed size, and names that come at the end."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.slides.nuclei import Nuclei, SlideInfo

GROUP = 16_384
"""Nuclei that are formatted and written at once: their polygons take about 5 MB."""


NO_NUCLEI = Nuclei(
    id=np.zeros(0, np.int64),
    area=np.zeros(0),
    centroid=np.zeros((0, 2)),
    diameter=np.zeros(0),
    confidence=np.zeros(0, np.float32),
    outline_offsets=np.zeros(1, np.int64),
    outline_points=np.zeros((0, 2), np.float32),
)


class GroupedOutput(ABC):
    """An output that receives its nuclei in groups of exactly `GROUP`, the last one being smaller.

    What it writes therefore does not depend on how nuclei are divided into calls of `add`.

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

    def __init__(self) -> None:
        self._pending: list[Nuclei] = []

    def begin(self, info: SlideInfo, folder: Path) -> None:
        """Open the file.

        Raises
        ------
        OSError
            The folder is missing or not writable.
        """
        self.info = info
        self._pending = []
        self._written = False
        self._path = folder / self.name
        self._part = folder / f".{self.name}.part"
        self._part.write_bytes(b"")
        self._open(self._part)

    def add(self, nuclei: Nuclei) -> None:
        """Take the next nuclei, whose ids follow those of the last call."""
        self._pending.append(nuclei)
        if sum(map(len, self._pending)) < GROUP:
            return
        together = concatenated(self._pending)
        whole = len(together) - len(together) % GROUP
        for first in range(0, whole, GROUP):
            self._write_group(part(together, first, first + GROUP))
        self._pending = [part(together, whole, len(together))]

    def add_labels(self, row: int, column: int, labels: NDArray[Any]) -> None:  # noqa: B027
        """Ignore labels: this is an output of nuclei."""

    def finish(self) -> None:
        """Write the last group and give the file its name."""
        rest = concatenated(self._pending) if self._pending else NO_NUCLEI
        if len(rest) or not self._written:
            self._write_group(rest)
        self._pending = []
        self._complete()
        self._close()
        self._part.replace(self._path)

    def discard(self) -> None:
        """Close and delete what was written, after a failure."""
        with contextlib.suppress(Exception):
            self._close()
        self._part.unlink(missing_ok=True)

    def _write_group(self, nuclei: Nuclei) -> None:
        self._write(nuclei)
        self._written = True

    @abstractmethod
    def _open(self, path: Path) -> None:
        """Open the file at its temporary name."""

    @abstractmethod
    def _write(self, nuclei: Nuclei) -> None:
        """Write one group. It is called at least once, with no nuclei where there are none."""

    def _complete(self) -> None:  # noqa: B027 (not every format needs it)
        """Write what comes after the last group."""

    def _close(self) -> None:  # noqa: B027
        """Close what `_open` opened, also after a failure."""


def concatenated(parts: Sequence[Nuclei]) -> Nuclei:
    """Return consecutive nuclei as one.

    Parameters
    ----------
    parts : sequence of Nuclei
        At least one, all with the same features.
    """
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(one.outline_offsets[-1] for one in parts)])
    offsets = [one.outline_offsets[1:] + start for one, start in zip(parts, starts, strict=False)]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(one, name) for one in parts])

    return Nuclei(
        id=joined("id"),
        area=joined("area"),
        centroid=joined("centroid"),
        diameter=joined("diameter"),
        confidence=joined("confidence"),
        outline_offsets=np.concatenate([np.zeros(1, np.int64), *offsets]),
        outline_points=joined("outline_points"),
        features={
            name: np.concatenate([one.features[name] for one in parts])
            for name in parts[0].features
        },
    )


def part(nuclei: Nuclei, first: int, last: int) -> Nuclei:
    """Return copies of nuclei ``first`` to ``last - 1``, which keep nothing else in memory."""
    rows = slice(first, last)
    offsets = nuclei.outline_offsets[first : last + 1]
    return Nuclei(
        id=nuclei.id[rows].copy(),
        area=nuclei.area[rows].copy(),
        centroid=nuclei.centroid[rows].copy(),
        diameter=nuclei.diameter[rows].copy(),
        confidence=nuclei.confidence[rows].copy(),
        outline_offsets=offsets - offsets[0],
        outline_points=nuclei.outline_points[offsets[0] : offsets[-1]].copy(),
        features={name: values[rows].copy() for name, values in nuclei.features.items()},
    )
