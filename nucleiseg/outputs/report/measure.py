"""Numbers of each nucleus: area, mean intensity, mean probability, and whether the border cuts it.

Images are read in strips of rows, so that what is held beside an image is small and bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIP = 512
"""Rows of an image looked at together."""


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

    @property
    def diameters(self) -> NDArray[np.float64]:
        """Diameters, in pixels, of discs of the same areas."""
        diameters: NDArray[np.float64] = np.sqrt(self.areas * (4 / np.pi))
        return diameters


def measure(
    image: NDArray[Any], labels: NDArray[np.int32], maps: NDArray[np.uint8] | None
) -> Nuclei:
    """Measure every nucleus of an image.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
        Any dtype. A fourth channel is alpha and left out.
    labels : ndarray, (H, W) int32
    maps : ndarray, (H, W, 2) uint8, or None
        As `nucleiseg.segment` gives them.
    """
    size = int(labels.max(initial=0)) + 1
    areas = np.zeros(size, np.int64)
    intensities, probabilities = np.zeros(size), np.zeros(size)
    for rows in strips(len(labels)):
        ids = labels[rows].ravel()
        areas += np.bincount(ids, minlength=size)
        intensities += np.bincount(ids, grey(image[rows]).ravel(), size)
        if maps is not None:
            probabilities += np.bincount(ids, maps[rows][..., 0].ravel(), size)
    present = np.flatnonzero(areas[1:]) + 1
    counts = areas[present]
    return Nuclei(
        counts,
        intensities[present] / counts,
        None if maps is None else probabilities[present] / counts / 255,
        _cut(labels, size)[present],
    )


def strips(height: int) -> Iterator[slice]:
    """Divide the rows of an image."""
    return (slice(top, min(top + STRIP, height)) for top in range(0, height, STRIP))


def grey(image: NDArray[Any]) -> NDArray[np.float32]:
    """Give the mean of an image's colours, without alpha: (H, W) float32."""
    if image.ndim == 2:
        return image.astype(np.float32)
    mean: NDArray[np.float32] = image[..., :3].mean(axis=2, dtype=np.float32)
    return mean


def _cut(labels: NDArray[np.int32], size: int) -> NDArray[np.bool_]:
    cut = np.zeros(size, np.bool_)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        cut[side] = True
    return cut
