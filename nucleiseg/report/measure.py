"""What the report needs of the measurements of an image's nuclei."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.table import Table


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
