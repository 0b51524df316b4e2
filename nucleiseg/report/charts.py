"""The geometry of histograms; the page draws them as inline SVG in its own colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg.report.columns import Units, together
from nucleiseg.report.entry import Entry

Limits = tuple[float, float]

BINS, SMALL_BINS = 40, 24
TAILS = (0.5, 99.5)
"""Percentiles where an axis ends; what is beyond is counted in the outermost bars."""

WIDTH, HEIGHT = 420, 200
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 10, 40
SMALL_WIDTH, SMALL_HEIGHT = 120, 28


@dataclass(frozen=True)
class Chart:
    """One histogram.

    Attributes
    ----------
    title : str
        What is on the axis, with its unit.
    words : str
        What it shows, in words.
    bars : str
        The path of the bars.
    width, height : int
    key : str
        A name for identifiers, unique in the page.
    across, up : list of tuple
        Places and labels of the ticks; empty for a small one.
    """

    title: str
    words: str
    bars: str
    width: int
    height: int
    key: str = ""
    across: Sequence[tuple[float, str]] = ()
    up: Sequence[tuple[float, str]] = ()

    left, right, bottom = LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM


class Charts:
    """The distributions: over all images, and of each image on the same axes.

    Attributes
    ----------
    large : list of Chart
        Those over all images.
    """

    def __init__(self, entries: Sequence[Entry], units: Units) -> None:
        diameters = together(units.lengths(entry) for entry in entries)
        self._units = units
        self._diameters = limits(diameters, from_zero=True)
        self._intensities: dict[str, Limits] = {}
        title = f"Diameter of whole nuclei, {units.length}"
        self.large = [histogram(diameters, self._diameters, title, "diameters")]
        for dtype in sorted({entry.dtype for entry in entries}):
            values = together(entry.intensities for entry in entries if entry.dtype == dtype)
            axis = self._intensities[dtype] = limits(values, from_zero=False)
            title = f"Mean intensity of nuclei, {dtype}"
            self.large.append(histogram(values, axis, title, f"intensities-{dtype}"))

    def small(self, entry: Entry) -> list[Chart]:
        """Return those of one image."""
        return [
            sparkline(self._units.lengths(entry), self._diameters, "Diameter"),
            sparkline(entry.intensities, self._intensities[entry.dtype], "Intensity"),
        ]


def limits(values: NDArray[np.float32], from_zero: bool) -> Limits:
    """Return the ends of an axis that shows values, (n,) float32."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.percentile(values.astype(np.float64), TAILS))
    low = 0.0 if from_zero else low
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def histogram(values: NDArray[np.float32], axis: Limits, title: str, key: str) -> Chart:
    """Return a large histogram of values, (n,) float32, with axes."""
    return chart(_counts(values, axis, BINS), axis, title, key, _described(values))


def chart(counts: NDArray[np.int64], axis: Limits, title: str, key: str, words: str) -> Chart:
    """Return a large histogram of counts in equal steps along an axis, in words too."""
    ticks = _ticks(0, max(1, int(counts.max())), whole=True)
    inner = HEIGHT - TOP - BOTTOM
    width = WIDTH - RIGHT - LEFT
    low, high = axis
    inside = [tick for tick in _ticks(low, high) if low <= tick <= high]
    return Chart(
        title,
        words,
        _bars(counts, ticks[-1], width, inner, LEFT, TOP),
        WIDTH,
        HEIGHT,
        key,
        across=[(LEFT + width * (tick - low) / (high - low), f"{tick:,g}") for tick in inside],
        up=[(TOP + inner * (1 - tick / ticks[-1]), _short(tick)) for tick in ticks],
    )


def sparkline(values: NDArray[np.float32], axis: Limits, title: str) -> Chart:
    """Return a small histogram of one image on the axis of all."""
    counts = _counts(values, axis, SMALL_BINS)
    bars = _bars(counts, max(1, int(counts.max())), SMALL_WIDTH, SMALL_HEIGHT, 0, 0)
    return Chart(title, _described(values), bars, SMALL_WIDTH, SMALL_HEIGHT)


def described(count: int, percentile: Callable[[float], float]) -> str:
    """Return in words what a histogram of some nuclei shows, whose percentiles a function gives."""
    if not count:
        return "Nothing to show."
    first, median, third = (number(percentile(q)) for q in (25, 50, 75))
    nuclei = f"{count:,} {'nucleus' if count == 1 else 'nuclei'}"
    return f"Median {median}, half of all between {first} and {third}; {nuclei}."


def _described(values: NDArray[np.float32]) -> str:
    return described(values.size, lambda percent: float(np.percentile(values, percent)))


def number(value: float) -> str:
    """Return a number with three significant digits, or all before the point."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if digits < 7 and abs(value) < 1e9 else f"{value:.2e}"


def _short(count: float) -> str:
    """Return a count in the room there is beside the axis."""
    if count < 10_000:
        return f"{count:,.0f}"
    return f"{count / 1e3:g}k" if count < 1e6 else f"{count / 1e6:g}M"


def _counts(values: NDArray[np.float32], axis: Limits, bins: int) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.histogram(np.clip(values, *axis), bins, axis)[0]
    return counts


def _bars(
    counts: NDArray[np.int64], most: float, width: int, height: int, left: int, top: int
) -> str:
    """Return the bars as one path."""
    step = width / len(counts)
    gap = step * 0.1
    return "".join(
        f"M{left + i * step + gap:.1f} {top + height}v{-count / most * height:.1f}"
        f"h{step - 2 * gap:.1f}V{top + height}z"
        for i, count in enumerate(counts)
        if count
    )


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Return about five round numbers that enclose low and high."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
