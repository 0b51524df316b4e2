"""A distribution that is counted in fine bins as values come, and drawn as a histogram later."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.report import charts


class Distribution:
    """Counts of values in bins of one width from 0; values beyond are in the last bin.

    Parameters
    ----------
    width : float
        Of a bin, which is also how exact percentiles are.
    bins : int
    """

    def __init__(self, width: float, bins: int) -> None:
        self.width = width
        self.counts = np.zeros(bins, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Count values, of which none is NaN."""
        last = len(self.counts) - 1
        index = np.clip(values / self.width, 0, last).astype(np.int64)
        self.counts += np.bincount(index, minlength=last + 1)

    def percentile(self, percent: float) -> float:
        """Return the middle of the bin of a percentile, NaN if nothing was counted."""
        total = int(self.counts.sum())
        if not total:
            return float("nan")
        index = int(np.searchsorted(np.cumsum(self.counts), total * percent / 100))
        return (min(index, len(self.counts) - 1) + 0.5) * self.width

    def chart(self, title: str, key: str) -> charts.Chart:
        """Return its histogram.

        Parameters
        ----------
        title : str
            What is on the axis, with its unit.
        key : str
            A name for identifiers, unique in the page.
        """
        counts, low, high = self._bars()
        return charts.chart(counts, (low, high), title, key, self.described())

    def described(self) -> str:
        """Return in words what the histogram shows."""
        return charts.described(int(self.counts.sum()), self.percentile)

    def _bars(self) -> tuple[NDArray[np.int64], float, float]:
        """Return the counts of `charts.BINS` bars and the ends of their axis.

        What is beyond the ends is in the outermost bars.
        """
        edges = (self.percentile(q) / self.width for q in charts.TAILS)
        first, last = (int(edge) if np.isfinite(edge) else 0 for edge in edges)
        each = max(1, -(-(last + 1 - first) // charts.BINS))
        bars = (np.arange(len(self.counts)) - first) // each
        shown = np.clip(bars, 0, charts.BINS - 1)
        counts = np.bincount(shown, self.counts, charts.BINS).astype(np.int64)
        return counts, first * self.width, (first + each * charts.BINS) * self.width
