"""The gallery: a picture of each image with its outlines, counts and distributions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nucleiseg.outputs.report.charts import Limits, histogram, limits, number, sparkline
from nucleiseg.outputs.report.collect import Entry
from nucleiseg.outputs.report.text import counted, escaped, file_name
from nucleiseg.outputs.report.units import Units, together


class Charts:
    """The distributions: over all images, and of each on the same axes.

    Attributes
    ----------
    large : str
        Those over all images, as HTML.
    """

    def __init__(self, entries: Sequence[Entry], units: Units) -> None:
        diameters = together(units.lengths(entry) for entry in entries)
        self._units = units
        self._diameters = limits(diameters, from_zero=True)
        self._title = f"Diameter of whole nuclei, {units.length}"
        self._intensities: dict[str, Limits] = {}
        self.large = histogram(diameters, self._diameters, self._title, "diameters")
        for dtype in sorted({entry.dtype for entry in entries}):
            values = together(entry.intensities for entry in entries if entry.dtype == dtype)
            self._intensities[dtype] = limits(values, from_zero=False)
            title = f"Mean intensity of nuclei, {dtype}"
            self.large += histogram(
                values, self._intensities[dtype], title, f"intensities-{escape(dtype)}"
            )

    def small(self, entry: Entry) -> str:
        """Draw those of one image."""
        pairs = (
            ("Diameter", self._units.lengths(entry), self._diameters),
            ("Intensity", entry.intensities, self._intensities[entry.dtype]),
        )
        return "".join(
            f"<dt>{name}</dt><dd>{sparkline(values, axis, name)}</dd>"
            for name, values, axis in pairs
        )


def card(i: int, entry: Entry, name: str, units: Units, charts: Charts) -> str:
    """Write the i-th picture and what belongs to it."""
    height, width = entry.size
    size = f'width="{width}" height="{height}" decoding="async"'
    density = f"{number(units.density(entry) or 0)} / {units.area}"
    facts = f"{counted(entry.nuclei, 'nucleus', 'nuclei')}, {density}"
    return (
        f'<figure class="card{" flagged" if entry.flags else ""}" id="image-{i}" tabindex="-1">'
        f'<button type="button" class="picture" aria-pressed="true" '
        f'aria-label="Outlines of {escaped(name)}">'
        f'<img src="{entry.thumbnail}" alt="" {size}>'
        f'<img class="outlines" src="{entry.outlines}" alt="" {size}></button>'
        f"<figcaption><h3>{file_name(name)}</h3><p>{facts}</p>{_folded(entry)}"
        f'<dl class="sparks">{charts.small(entry)}</dl></figcaption></figure>\n'
    )


def _folded(entry: Entry) -> str:
    """Write the flags so that a click tells the reason; pictures stay close together."""
    return "".join(
        f'<details><summary class="flag">{flag.name}</summary>{escape(flag.reason)}</details>'
        for flag in entry.flags
    )
