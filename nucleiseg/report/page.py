"""The page itself: what was collected, as HTML.

All is in the page, so that it shows everything without scripts; its script only toggles, enlarges,
sorts and hides. The template escapes whatever it is given, and a content security policy lets
nothing load and nothing run but the page's own style and script.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib import resources
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import numpy as np

from nucleiseg.device import version
from nucleiseg.model import Model
from nucleiseg.outputs import extras
from nucleiseg.report.charts import Charts, number
from nucleiseg.report.columns import FLAGS, NAME, Column, Units, columns, density, together
from nucleiseg.report.entry import Entry, Failure

LIBRARIES = ("numpy", "opencv-python-headless")
"""Whose versions the page names."""


def render(
    entries: Sequence[Entry],
    failures: Sequence[Failure],
    model: Model,
    settings: Mapping[str, str],
) -> str:
    """Return the page as one string.

    Parameters
    ----------
    entries, failures : sequence
        In the order in which they are shown.
    model : Model
    settings : mapping of str to str
    """
    style, script = (_file(name) for name in ("style.css", "script.js"))
    folder, names = _names([*entries, *failures])
    units = Units.of(entries)
    charts = Charts(entries, units)
    chosen = columns(entries, units)
    template = environment().get_template("page.html")
    page: str = template.render(
        style=style,
        script=script,
        summary=_summary(entries, failures, units),
        images=[
            {"number": number, **_image(entry, name, charts, chosen)}
            for number, (entry, name) in enumerate(zip(entries, names, strict=False))
        ],
        failures=[
            (name, failure.reason)
            for failure, name in zip(failures, names[len(entries) :], strict=True)
        ],
        charts=charts.large,
        headings=[NAME, *((each.heading, each.meaning) for each in chosen), FLAGS],
        made={
            "Settings": {**({"Folder": folder} if folder else {}), **settings},
            "Model": described(model),
            "Versions": versions(),
        },
    )
    # Names of files may hold bytes that are not UTF-8.
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", page)


def described(model: Model) -> dict[str, str]:
    """Return the description of the model, as names and values."""
    low, high = model.good_diameters
    return {
        "Name": model.name,
        "Version": model.version,
        "SHA-256": model.checksum,
        "Licence": model.licence,
        "Trained on": "; ".join(model.data),
        "At its best": f"{low:g} to {high:g} pixels per nucleus, {model.mpp:g} µm per pixel",
    }


def versions() -> dict[str, str]:
    """Return the versions in use, and the time."""
    from nucleiseg import __version__

    return {
        "nucleiseg": __version__,
        "Python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "System": f"{platform.system()} {platform.machine()}",
        "Written": datetime.now().astimezone().isoformat(" ", "minutes"),
    }


def environment() -> Any:
    """Return where the templates of this folder are found, and that they escape what they show."""
    jinja2 = extras.load("jinja2")
    made = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FunctionLoader(_file),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["sha256"] = _sha256
    made.filters["parts"] = partial(re.split, "(?<=[_/-])(?=.)")
    return made


def _image(entry: Entry, name: str, charts: Charts, chosen: Sequence[Column]) -> dict[str, Any]:
    """Return what the template shows of one image."""
    per_area = density([entry], bool(entry.mpp)) or 0.0
    return {
        "name": name,
        "entry": entry,
        "nuclei": f"{entry.nuclei:,} {'nucleus' if entry.nuclei == 1 else 'nuclei'}",
        "density": f"{number(per_area)} / {'mm²' if entry.mpp else 'megapixel'}",
        "charts": charts.small(entry),
        "cells": [_cell(column.value(entry)) for column in chosen],
        "links": [(quote(os.fsencode(file)), _kind(file)) for file in entry.files],
    }


def _cell(value: float | None) -> tuple[str, str]:
    """Return what a cell is sorted by, and what it shows."""
    if value is None:
        return "", "\N{EN DASH}"
    shown = f"{value:,}" if isinstance(value, int) else number(value)
    # The page's script reads no "inf".
    return f"{min(value, 1e300):.6g}", shown


def _kind(file: str) -> str:
    """Return what is particular in an output's name: ``mask.png``."""
    return PurePath(file).name.rpartition("_")[2]


def _summary(entries: Sequence[Entry], failures: Sequence[Failure], units: Units) -> dict[str, str]:
    diameters = together(units.lengths(entry) for entry in entries)
    median = number(float(np.median(diameters))) if diameters.size else "\N{EN DASH}"
    per_area = {
        name: number(value)
        for name, physical in (("nuclei / mm²", True), ("nuclei / megapixel", False))
        if (value := density(entries, physical)) is not None and units.physical <= physical
    }
    return {
        "images": f"{len(entries):,}",
        "nuclei": f"{sum(entry.nuclei for entry in entries):,}",
        **per_area,
        f"{units.length}, median diameter": median,
        "worth a second look": f"{sum(bool(entry.flags) for entry in entries):,}",
        **({"failed": f"{len(failures):,}"} if failures else {}),
    }


def _names(items: Sequence[Entry | Failure]) -> tuple[str, list[str]]:
    """Return the folder that all images share, and their names below it."""
    folders = {str(PurePath(item.name).parent) for item in items}
    try:
        shared = os.path.commonpath(folders)
    except ValueError:  # none, or absolute ones among others
        shared = ""
    shared = "" if shared == "." else shared
    names = [os.path.relpath(item.name, shared) if shared else item.name for item in items]
    return shared, names


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _sha256(source: str) -> str:
    """Return what a content security policy calls a style or a script."""
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
