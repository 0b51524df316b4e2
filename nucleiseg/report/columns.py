"""The columns of the table of images, and the units of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg.report.entry import Entry


@dataclass(frozen=True)
class Units:
    """Units of the page: micrometres if every image's pixel size is known, else pixels.

    Attributes
    ----------
    physical : bool
    length : str
        Its name.
    """

    physical: bool

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Units:
        """Return the units that all images can be shown in."""
        return cls(bool(entries) and all(entry.mpp for entry in entries))

    @property
    def length(self) -> str:
        """The name of the unit of lengths."""
        return "µm" if self.physical else "pixels"

    def lengths(self, entry: Entry) -> NDArray[np.float32]:
        """Return the diameters of an image's whole nuclei, (n,) float32."""
        lengths: NDArray[np.float32] = entry.diameters * np.float32(self.length_of(1, entry))
        return lengths

    def length_of(self, pixels: float, entry: Entry) -> float:
        """Return a length that is so many pixels of an image."""
        return pixels * entry.mpp if self.physical and entry.mpp else pixels


def density(entries: Sequence[Entry], physical: bool) -> float | None:
    """Return the nuclei per mm² over images of known pixel size, or per megapixel over all.

    None where there are none.
    """
    chosen = [entry for entry in entries if entry.mpp or not physical]
    sizes = [(entry.mpp if physical and entry.mpp else 1.0) for entry in chosen]
    area = sum(
        entry.height * entry.width * size**2 / 1e6
        for entry, size in zip(chosen, sizes, strict=True)
    )
    return sum(entry.nuclei for entry in chosen) / area if area else None


class Column(NamedTuple):
    """A column of numbers, and what returns that of an image; None where there is none."""

    heading: str
    meaning: str
    value: Callable[[Entry], float | None]


def columns(entries: Sequence[Entry], units: Units) -> list[Column]:
    """Return the columns between the first, the name, and the last, the flags."""
    some_known = any(entry.mpp for entry in entries)
    per_mm2 = Column(
        "Per mm²",
        "Nuclei divided by the area of the image in square millimetres, where its pixel size is "
        "known.",
        lambda entry: density([entry], physical=True),
    )
    per_megapixel = Column(
        "Per megapixel",
        "Nuclei divided by the millions of pixels of the image.",
        lambda entry: density([entry], physical=False),
    )
    return [
        Column("Nuclei", "Nuclei found in the image.", lambda entry: entry.nuclei),
        *([per_mm2] if some_known else []),
        *([] if units.physical else [per_megapixel]),
        Column(
            "Covered, %",
            "Share of the image's area that is nucleus.",
            lambda entry: 100 * entry.covered,
        ),
        Column(
            f"Median diameter, {units.length}",
            "Diameter of a disc of the nucleus's area, median over nuclei that do not touch the "
            "border: a part of those may be missing.",
            lambda entry: _median(units.lengths(entry)),
        ),
        Column(
            "Median intensity",
            "Mean over the nucleus's pixels, and over red, green and blue, in the units of the "
            "file; median over nuclei.",
            lambda entry: _median(entry.intensities),
        ),
        Column(
            "Confidence",
            "Mean probability, 0 to 1, that the network gives to the pixels of nuclei.",
            lambda entry: entry.confidence,
        ),
        Column(
            "At the border, %",
            "Share of the nuclei that touch the border of the image.",
            lambda entry: 100 * entry.cut / entry.nuclei if entry.nuclei else None,
        ),
        Column(
            f"Edge blur, {units.length}",
            "Width of the edges of nuclei, as the standard deviation of a Gaussian, from the ratio "
            "of gradients after two smoothings (Zhuo and Sim 2011, "
            "doi:10.1016/j.patcog.2011.03.009), less the noise.",
            lambda entry: None if entry.blur is None else units.length_of(entry.blur, entry),
        ),
        Column(
            "Scale",
            "Factor by which the network saw the image shrunk: 2 is half its size.",
            lambda entry: entry.scale,
        ),
    ]


NAME = ("Image", "Name of the file.")
FLAGS = ("Flags", "Why the image is worth a second look; the reasons are under its picture.")
"""The first and the last column: heading and meaning."""


def together(arrays: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return arrays, of which there may be none, joined into one."""
    return np.concatenate([np.zeros(0, np.float32), *arrays])


def _median(values: NDArray[np.float32]) -> float | None:
    return float(np.median(values)) if values.size else None
