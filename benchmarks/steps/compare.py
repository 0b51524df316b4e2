"""Two JSON files of ``nucleiseg benchmark``, the earlier one first: ratios row by row."""

import argparse
import json
from pathlib import Path
from typing import Any

NAMES = ("device", "threads", "input", "batch", "output")
"""Entries that together name a row."""

SAME = {
    "machine": ("cpu", "gpu", "kernels", "system"),
    "model": ("name", "version", "sha256"),
    "settings": ("scale",),
}
"""Entries that must be equal for ratios to be meaningful."""

Document = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("earlier", type=Path)
    parser.add_argument("now", type=Path)


def main(options: argparse.Namespace) -> None:
    earlier, now = (json.loads(path.read_text()) for path in (options.earlier, options.now))
    print(f"{'row':<40}{'Mpixel/s was':>14}{'is':>9}{'speed':>8}{'p50':>8}")
    for row, before in pairs(earlier, now):
        was, speed = before["mpixel_per_s"], row["mpixel_per_s"]
        latency = row["latency_ms"]["p50"] / before["latency_ms"]["p50"]
        name = " ".join(str(row[part]) for part in NAMES)
        print(f"{name:<40}{was:>14.2f}{speed:>9.2f}{speed / was:>8.2f}{latency:>8.2f}")
    for difference in differences(earlier, now):
        print(f"Not the same {difference}")


def pairs(earlier: Document, now: Document) -> list[tuple[Document, Document]]:
    """Return the rows that both runs have, this run's and the earlier one's."""
    known = {_name(row): row for row in earlier["rows"]}
    return [(row, known[_name(row)]) for row in now["rows"] if _name(row) in known]


def differences(earlier: Document, now: Document) -> list[str]:
    """Return a sentence on each difference that makes the ratios less meaningful."""
    found = [
        f"{part}: {entry} was {earlier[part][entry]!r}, is {now[part][entry]!r}"
        for part, entries in SAME.items()
        for entry in entries
        if earlier[part][entry] != now[part][entry]
    ]
    both = pairs(earlier, now)
    if changed := sum(row["input_sha256"] != before["input_sha256"] for row, before in both):
        found.append(f"images: those of {changed} rows have other pixels")
    counts = len(now["rows"]), len(earlier["rows"])
    if len(both) < max(counts):
        found.append(f"rows: {len(both)} are in both runs, of {counts[0]} now and {counts[1]} then")
    return found


def _name(row: Document) -> tuple[Any, ...]:
    return tuple(row[name] for name in NAMES)
