"""Nuclei of one crop pasted into another, which draws crowds whose outlines are known.

Copying objects between training images is as good as more images where those are few (Ghiasi et al.
2021, doi:10.1109/CVPR46437.2021.00294). Here it also makes nuclei touch that never did.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LARGEST_OVERLAP = 0.3
"""Share of a pasted nucleus that may lie on nuclei that are there already."""

FLATTENING = 0.8
"""A nucleus's largest distance to its edge, over the radius of a disc of its area."""

SEAM = 2.0
"""Pixels on both sides of the edge between a pasted nucleus and one below it that get weight."""

GLOW = 7
"""Side of the square, in pixels, by which a glowing nucleus is taken larger than its outline."""


def paste(
    image: NDArray[np.uint8],
    maps: NDArray[np.uint8],
    donor: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    diameter: float,
    glowing: bool,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Paste some of a crop's nuclei onto another crop of the same size and kind.

    Parameters
    ----------
    image : ndarray, (h, w, 3) uint8
    maps : ndarray, (h, w, 3) uint8
        Nucleus, distance, emphasis.
    donor : tuple of ndarray
        Image and maps that the nuclei come from.
    diameter : float
        Of usual nuclei of ``image``, in pixels.
    glowing : bool
        Nuclei are brighter than what is around them, and the brighter one shows.
    rng : Generator

    Returns
    -------
    image, maps : ndarray
        New arrays; those that were given where nothing fits.
    """
    chosen = _chosen(maps[..., 0] > 127, donor[1][..., 0] > 127, rng)
    if not chosen.any():
        return image, maps
    return _blended(image, donor[0], chosen, glowing), _joined(maps, donor[1], chosen, diameter)


def _chosen(
    there: NDArray[np.bool_], offered: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw connected components that lie mostly on background: (h, w) bool."""
    count, components = cv2.connectedComponents(offered.astype(np.uint8), connectivity=4)
    areas = np.bincount(components.ravel(), minlength=count)
    covered = np.bincount(components[there], minlength=count)
    fits = covered <= LARGEST_OVERLAP * areas
    fits &= rng.random(count) < rng.uniform(0.2, 1.0)
    fits[0] = False
    return fits[components]


def _blended(
    image: NDArray[np.uint8], donor: NDArray[np.uint8], chosen: NDArray[np.bool_], glowing: bool
) -> NDArray[np.uint8]:
    opacity = chosen.astype(np.float32)
    if glowing:
        opacity = cv2.GaussianBlur(cv2.dilate(opacity, np.ones((GLOW, GLOW))), (0, 0), 1.5)
        return np.maximum(image, np.rint(donor * opacity[..., None]).astype(np.uint8))
    opacity = cv2.GaussianBlur(opacity, (0, 0), 0.7)[..., None]
    return np.rint(image * (1 - opacity) + donor * opacity).astype(np.uint8)


def _joined(
    maps: NDArray[np.uint8],
    donor: NDArray[np.uint8],
    chosen: NDArray[np.bool_],
    diameter: float,
) -> NDArray[np.uint8]:
    """Put the pasted nuclei's maps above those of the nuclei below, which now end at their edge."""
    away = cv2.distanceTransform((~chosen).astype(np.uint8), cv2.DIST_L2, 3)
    radius = max(1.0, FLATTENING * diameter / 2)
    limit = np.clip((away - 0.5) * (255 / radius), 0, 255).astype(np.uint8)
    below = maps.copy()
    below[..., 1] = np.minimum(maps[..., 1], limit)
    joined = np.where(chosen[..., None], donor, below)
    joined[..., 2] = np.maximum(maps[..., 2], donor[..., 2] * chosen)
    cut = (maps[..., 0] > 127) & ~chosen
    near = cv2.distanceTransform((~cut).astype(np.uint8), cv2.DIST_L2, 3) <= SEAM
    joined[(near & chosen) | (cut & (away <= SEAM)), 2] = 255
    return joined
