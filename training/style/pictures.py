"""What a run of style transfer shows: a sheet of its stages, a GIF and the curves."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from nucleiseg import images

from .losses import Losses

Picture = NDArray[np.uint8]

SHOWN = 12
"""Stages on a sheet; of more, evenly spaced ones are shown."""

COLUMNS = 5

FRAME_MS, LAST_MS = 160, 1600
"""How long the GIF shows a stage, and the last one."""

COLOURS = dict(zip(Losses._fields, ("#222222", "#0072b2", "#d55e00", "#7f7f7f"), strict=True))
"""Told apart by most colour-blind readers: black, blue, vermilion and grey."""

NAMES = {"total": "sum", "content": "content", "style": "style", "tv": "total variation"}


def sheet(titled: list[tuple[str, Picture]], path: Path) -> None:
    """Write pictures with their titles as one PNG.

    Parameters
    ----------
    titled : list of (str, ndarray (H, W, 3) uint8)
        Of any sizes.
    path : Path
    """
    rows = math.ceil(len(titled) / COLUMNS)
    figure = Figure(figsize=(2.1 * COLUMNS, 2.35 * rows), layout="constrained")
    for axis in (axes := figure.subplots(rows, COLUMNS, squeeze=False)).ravel():
        axis.axis("off")
    for axis, (title, picture) in zip(axes.ravel(), titled, strict=False):
        axis.imshow(picture)
        axis.set_title(title, fontsize=10)
    _save(figure, path)


def spaced(count: int) -> list[int]:
    """Return the numbers of at most `SHOWN` of some stages, the first and the last among them."""
    return sorted({round(at) for at in np.linspace(0, count - 1, min(count, SHOWN))})


def gif(frames: list[Picture], path: Path) -> None:
    """Write an animated GIF that plays again and again and stays on the last frame for a while."""
    first, *others = (Image.fromarray(frame).quantize(dither=Image.Dither.NONE) for frame in frames)
    durations = [FRAME_MS] * len(others) + [LAST_MS]
    data = io.BytesIO()
    first.save(data, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    images.write(path, data.getvalue())


def curves(rows: list[Losses], path: Path) -> None:
    """Draw the losses over the steps as a PNG."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    steps = range(1, len(rows) + 1)
    for name in Losses._fields:
        values = [getattr(losses, name) for losses in rows]
        if any(value > 0 for value in values):
            axis.plot(steps, values, color=COLOURS[name], label=NAMES[name], lw=1.6)
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("weighted loss")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    _save(figure, path)


def _save(figure, path: Path) -> None:
    data = io.BytesIO()
    figure.savefig(data, dpi=110, format="png")
    images.write(path, data.getvalue())
