"""Pictures of a training run."""

from __future__ import annotations

import csv
from pathlib import Path

PANELS = (
    ("Loss", ("loss_nucleus", "loss_distance")),
    ("Dice on validation", ("dice",)),
    ("AP on validation", ("ap50", "ap")),
)


def curves(history: Path, picture: Path) -> None:
    """Draw loss, Dice and AP over the steps of ``history.csv``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with history.open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(12, 3.5), layout="constrained")
    for axis, (title, columns) in zip(axes, PANELS, strict=True):
        for column in columns:
            axis.plot(steps, [float(row[column]) for row in rows], label=column)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
