"""The results as a page: ``python -m benchmarks.peers.page FOLDER`` writes it once more.

The folder is the one that ``python -m benchmarks.peers`` wrote ``benchmarks.json`` into.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.table import AGAINST, OURS

Row = dict[str, Any]

OUTPUTS = {"maps": "network alone", "mask": "mask", "labels": "labels"}


def text(document: dict[str, Any]) -> str:
    """Write the page.

    Parameters
    ----------
    document : dict
        What ``benchmarks.json`` holds.
    """
    parts = [
        HEAD,
        _where(document),
        "![Throughput by size of the picture](pictures/peers.png)",
        "## Megapixels a second",
        _by_size(document, lambda row: _digits(row["mpixel_per_s"])),
        "## How many times as fast nucleiseg is",
        _by_size(document, _ratio, is_ours=False),
        NOTES,
        "## What ran",
        _tools(document),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


HEAD = """# nucleiseg and other tools, side by side

Written by `python -m benchmarks.peers`, which installs the tools and measures them on your machine.
It compares speed alone. Where trained weights do not come with a tool's packages, its real network
runs with random ones, which cost the same; what follows the network is then given the maps of a
perfect one, made of the picture's nuclei."""

NOTES = """Medians of rounds. A round takes the tools in turn, each just after nucleiseg: a ratio is
that of a neighbouring pair, and the lowest one is in brackets. All tools have the same picture, the
same cores and as many threads, and while one computes the others are stopped. "Network alone" is
held against nucleiseg's mask, which takes the same step and more; "labels" against its labels.
Figures in italics were not measured: they are the tool's at its largest picture, by pixels."""


def _where(document: dict[str, Any]) -> str:
    machine, settings = document["machine"], document["settings"]
    memory = f", {machine['memory_gb']:g} GB of memory" if machine["memory_gb"] else ""
    sets = f" with {', '.join(machine['instructions'])}" if machine["instructions"] else ""
    nuclei = ", ".join(f"{count:,} at {size}" for size, count in document["nuclei"].items())
    kind = "A quick run" if settings["quick"] else "A full run"
    return (
        f"{kind} of {document['time'][:10]} on {machine['cpu']}{sets}: "
        f"{settings['threads']} threads on as many cores{memory}, {machine['system']}, "
        f"Python {machine['python']}. The picture is stained tissue, RGB uint8, repeated to the "
        f"size; it has this many nuclei: {nuclei}."
    )


def _by_size(document: dict[str, Any], write: Callable[[Row], str], is_ours: bool = True) -> str:
    """Return a table of one cell for each tool, output and size."""
    sizes = document["settings"]["sizes"]
    lines = [
        ["", "gives", "weights", *(f"{size} x {size}" for size in sizes)],
        ["---"] * (3 + len(sizes)),
    ]
    for peer, output in _measured(document):
        if peer["name"] == OURS and not is_ours:
            continue
        rows = {row["size"]: row for row in rows_of(document, peer["name"], output)}
        cells = []
        for size in sizes:
            if size in rows:
                cells.append(write(rows[size]))
            else:
                speed = rows[max(rows)]["mpixel_per_s"]
                ours = {row["size"]: row for row in rows_of(document, OURS, AGAINST[output])}
                ratio = ours[size]["mpixel_per_s"] / speed
                cells.append(f"*{write({'mpixel_per_s': speed, 'ratio': ratio})}*")
        lines.append([peer["title"], OUTPUTS[output], peer["weights"], *cells])
    return _table(lines)


def _measured(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Go through the tools and those of their outputs that there are figures of."""
    for peer in document["peers"]:
        for output in OUTPUTS:
            if rows_of(document, peer["name"], output):
                yield peer, output


def rows_of(document: dict[str, Any], name: str, output: str) -> list[Row]:
    """Return what was measured of an output of a tool, a row for each size."""
    return [row for row in document["rows"] if (row["peer"], row["output"]) == (name, output)]


def _ratio(row: Row) -> str:
    lowest = f" ({_digits(row['lowest_ratio'])})" if "lowest_ratio" in row else ""
    return f"{_digits(row['ratio'])}{lowest}"


def _tools(document: dict[str, Any]) -> str:
    lines = [["", "what runs", "versions", "memory, MB"], ["---"] * 4]
    for peer in document["peers"]:
        if "error" in peer:
            lines.append([peer["title"], f"**does not run here:** {peer['error']}", "", ""])
        else:
            versions = ", ".join(f"{name} {which}" for name, which in peer["versions"].items())
            memory = f"{peer['peak_memory_mb']:,}" if peer["peak_memory_mb"] else ""
            lines.append([peer["title"], peer["about"], versions, memory])
    return _table(lines)


def _table(lines: Iterable[Iterable[str]]) -> str:
    clean = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in clean)


def _digits(value: float) -> str:
    """Return three digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if value < 1 else 1}f}" if value >= 0.1 else f"{value:.2g}"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "benchmarks.md").write_text(text(json.loads((place / "benchmarks.json").read_text())))
