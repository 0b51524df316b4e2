"""The sharpness of an image at the edges of its nuclei.

An edge of blur b (the standard deviation, in pixels, of the Gaussian that would make it of a sharp
step) has a gradient proportional to 1 / sqrt(b^2 + s^2) once it is smoothed with a Gaussian s. So
the ratio of the gradients after two smoothings gives b, whatever the contrast: Zhuo and Sim,
"Defocus map estimation from a single image", Pattern Recognition 44 (2011),
doi:10.1016/j.patcog.2011.03.009. Here gradients are squared and summed over all edges and the
pixels next to them, so that sharp edges read up to half a pixel more than they are. Noise adds
to them a part that is known from its strength, which Immerkaer's filter finds: "Fast noise variance
estimation", Computer Vision and Image Understanding 64 (1996), doi:10.1006/cviu.1996.0060.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import overlays
from nucleiseg.outputs.extras import cv2

FINE, COARSE = 1.0, 2.0
"""The two smoothings, in pixels: small against the smallest nuclei, above the grid of pixels."""

STRIP = 512
"""Rows of an image looked at together, so that what is held beside it is small and bounded."""

MARGIN = 12
"""Rows beyond a strip that its smoothed pixels depend on, and a few more."""

_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NEAR = np.ones((3, 3), np.uint8)


def edge_blur(image: NDArray[Any], labels: NDArray[np.int32]) -> float | None:
    """Return the blur of the edges of nuclei.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
    labels : ndarray, (H, W) int32

    Returns
    -------
    float or None
        Standard deviation of the blur in pixels; infinity where there is nothing but slopes, None
        where nuclei have no edges or the image has no contrast there.
    """
    sums = np.zeros(5)
    for rows in _strips(len(labels)):
        sums += _strip_sums(image, labels, rows)
    fine, coarse, pixels, noise, seen = sums
    if not pixels:
        return None
    sigma = np.sqrt(np.pi / 2) * noise / (6 * max(seen, 1))
    fine, coarse = (
        energy / pixels - sigma**2 / (4 * np.pi * s**4)
        for energy, s in ((fine, FINE), (coarse, COARSE))
    )
    if fine <= 0 or coarse <= 0:
        return None
    ratio = fine / coarse
    if ratio <= 1:
        return float("inf")
    return float(np.sqrt(max(0.0, COARSE**2 - ratio * FINE**2) / (ratio - 1)))


def _strips(height: int) -> Iterator[slice]:
    return (slice(top, min(top + STRIP, height)) for top in range(0, height, STRIP))


def _grey(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mean of an image's colours, without alpha: (H, W) float32."""
    if image.ndim == 2:
        return image.astype(np.float32)
    mean: NDArray[np.float32] = image[..., :3].mean(axis=2, dtype=np.float32)
    return mean


def _strip_sums(image: NDArray[Any], labels: NDArray[np.int32], rows: slice) -> NDArray[np.float64]:
    """Return squared gradients (fine, coarse), their pixels, noise and its pixels over rows."""
    around = slice(max(0, rows.start - MARGIN), rows.stop + MARGIN)
    inside = slice(rows.start - around.start, rows.stop - around.start)
    picture = _grey(image[around])
    edges = overlays.outline(labels[around]).view(np.uint8)
    near = cv2.dilate(edges, _NEAR)[inside].view(np.bool_)
    noise = np.abs(cv2.filter2D(picture, cv2.CV_32F, _NOISE))[inside]
    energies = (_energy(picture, s)[inside][near].sum(dtype=float) for s in (FINE, COARSE))
    return np.array([*energies, near.sum(), noise.sum(dtype=float), noise.size])


def _energy(picture: NDArray[np.float32], smoothing: float) -> NDArray[np.float32]:
    smooth = cv2.GaussianBlur(picture, (0, 0), smoothing)
    down, across = (
        cv2.Sobel(smooth, cv2.CV_32F, *step, ksize=1, scale=0.5) for step in ((0, 1), (1, 0))
    )
    energy: NDArray[np.float32] = down**2 + across**2
    return energy
