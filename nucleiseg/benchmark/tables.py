"""A run as tables of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from rich.console import Console
from rich.table import Table

from nucleiseg.benchmark.compare import Document, Ratio
from nucleiseg.benchmark.timing import STEADY
from nucleiseg.segmenter import IN_FLIGHT

Column = tuple[str, Callable[[Any], str]]
"""A heading, and what to write of a row."""

WIDTH = 80
"""Columns of text where the output is no terminal."""

PERCENTILES = ("p50", "p90", "p99", "max")

DEVICE_PARTS = {"upload": "up", "download": "down"}
"""Parts of the split that only a GPU has, and their headings."""


def console() -> Console:
    """Give where to print: the whole terminal, or plain text of `WIDTH` columns."""
    out = Console(highlight=False, emoji=False, markup=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, width=WIDTH)


def show(document: Document, out: Console) -> None:
    """Print what was measured.

    Parameters
    ----------
    document : dict
        What the JSON file holds.
    out : Console
    """
    rows = document["rows"]
    if rows:
        _table(out, _throughput_words(document), _LABEL + _THROUGHPUT, rows)
        _table(out, "Latency of a call, ms", _LABEL + _LATENCY, rows)
        _table(out, "Split of a call of one image, %", _LABEL + _split(rows), rows)
    for ceiling in document["ceilings"]:
        mine = [row for row in document["kernels"] if row["threads"] == ceiling["threads"]]
        if mine:
            _table(out, _kernel_words(mine[0]), _KERNEL, mine)
        out.print(_ceiling_words(ceiling))
    if rows:
        _show_notes(rows, out)


def show_ratios(ratios: Sequence[Ratio], differences: Sequence[str], out: Console) -> None:
    """Print an earlier run beside this one, with what makes that say less."""
    if ratios:
        words = "This run over the earlier one (speed: above 1 is faster)"
        _table(out, words, _RATIO, ratios)
    for difference in differences:
        out.print(f"Warning, not the same {difference}.")


def _table(out: Console, words: str, columns: Sequence[Column], rows: Sequence[Any]) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for index, (heading, _) in enumerate(columns):
        is_text = not index
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(write(row) for _, write in columns))
    out.print(f"\n{words}")
    out.print(table)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _percent(value: float | None, decimals: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{decimals}f}"


def _share(part: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: _percent(row["split"] and row["split"][part])


def _split(rows: Sequence[dict[str, Any]]) -> list[Column]:
    """Choose the parts of the split that some row has, and the engine's share of its ceiling."""
    parts = ["prepare", "infer", "assemble", "decode", "other"]
    if any(row["device"] != "cpu" for row in rows):
        parts = ["upload", *parts[:-1], "download", "other"]
    columns = [(DEVICE_PARTS.get(part, part), _share(part)) for part in parts]
    if any(row["of_int8_peak"] for row in rows):
        columns.append(("GMAC/s", lambda row: _number(row["infer_gmac_per_s"], ".0f")))
        columns.append(("of peak", lambda row: _percent(row["of_int8_peak"], 0)))
    return columns


def _latency(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: f"{row['latency_ms'][name]:.2f}"


_LABEL: list[Column] = [
    ("input", itemgetter("input")),
    ("batch", lambda row: str(row["batch"])),
    ("output", itemgetter("output")),
    ("on", lambda row: f"{row['device']} {row['threads']}"),
]

_THROUGHPUT: list[Column] = [
    ("images/s", lambda row: f"{row['images_per_s']:.1f}"),
    ("Mpixel/s", lambda row: f"{row['mpixel_per_s']:.2f}"),
    ("mm2/s", lambda row: f"{row['mm2_per_s']:.2f}"),
    ("CV %", lambda row: _percent(row["variation"]) + ("" if row["steady"] else "*")),
    ("MB", lambda row: _number(row["peak_memory_mb"], ".0f")),
]

_LATENCY: list[Column] = [
    *((name, _latency(name)) for name in PERCENTILES),
    ("calls", lambda row: str(row["calls"])),
]

_KERNEL: list[Column] = [
    ("kernel", itemgetter("name")),
    ("ms", lambda row: f"{row['ms']:.2f}"),
    ("GB/s", lambda row: f"{row['gb_per_s']:.2f}"),
    ("of copy", lambda row: f"{row['of_copy']:.2f}"),
]

_RATIO: list[Column] = [
    *((heading, lambda ratio, write=write: write(ratio.row)) for heading, write in _LABEL),
    ("Mpixel/s was", lambda ratio: f"{ratio.earlier['mpixel_per_s']:.2f}"),
    ("is", lambda ratio: f"{ratio.row['mpixel_per_s']:.2f}"),
    ("speed", lambda ratio: f"{ratio.speed:.2f}"),
    ("p50", lambda ratio: f"{ratio.latency:.2f}"),
    ("MB", lambda ratio: _number(ratio.memory, ".2f")),
]


def _throughput_words(document: Document) -> str:
    settings = document["settings"]
    scale = settings["scale"]
    return f"Throughput: {settings['images']}, scale {scale if scale == 'auto' else f'{scale:g}'}"


def _kernel_words(kernel: dict[str, Any]) -> str:
    size = kernel["size"]
    return f"Native kernels on {size} x {size} pixels, {kernel['threads']} threads, best call"


def _ceiling_words(ceiling: dict[str, Any]) -> str:
    return (
        f"Ceilings with {ceiling['threads']} threads: copy {ceiling['copy_gb_per_s']:.1f} GB/s "
        f"(memcpy beyond the cache, read and written); int8 {ceiling['int8_gmac_per_s']:.0f} "
        f"GMAC/s (multiplications in registers alone, {ceiling['int8_level']})."
    )


def _show_notes(rows: Sequence[dict[str, Any]], out: Console) -> None:
    """Say what the columns mean, and which rows are not to be trusted."""
    out.print(
        f"\nBatch: images given to one Segmenter.map, which works on up to {IN_FLIGHT} at once; "
        "1 is one segment(). mm2: at 0.5 um a pixel. CV: of the mean times of rounds of calls. MB: "
        "the largest resident memory (VmHWM) beyond what there was before the model was loaded; "
        "libraries and images are not in it. Of copy and of peak: over this machine's ceilings; "
        "what fits into the cache may be faster than they are."
    )
    unsteady = sum(not row["steady"] for row in rows)
    if unsteady:
        out.print(
            f"* {unsteady} of {len(rows)} rows did not get below a CV of {100 * STEADY:g} % in "
            "their time: something else runs here, or they need more --seconds."
        )
