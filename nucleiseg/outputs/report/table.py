"""The table of images: one row each, sortable by every column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.report.charts import number
from nucleiseg.outputs.report.collect import Entry
from nucleiseg.outputs.report.text import file_name
from nucleiseg.outputs.report.units import Units


@dataclass(frozen=True)
class Column:
    """A column of numbers: its heading, and what it says of an image (None: nothing)."""

    heading: str
    value: Callable[[Entry], float | None]


def columns(units: Units) -> list[Column]:
    """Give the columns beside the first, the name, and the last, the flags."""
    return [
        Column("Nuclei", lambda entry: entry.nuclei),
        Column(f"Per {units.area}", units.density),
        Column("Covered, %", lambda entry: 100 * entry.covered),
        Column(f"Median diameter, {units.length}", lambda entry: _median(units.lengths(entry))),
        Column("Median intensity", lambda entry: _median(entry.intensities)),
        Column("Confidence", lambda entry: entry.confidence),
        Column("At the border, %", _cut),
        Column(f"Edge blur, {units.length}", lambda entry: _blur(entry, units)),
        Column("Scale", lambda entry: entry.scale),
    ]


def table(entries: Sequence[Entry], names: Sequence[str], units: Units) -> str:
    """Write the table's head and body.

    Parameters
    ----------
    entries : sequence of Entry
    names : sequence of str
        Their names.
    units : Units
    """
    chosen = columns(units)
    headings = ["Image", *(column.heading for column in chosen), "Flags"]
    head = "".join(
        f'<th scope="col" aria-sort="{"none" if i else "ascending"}">'
        f'<button type="button">{heading}</button></th>'
        for i, heading in enumerate(headings)
    )
    body = "".join(
        _row(i, entry, name, chosen)
        for i, (entry, name) in enumerate(zip(entries, names, strict=True))
    )
    return f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"


def _row(i: int, entry: Entry, name: str, chosen: Sequence[Column]) -> str:
    cells = "".join(_cell(column.value(entry)) for column in chosen)
    flags = ", ".join(flag.name for flag in entry.flags)
    return (
        f'<tr data-image="image-{i}"><th scope="row" data-value="{i}">'
        f'<a href="#image-{i}">{file_name(name)}</a></th>{cells}'
        f'<td class="words" data-value="{len(entry.flags)}">{flags}</td></tr>\n'
    )


def _cell(value: float | None) -> str:
    if value is None:
        return '<td data-value="">&ndash;</td>'
    shown = f"{value:,}" if isinstance(value, int) else number(value)
    # The page's script reads no "inf".
    return f'<td data-value="{min(value, 1e300):.6g}">{shown}</td>'


def _median(values: NDArray[np.float32]) -> float | None:
    return float(np.median(values)) if values.size else None


def _cut(entry: Entry) -> float | None:
    return 100 * entry.cut / entry.nuclei if entry.nuclei else None


def _blur(entry: Entry, units: Units) -> float | None:
    return None if entry.blur is None else units.length_of(entry.blur, entry)
