"""Two runs beside each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleiseg.benchmark.report import NAMES, SCHEMA

Document = dict[str, Any]
"""What the JSON file holds; see `nucleiseg.benchmark`."""

SAME = {
    "machine": ("cpu", "gpu", "kernels", "system"),
    "model": ("name", "version", "sha256"),
    "settings": ("scale",),
}
"""Entries without which ratios say little."""


@dataclass(frozen=True)
class Ratio:
    """One row now over the same row of an earlier run.

    Attributes
    ----------
    row, earlier : dict
        See `nucleiseg.benchmark`.
    speed : float
        Of Mpixel/s: above 1 is faster.
    latency : float
        Of the median latency: below 1 is faster.
    memory : float or None
        Of the peak memory, where both are known.
    """

    row: dict[str, Any]
    earlier: dict[str, Any]
    speed: float
    latency: float
    memory: float | None

    @property
    def is_of_the_same_images(self) -> bool:
        """Whether both runs saw the same pixels."""
        return bool(self.row["input_sha256"] == self.earlier["input_sha256"])


def load(path: Path) -> Document:
    """Read the JSON file of an earlier run.

    Raises
    ------
    ValueError
        It cannot be read, or is none.
    """
    accepted = f"accepted is what nucleiseg benchmark --json wrote, of schema {SCHEMA}"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"compare: cannot read {path} ({error.strerror}); {accepted}") from error
    except ValueError as error:
        raise ValueError(f"compare: {path} is not valid JSON ({error}); {accepted}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"compare: {path} is something else; {accepted}")
    try:
        ratios(document, document)
        differences(document, document)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(
            f"compare: {path} lacks or misstates an entry ({error!r}); {accepted}"
        ) from error
    return document


def ratios(now: Document, earlier: Document) -> list[Ratio]:
    """Give the rows that both runs have, in this run's order."""
    known = {_name(row): row for row in earlier["rows"]}
    pairs = [(row, known[_name(row)]) for row in now["rows"] if _name(row) in known]
    return [
        Ratio(
            row,
            before,
            speed=row["mpixel_per_s"] / before["mpixel_per_s"],
            latency=row["latency_ms"]["p50"] / before["latency_ms"]["p50"],
            memory=_over(row["peak_memory_mb"], before["peak_memory_mb"]),
        )
        for row, before in pairs
    ]


def differences(now: Document, earlier: Document) -> list[str]:
    """Say in a sentence each what makes the ratios say less, or nothing."""
    found = [
        f"{part}: {entry} was {earlier[part][entry]!r}, is {now[part][entry]!r}"
        for part, entries in SAME.items()
        for entry in entries
        if earlier[part][entry] != now[part][entry]
    ]
    if changed := [pair for pair in ratios(now, earlier) if not pair.is_of_the_same_images]:
        found.append(f"images: those of {len(changed)} rows have other pixels")
    names, before = ({_name(row) for row in document["rows"]} for document in (now, earlier))
    if len(names & before) < max(len(names), len(before)):
        found.append(
            f"rows: {len(names & before)} are in both runs, {len(names - before)} only in this "
            f"one, {len(before - names)} only in the earlier one"
        )
    return found


def _name(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in NAMES)


def _over(now: float | None, before: float | None) -> float | None:
    return now / before if now is not None and before else None
