"""The page itself: what was collected, as HTML.

All is written here, so that the page shows everything without scripts; its script only toggles,
sorts and hides. Names are escaped, and a content security policy lets nothing load and nothing run
but the page's own style and script.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import PurePath
from string import Template

import numpy as np

from nucleiseg.model import Model
from nucleiseg.outputs.report.charts import number
from nucleiseg.outputs.report.collect import Entry, Failure
from nucleiseg.outputs.report.gallery import Charts, card
from nucleiseg.outputs.report.origin import described, versions
from nucleiseg.outputs.report.table import table
from nucleiseg.outputs.report.text import escaped, file_name
from nucleiseg.outputs.report.units import Units, together


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
    folder, all_names = _names([*entries, *failures])
    names, failed = all_names[: len(entries)], all_names[len(entries) :]
    units = Units.of(entries)
    charts = Charts(entries, units)
    flagged = sum(bool(entry.flags) for entry in entries)
    return Template(_file("page.html")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        summary=_summary(entries, failures, units),
        worth_a_look=_worth_a_look(entries, names, failures, failed),
        flagged=flagged,
        charts=charts.large,
        cards="".join(
            card(i, entry, name, units, charts)
            for i, (entry, name) in enumerate(zip(entries, names, strict=True))
        ),
        table=table(entries, names, units),
        settings=_pairs({"Folder": folder} if folder else {}, settings),
        model=_pairs(described(model)),
        versions=_pairs(versions()),
    )


def _reasons(entry: Entry) -> str:
    if not entry.flags:
        return ""
    items = (
        f'<li><strong class="flag">{flag.name}</strong> {escape(flag.reason)}</li>'
        for flag in entry.flags
    )
    return f'<ul class="flags">{"".join(items)}</ul>'


def _summary(entries: Sequence[Entry], failures: Sequence[Failure], units: Units) -> str:
    diameters = together(units.lengths(entry) for entry in entries)
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
    entries: Sequence[Entry],
    names: Sequence[str],
    failures: Sequence[Failure],
    failed: Sequence[str],
) -> str:
    items = [
        f'<li><a href="#image-{i}">{file_name(name)}</a>{_reasons(entry)}</li>'
        for i, (entry, name) in enumerate(zip(entries, names, strict=True))
        if entry.flags
    ]
    items += [
        f'<li>{file_name(name)}<ul class="flags"><li><strong class="flag">failed</strong> '
        f"{escaped(failure.reason)}</li></ul></li>"
        for failure, name in zip(failures, failed, strict=True)
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
    shared = "" if shared == "." else shared
    names = [os.path.relpath(item.name, shared) if shared else item.name for item in items]
    return shared, names


def _pairs(*pairs: Mapping[str, str]) -> str:
    return "".join(
        f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>"
        for some in pairs
        for name, value in some.items()
    )


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
