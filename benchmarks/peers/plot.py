"""Throughput by size of the picture, drawn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.peers.page import OUTPUTS, rows_of

STYLES = {"maps": "--", "mask": ":", "labels": "-"}


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw a line for each tool and output; needs matplotlib (``pip install nucleiseg[train]``)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.4), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    for number, peer in enumerate(document["peers"]):
        for output, style in STYLES.items():
            _line(axes, document, peer, output, color=f"C{number}", linestyle=style)
    sizes = document["settings"]["sizes"]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlabel("side of the picture, pixels")
    axes.set_ylabel("Mpixel/s")
    rates = [row["mpixel_per_s"] for row in document["rows"]]
    axes.set_ylim(10 ** math.floor(math.log10(min(rates))), 10 ** math.ceil(math.log10(max(rates))))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.grid(which="major", alpha=0.4)
    axes.set_title(f"{document['machine']['cpu']}, {document['settings']['threads']} threads")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small", frameon=False)
    figure.savefig(path, metadata={"Software": None})


def _line(
    axes: Any, document: dict[str, Any], peer: dict[str, Any], output: str, **how: str
) -> None:
    if rows := rows_of(document, peer["name"], output):
        label = f"{peer['title']}, {OUTPUTS[output]}"
        x, y = [row["size"] for row in rows], [row["mpixel_per_s"] for row in rows]
        axes.plot(x, y, marker="o", markersize=4, label=label, **how)
