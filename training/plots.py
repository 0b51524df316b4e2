"""Pictures of a training run."""

from __future__ import annotations

import math
from pathlib import Path

# Without pyplot, which would take a notebook's way of showing pictures away.
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from . import groups

Rows = list[dict[str, float]]

LOSSES = {"loss_nucleus": "nucleus map", "loss_distance": "distance map"}

COLOURS = dict(zip(groups.MODALITIES, ("#0072b2", "#7f7f7f", "#8e44ad", "#d55e00"), strict=True))
"""Told apart by most colour-blind readers: blue, grey, purple and vermilion."""

INK = "#222222"


def curves(rows: Rows, picture: Path) -> None:
    """Draw loss, Dice and AP over the steps of a history, overall and of each modality.

    Parameters
    ----------
    rows : list of dict
        As `callbacks.history` reads them; what is not known is NaN.
    picture : Path
        PNG to write.
    """
    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    loss, dice, precision = figure.subplots(1, 3)
    _losses(loss, rows)
    _scores(dice, rows, "dice", "Dice on the validation images")
    _scores(precision, rows, "ap50", "AP@0.5 on the validation images")
    _mark_best(precision, rows)
    for axis in (loss, dice, precision):
        _tidy(axis)
    loss.legend(frameon=False)
    figure.legend(handles=precision.get_lines(), loc="outside right center", frameon=False)
    figure.savefig(picture, dpi=130)


def _losses(axis: Axes, rows: Rows) -> None:
    for (column, label), colour in zip(LOSSES.items(), (INK, "#009e73"), strict=True):
        _line(axis, rows, column, label, colour)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_title("Loss on the training crops")


def _scores(axis: Axes, rows: Rows, column: str, title: str) -> None:
    _line(axis, rows, column, "all images", INK, width=2.8)
    columns = [column]
    for kind, colour in COLOURS.items():
        if f"{column} {kind}" in rows[0]:
            _line(axis, rows, f"{column} {kind}", kind, colour)
            columns.append(f"{column} {kind}")
    values = [row[name] for row in rows for name in columns]
    low, high = math.floor(10 * min(values)), math.ceil(10 * max(values))
    axis.set_ylim(low / 10 - 0.01, high / 10 + 0.01)
    axis.set_yticks([tenth / 10 for tenth in range(low, high + 1)])
    axis.set_title(title)


def _line(axis: Axes, rows: Rows, column: str, label: str, colour: str, width: float = 1.4) -> None:
    steps, values = [row["step"] for row in rows], [row[column] for row in rows]
    axis.plot(steps, values, color=colour, lw=width, marker="o", ms=width + 1.6, label=label)


def _mark_best(axis: Axes, rows: Rows) -> None:
    """Ring the weights that are kept: the best, of equals the latest."""
    best = max(rows, key=lambda row: (row["ap50"], row["step"]))
    text = f"kept: step {best['step']:,.0f},\nAP@0.5 {best['ap50']:.3f}"
    axis.plot(best["step"], best["ap50"], "o", ms=11, mfc="none", mec=INK, label=text)


def _tidy(axis: Axes) -> None:
    axis.set_xlabel("step")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.set_xlim(left=0)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
