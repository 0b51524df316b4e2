"""Pixels or micrometres: the units of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.report.collect import Entry


@dataclass(frozen=True)
class Units:
    """Units that all images of a page share: physical ones if every image's pixel size is known.

    Attributes
    ----------
    physical : bool
    length, area : str
        Their names: pixels and megapixels, or micrometres and square millimetres.
    """

    physical: bool
    length: str
    area: str

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Units:
        """Choose."""
        if entries and all(entry.mpp for entry in entries):
            return cls(True, "µm", "mm²")
        return cls(False, "pixels", "megapixel")

    def lengths(self, entry: Entry) -> NDArray[np.float32]:
        """Give the diameters of an image's whole nuclei, (n,) float32."""
        lengths: NDArray[np.float32] = entry.diameters * np.float32(self._a_pixel(entry))
        return lengths

    def length_of(self, pixels: float, entry: Entry) -> float:
        """Convert a length in pixels of an image."""
        return pixels * self._a_pixel(entry)

    def density(self, *entries: Entry) -> float | None:
        """Give the nuclei in a unit of area, over some images; None over none."""
        area = sum(
            entry.height * entry.width * self._a_pixel(entry) ** 2 / 1e6 for entry in entries
        )
        return sum(entry.nuclei for entry in entries) / area if area else None

    def _a_pixel(self, entry: Entry) -> float:
        return entry.mpp if self.physical and entry.mpp else 1.0


def together(arrays: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join arrays, of which there may be none."""
    return np.concatenate([np.zeros(0, np.float32), *arrays])
