"""RGB pictures in which each colour is another fluorescent stain."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.limits import Limits

DARK = 0.25
"""Fluorescence has a background of less than this part of its brightest values. The lowest among
668 training images in colour (H&E, purple stain) is 0.35."""

SIGNAL = 0.2
"""A channel that rises above the background by less than this part of the strongest one holds no
stain of its own: 0.13 was seen in JPEG files (quality 40) of a single colour."""

AREA = 0.3
"""A stain covers the pixels where its channel reaches this part of its own brightest values."""

SAME = 0.6
"""Two channels whose areas have an intersection over union below this hold different stains: 0.3 to
0.48 was seen where they do, 0.67 to 1 in pictures of one colour."""

GRID, COARSE = 256, 32
"""Rows and columns of the pixels that are looked at in a larger image, at least; and of those that
tell whether the background is dark, which takes 0.02 ms."""


COHERENT = 0.3
"""Neighbours in a stain are covered together; in noise, 0.0, no more often than others."""

PERCENTILES = (1.0, 99.8)
"""Between which a channel is blank if there is nothing but noise: those of the models."""


def check(image: NDArray[Any]) -> None:
    """Raise an error if the colours of an image are different stains.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
        Grey images, bright-field images and fluorescence of a single colour pass.

    Raises
    ------
    ValueError
        An RGB image with a dark background in which two channels cover different areas, neither of
        which holds nothing but noise.
    """
    if are_stains(image):
        raise ValueError(
            "image: got RGB with 3 channels (0 'red', 1 'green', 2 'blue') that differ on a dark "
            "background, as merged fluorescence stains do; choose the one with the nuclei: "
            "--channel NAME or INDEX, or image[..., INDEX] in Python"
        )


def are_stains(image: NDArray[Any]) -> bool:
    """Return whether two channels of an image, (H, W) or (H, W, C), hold different stains."""
    if image.ndim < 3 or image.shape[2] < 3 or not is_dark(thinned(image, COARSE)):
        return False
    values = thinned(image[:, :-1] if image.shape[1] > 1 else image, GRID).astype(np.float64)
    beside = thinned(image[:, 1:] if image.shape[1] > 1 else image, GRID).astype(np.float64)
    background = np.median(values, axis=0)
    brightest = np.percentile(values, 99.8, axis=0) - background
    least = background + AREA * brightest
    covered, too = (values > least).T, (beside > least).T
    strong = [channel for channel in range(3) if brightest[channel] > SIGNAL * brightest.max()]
    differ = {
        channel
        for one, other in itertools.combinations(strong, 2)
        for channel in (one, other)
        if _overlap(covered[one], covered[other]) < SAME
    }
    stains = [
        channel
        for channel in differ
        if _coherence(covered[channel], too[channel]) > COHERENT
        and not Limits(*cpu.limits(image[..., channel], *PERCENTILES)).is_blank
    ]
    return len(stains) > 1


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the intersection over union; 1 of nothing."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def _coherence(covered: NDArray[np.bool_], beside: NDArray[np.bool_]) -> float:
    """Return how far neighbours of covered pixels are covered too: 0 as often as any, 1 always."""
    often = beside.mean()
    if not covered.any() or often == 1:
        return 0.0
    return float((beside[covered].mean() - often) / (1 - often))


def thinned(image: NDArray[Any], sides: int) -> NDArray[Any]:
    """Return pixels of a grid, (N, 3)."""
    steps = (max(1, side // sides) for side in image.shape[:2])
    rows, columns = (slice(step // 2, None, step) for step in steps)
    return image[rows, columns, :3].reshape(-1, 3)


def is_dark(pixels: NDArray[Any]) -> bool:
    """Return whether most of the pixels, (N, 3), are dark, as in fluorescence."""
    channels = np.sort(pixels.T, kind="stable")  # of bytes five times as fast as np.median
    low, high = float(channels[:, 0].min()), float(channels[:, -1].max())
    count = channels.shape[1]
    middle = channels[:, [(count - 1) // 2, count // 2]].mean(axis=1)
    return float(middle.max()) - low < DARK * (high - low)
