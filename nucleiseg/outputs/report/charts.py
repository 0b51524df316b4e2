"""Histograms as inline SVG. Colours are the page's, so that they follow light, dark and print."""

from __future__ import annotations

import math
from html import escape

import numpy as np
from numpy.typing import NDArray

Limits = tuple[float, float]

BINS, SMALL_BINS = 40, 24
TAILS = (0.5, 99.5)
"""Percentiles where an axis ends; what is beyond is counted in the outermost bars."""

WIDTH, HEIGHT = 420, 200
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 10, 40
SMALL_WIDTH, SMALL_HEIGHT = 120, 28


def limits(values: NDArray[np.float32], from_zero: bool) -> Limits:
    """Give the ends of an axis that shows values, (n,) float32."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.percentile(values, TAILS))
    low = 0.0 if from_zero else low
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def histogram(values: NDArray[np.float32], axis: Limits, title: str, key: str) -> str:
    """Draw a large histogram with axes.

    Parameters
    ----------
    values : ndarray, (n,) float32
    axis : tuple of float
    title : str
        What is on the axis, with its unit; plain text.
    key : str
        A name for identifiers, unique in the page.
    """
    return chart(_counts(values, axis, BINS), axis, title, key, described(values))


def chart(counts: NDArray[np.int64], axis: Limits, title: str, key: str, description: str) -> str:
    """Draw a large histogram of counts in equal steps along an axis; see `histogram`."""
    top = _ticks(0, max(1, int(counts.max())), whole=True)
    words = escape(description)
    bars = _bars(counts, top[-1], WIDTH - RIGHT - LEFT, _inner(), LEFT, TOP)
    return (
        f'<figure class="chart"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{key}-title {key}-words"><title id="{key}-title">{escape(title)}</title>'
        f'<desc id="{key}-words">{words}</desc>'
        f"{_vertical(top)}{_horizontal(axis)}"
        f'<path class="bars" d="{bars}"/>'
        f'<text class="name" x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 6}">'
        f"{escape(title)}</text></svg><figcaption>{words}</figcaption></figure>"
    )


def sparkline(values: NDArray[np.float32], axis: Limits, title: str) -> str:
    """Draw a small histogram of one image on the axis of all."""
    counts = _counts(values, axis, SMALL_BINS)
    path = _bars(counts, max(1, int(counts.max())), SMALL_WIDTH, SMALL_HEIGHT, 0, 0)
    label = escape(f"{title}: {described(values)}", quote=True)
    return (
        f'<svg class="spark" viewBox="0 0 {SMALL_WIDTH} {SMALL_HEIGHT}" role="img" '
        f'preserveAspectRatio="none" aria-label="{label}"><path class="bars" d="{path}"/></svg>'
    )


def described(values: NDArray[np.float32]) -> str:
    """Say in words what a histogram shows."""
    if not values.size:
        return "Nothing to show."
    first, median, third = (number(float(q)) for q in np.percentile(values, (25, 50, 75)))
    counted = f"{values.size:,} {'nucleus' if values.size == 1 else 'nuclei'}"
    return f"Median {median}, half of all between {first} and {third}; {counted}."


def number(value: float) -> str:
    """Write a number with three digits that count, or all before the point."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if digits < 7 else f"{value:.2e}"


def _counts(values: NDArray[np.float32], axis: Limits, bins: int) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.histogram(np.clip(values, *axis), bins, axis)[0]
    return counts


def _inner() -> int:
    return HEIGHT - TOP - BOTTOM


def _bars(
    counts: NDArray[np.int64], most: float, width: int, height: int, left: int, top: int
) -> str:
    """Draw the bars as one path."""
    step = width / len(counts)
    gap = step * 0.1
    return "".join(
        f"M{left + i * step + gap:.1f} {top + height}v{-count / most * height:.1f}"
        f"h{step - 2 * gap:.1f}V{top + height}z"
        for i, count in enumerate(counts)
        if count
    )


def _vertical(ticks: list[float]) -> str:
    def line(tick: float) -> str:
        y = TOP + _inner() * (1 - tick / ticks[-1])
        return (
            f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text class="left" x="{LEFT - 6}" y="{y + 4:.1f}">{_short(tick)}</text>'
        )

    return "".join(map(line, ticks))


def _short(count: float) -> str:
    """Write a count in the room there is beside the axis."""
    if count < 10_000:
        return f"{count:,.0f}"
    return f"{count / 1e3:g}k" if count < 1e6 else f"{count / 1e6:g}M"


def _horizontal(axis: Limits) -> str:
    low, high = axis

    def label(tick: float) -> str:
        x = LEFT + (WIDTH - RIGHT - LEFT) * (tick - low) / (high - low)
        return f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}">{tick:,g}</text>'

    inside = (tick for tick in _ticks(low, high) if low <= tick <= high)
    return "".join(map(label, inside))


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Give about five round numbers that enclose low and high."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
