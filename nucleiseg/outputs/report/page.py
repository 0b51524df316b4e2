"""The page itself: what was collected, as HTML.

All is written here, so that the page shows everything without scripts; its script only toggles,
sorts and hides. Names are escaped, and a content security policy lets nothing load and nothing run
but the page's own style and script.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib import metadata, resources
from pathlib import PurePath
from string import Template

import numpy as np
from numpy.typing import NDArray

from nucleiseg.model import Model
from nucleiseg.outputs.report.charts import Limits, histogram, limits, number, sparkline
from nucleiseg.outputs.report.collect import Entry, Failure
from nucleiseg.outputs.report.table import table
from nucleiseg.outputs.report.text import counted, escaped, file_name
from nucleiseg.outputs.report.units import Units

LIBRARIES = ("numpy", "opencv-python-headless", "openvino")


def render(
    entries: Sequence[Entry],
    failures: Sequence[Failure],
    model: Model,
    settings: Mapping[str, str],
) -> str:
    """Write the page as one string.

    Parameters
    ----------
    entries, failures : sequence
        In the order in which they shall be shown.
    model : Model
    settings : mapping of str to str
    """
    style, script = (_file(name) for name in ("style.css", "script.js"))
    folder, names = _names([*entries, *failures])
    units = Units.of(entries)
    charts = _Charts(entries, units)
    flagged = sum(bool(entry.flags) for entry in entries)
    return Template(_file("page.html")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        summary=_summary(entries, failures, units),
        worth_a_look=_worth_a_look(entries, failures, names),
        flagged=flagged,
        charts=charts.large,
        cards="".join(
            _card(i, entry, name, units, charts)
            for i, (entry, name) in enumerate(zip(entries, names, strict=False))
        ),
        table=table(entries, names, units),
        settings=_pairs({"Folder": folder} if folder else {}, settings),
        model=_pairs(_model(model)),
        versions=_pairs(_versions()),
    )


class _Charts:
    """The distributions: over all images, and of each on the same axes."""

    def __init__(self, entries: Sequence[Entry], units: Units) -> None:
        diameters = _together(units.lengths(entry) for entry in entries)
        self._units = units
        self._diameters = limits(diameters, from_zero=True)
        self._title = f"Diameter of whole nuclei, {units.length}"
        self._intensities: dict[str, Limits] = {}
        self.large = histogram(diameters, self._diameters, self._title, "diameters")
        for dtype in sorted({entry.dtype for entry in entries}):
            values = _together(entry.intensities for entry in entries if entry.dtype == dtype)
            self._intensities[dtype] = limits(values, from_zero=False)
            title = f"Mean intensity of nuclei, {dtype}"
            self.large += histogram(
                values, self._intensities[dtype], title, f"intensities-{escape(dtype)}"
            )

    def small(self, entry: Entry) -> str:
        pairs = (
            ("Diameter", self._units.lengths(entry), self._diameters),
            ("Intensity", entry.intensities, self._intensities[entry.dtype]),
        )
        return "".join(
            f"<dt>{name}</dt><dd>{sparkline(values, axis, name)}</dd>"
            for name, values, axis in pairs
        )


def _card(i: int, entry: Entry, name: str, units: Units, charts: _Charts) -> str:
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


def _reasons(entry: Entry) -> str:
    if not entry.flags:
        return ""
    items = (
        f'<li><strong class="flag">{flag.name}</strong> {escape(flag.reason)}</li>'
        for flag in entry.flags
    )
    return f'<ul class="flags">{"".join(items)}</ul>'


def _folded(entry: Entry) -> str:
    """Write the flags so that a click tells the reason; pictures stay close together."""
    return "".join(
        f'<details><summary class="flag">{flag.name}</summary>{escape(flag.reason)}</details>'
        for flag in entry.flags
    )


def _summary(entries: Sequence[Entry], failures: Sequence[Failure], units: Units) -> str:
    diameters = _together(units.lengths(entry) for entry in entries)
    median = number(float(np.median(diameters))) if diameters.size else "&ndash;"
    facts = {
        "images": f"{len(entries):,}",
        "nuclei": f"{sum(entry.nuclei for entry in entries):,}",
        f"nuclei / {units.area}": number(units.density(*entries) or 0),
        f"{units.length}, median diameter": median,
        "worth a second look": f"{sum(bool(entry.flags) for entry in entries):,}",
        **({"failed": f"{len(failures):,}"} if failures else {}),
    }
    return "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())


def _worth_a_look(
    entries: Sequence[Entry], failures: Sequence[Failure], names: Sequence[str]
) -> str:
    items = [
        f'<li><a href="#image-{i}">{file_name(name)}</a>{_reasons(entry)}</li>'
        for i, (entry, name) in enumerate(zip(entries, names, strict=False))
        if entry.flags
    ]
    items += [
        f'<li>{file_name(name)}<ul class="flags"><li><strong class="flag">failed</strong> '
        f"{escaped(failure.reason)}</li></ul></li>"
        for failure, name in zip(failures, names[len(entries) :], strict=True)
    ]
    if not items:
        return "<p>Nothing stood out.</p>"
    return f'<ul class="looks">{"".join(items)}</ul>'


def _names(items: Sequence[Entry | Failure]) -> tuple[str, list[str]]:
    """Give the folder that all images share, and their names below it."""
    folders = {str(PurePath(item.name).parent) for item in items}
    try:
        shared = os.path.commonpath(folders)
    except ValueError:  # none, or absolute ones among others
        shared = ""
    names = [os.path.relpath(item.name, shared) if shared else item.name for item in items]
    return shared, names


def _pairs(*pairs: Mapping[str, str]) -> str:
    return "".join(
        f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>"
        for some in pairs
        for name, value in some.items()
    )


def _model(model: Model) -> dict[str, str]:
    low, high = model.good_diameters
    return {
        "Name": model.name,
        "Version": model.version,
        "SHA-256": model.checksum,
        "Licence": model.licence,
        "Trained on": "; ".join(model.data),
        "At its best": f"{low:g} to {high:g} pixels a nucleus, {model.mpp:g} µm a pixel",
    }


def _versions() -> dict[str, str]:
    from nucleiseg import __version__

    installed = {}
    for library in LIBRARIES:
        try:
            installed[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            installed[library] = "of unknown version"
    return {
        "nucleiseg": __version__,
        "Python": platform.python_version(),
        **installed,
        "System": f"{platform.system()} {platform.machine()}",
        "Written": datetime.now().astimezone().isoformat(" ", "minutes"),
    }


def _together(arrays: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate([np.zeros(0, np.float32), *arrays])


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
