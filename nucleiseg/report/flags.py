"""Which images are worth a second look, and why, in words.

The limits were chosen on the example images, blurred and noisy copies of them, and noise alone;
``tests/end_to_end/test_report.py`` measures them again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg import autoscale
from nucleiseg.model import Model
from nucleiseg.outputs.table import Table
from nucleiseg.result import Result

MOST_CUT = 0.5
"""Share of nuclei at the border beyond which the sizes of the others are a biased sample."""

LEAST_CONFIDENCE = 0.89
"""Mean probability in nuclei: 0.92 to 0.98 on the example images, 0.93 to 0.98 on the 80 images of
the 2018 Data Science Bowl's stage 1 that were not trained on, 0.81 and 0.85 on smooth noise."""

MOST_BLUR = 2.9
"""Blur of nuclei's edges in pixels: 1.4 to 2.4 on the example images, up to 2.6 on the 80; 3.1 to
3.9 once they are blurred with a Gaussian of 3."""

MOST_RELATIVE_BLUR = 0.08
"""Blur of edges over the diameter of nuclei. An image of many pixels per nucleus, though sharp, has
wide edges: those of nuclei more than 38 pixels across are held against this (0.05 when sharp)."""


@dataclass(frozen=True)
class Nuclei:
    """Numbers of n nuclei, in the order of their labels.

    Attributes
    ----------
    areas : ndarray, (n,) int64
        Pixels.
    intensities : ndarray, (n,) float64
        Mean over the nucleus's pixels and the image's colours, in the image's own units.
    probabilities : ndarray, (n,) float64, or None without maps
        Mean probability of being nucleus, 0..1.
    cut : ndarray, (n,) bool
        Whether the nucleus touches the image's border, so that some of it may be missing.
    """

    areas: NDArray[np.int64]
    intensities: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    cut: NDArray[np.bool_]

    @classmethod
    def of(cls, table: Table) -> Nuclei:
        """Return the numbers that a table holds."""
        present = table["area"] > 0
        means = [table[name] for name in table if name.startswith("intensity_mean-")]
        probabilities = table.get("probability_mean")
        return cls(
            table["area"][present],
            np.mean(means, axis=0)[present],
            None if probabilities is None else probabilities[present],
            table["border"][present],
        )

    @property
    def diameters(self) -> NDArray[np.float64]:
        """Diameters, in pixels, of discs of the same areas."""
        diameters: NDArray[np.float64] = np.sqrt(self.areas * (4 / np.pi))
        return diameters


@dataclass(frozen=True)
class Flag:
    """One thing that stood out: its name in a word or two, and the reason in a sentence."""

    name: str
    reason: str


NO_NUCLEI = Flag("no nuclei", "No nuclei were found.")


def confidence(nuclei: Nuclei) -> float | None:
    """Return the mean probability of all pixels of nuclei, None without maps or nuclei."""
    if nuclei.probabilities is None or not nuclei.areas.size:
        return None
    return float(np.average(nuclei.probabilities, weights=nuclei.areas))


def flags(nuclei: Nuclei, blur: float | None, scale: float, model: Model) -> list[Flag]:
    """Return what stands out in an image.

    Parameters
    ----------
    nuclei : Nuclei
    blur : float or None
        Of `nucleiseg.report.focus.edge_blur`.
    scale : float
        The factor by which the network saw the image shrunk.
    model : Model
    """
    if not nuclei.areas.size:
        return [NO_NUCLEI]
    found = []
    cut, count = int(nuclei.cut.sum()), nuclei.cut.size
    if cut > MOST_CUT * count:
        reason = (
            f"{cut:,} of {count:,} nuclei touch the border, so only a part of them is measured; "
            "a larger field of view would hold more whole ones."
        )
        found.append(Flag("at the border", reason))
    mean = confidence(nuclei)
    if mean is not None and mean < LEAST_CONFIDENCE:
        reason = (
            f"The network is unsure: pixels of nuclei have a mean probability of {mean:.2f}, where "
            f"{LEAST_CONFIDENCE} or more is usual."
        )
        found.append(Flag("low confidence", reason))
    diameter, (low, high) = autoscale.usual_diameter(nuclei.diameters), model.good_diameters
    seen = diameter / scale
    if seen > high or (seen < low and count >= autoscale.SETTINGS.least_nuclei):
        reason = (
            f"A usual nucleus is {seen:.0f} pixels across as the network sees it; the model is at "
            f"its best from {low:.0f} to {high:.0f}. Should nuclei be of another size, give their "
            "diameter or the image's micrometres per pixel."
        )
        found.append(Flag("unusual size", reason))
    if blur is not None and blur > max(MOST_BLUR, MOST_RELATIVE_BLUR * diameter):
        width = "very wide" if np.isinf(blur) else f"blurred over {blur:.1f} pixels"
        reason = (
            f"The edges of nuclei are {width}, of a usual diameter of {diameter:.0f}; the image "
            "may be out of focus."
        )
        found.append(Flag("out of focus", reason))
    return found


def reasons(result: Result, model: Model) -> str:
    """Return why a result is worth a second look, as far as that is known already.

    Nothing is measured for it: the flags of a table that was not computed are left out, and blur.
    """
    found = []
    if not len(result) and not result.doubt:
        found = [NO_NUCLEI.name]
    elif len(result) and "table" in vars(result):
        known = flags(Nuclei.of(result.table), None, result.scale, model)
        found = [flag.name for flag in known]
    return ", ".join([*found, result.doubt] if result.doubt else found)
