"""Colours that the models do not know: brown nuclei, and merged stains of fluorescence.

The models learned from purple and blue nuclei. In immunohistochemistry of nuclear proteins, such as
Ki-67, positive nuclei are brown (3,3'-diaminobenzidine, DAB) and the others blue. `shown` makes
brown ones blue: where a pixel has more red than blue, the two are exchanged. Where membranes or
cytoplasm are brown, it shows the haematoxylin alone. RGB pictures in which each colour is another
fluorescent stain are refused.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.limits import Limits

Stain = Literal["auto", "he", "dab", "hematoxylin"]

STAINS: tuple[Stain, ...] = get_args(Stain)

GRID = 32
"""Rows and columns of the pixels that are looked at in a larger image, at least."""

LEAST_PIXELS = 20
"""With fewer stained pixels among those, an image is not brown."""

STAINED = 0.25
"""Optical density from which a pixel is looked at, in red, green or blue: glass is not."""

DENSE, PALE = 10, 5
"""Of the stained pixels, nuclei are among the tenth that absorb most red light, which haematoxylin
and DAB do and eosin hardly does; the fifth that absorb least are background."""

LEAST_CONTRAST = 0.15
"""Density in red by which dense pixels exceed pale ones, or there are no nuclei to be seen."""

LEAST_BROWNER = 0.15
"""Density in blue over that in red, of dense pixels less that of pale ones: above this it is DAB
that makes them dense. All 668 images of H&E and purple stain have less, as haematoxylin absorbs
red; of 582 of H&E in which all nuclei or some were made brown, 483 have more."""

LEAST_RED = 0.02
"""Pale pixels count as having this density in red, or pure eosin would be beyond all bounds."""

HAEMATOXYLIN, DAB = (0.65, 0.70, 0.29), (0.27, 0.57, 0.78)
"""Optical densities of the two in red, green and blue, by Ruifrok & Johnston."""

STEPS, DENSEST = 256, 2048
"""Steps in a unit of optical density, and how many are told apart."""

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

FINE = 256
"""As `GRID`, to tell the stains of merged fluorescence apart."""


COHERENT = 0.3
"""Neighbours in a stain are covered together; in noise, 0.0, no more often than others."""

PERCENTILES = (1.0, 99.8)
"""Between which a channel is blank if there is nothing but noise: those of the models."""


def check(stain: str) -> None:
    """Raise ValueError for the name of a stain that there is not."""
    if stain not in STAINS:
        raise ValueError(f"stain: got {stain!r}; accepted are {', '.join(map(repr, STAINS))}")


def shown(image: NDArray[Any], stain: str) -> NDArray[Any]:
    """Return an image in the colours that the models know.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
    stain : {"auto", "he", "dab", "hematoxylin"}
        "dab" makes brown nuclei blue, "auto" does so if a bright image `is_brown`, "hematoxylin"
        leaves only that stain in bright ones, and "he" does nothing.

    Returns
    -------
    ndarray
        The image itself, or (H, W, 3) of its dtype.

    Raises
    ------
    ValueError
        Another stain; "hematoxylin" for an RGB image that is not of 8 bits; or an RGB image with a
        dark background in which two channels cover different areas, neither of which holds nothing
        but noise. Grey images, bright-field images and fluorescence of a single colour pass.
    """
    if stain != "auto":
        check(stain)
    if image.ndim < 3 or image.shape[2] < 3:
        return image
    if stain == "hematoxylin" and image.dtype != np.uint8:
        raise ValueError(f"stain: got 'hematoxylin' for {image.dtype}; it accepts images of uint8")
    pixels = thinned(image, GRID)
    is_fluorescence = is_dark(pixels)
    if is_fluorescence and _differ(image):
        raise ValueError(
            "image: got RGB with 3 channels (0 'red', 1 'green', 2 'blue') that differ on a dark "
            "background, as merged fluorescence stains do; choose the one with the nuclei: "
            "--channel NAME or INDEX, or image[..., INDEX] in Python"
        )
    if is_fluorescence and stain != "dab":
        return image
    if stain == "auto" and not is_brown(pixels):
        return image
    return recoloured(image, "dab" if stain == "auto" else stain)


def recoloured(image: NDArray[Any], stain: str) -> NDArray[Any]:
    """Return an image, (H, W, C), as the models are to see a stain that is not "auto"."""
    if stain == "he":
        return image
    if stain == "hematoxylin":
        return _haematoxylin(image)
    red, green, blue = (image[..., channel] for channel in range(3))
    return np.stack([np.minimum(red, blue), green, np.maximum(red, blue)], axis=-1)


def _haematoxylin(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what an image of haematoxylin and DAB, (H, W, C) uint8, would be without DAB."""
    parts, colours = _unmixing()
    density = sum(parts[channel][image[..., channel]] for channel in range(3))
    shown: NDArray[np.uint8] = colours[np.clip(density, 0, DENSEST - 1)]
    return shown


@functools.cache
def _unmixing() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return what each value of a channel says of the haematoxylin, and the colour of its amounts.

    The first, (3, 256), is added up over the channels, in `STEPS`. Both are rounded once, so that
    an image is the same everywhere.
    """
    haematoxylin, dab = (np.array(each) / np.linalg.norm(each) for each in (HAEMATOXYLIN, DAB))
    # Of the two stains' plane: 1 in the direction of haematoxylin, and 0 in that of DAB.
    dual = haematoxylin - (haematoxylin @ dab) * dab
    dual /= dual @ haematoxylin
    density = -np.log(np.arange(1, 257) / 256)
    parts = np.rint(STEPS * dual[:, None] * density).astype(np.int16)
    amounts = np.arange(DENSEST)[:, None] / STEPS
    colours = np.rint(256 * np.exp(-amounts * haematoxylin) - 1).clip(0).astype(np.uint8)
    return parts, colours


def is_brown(pixels: NDArray[Any]) -> bool:
    """Return whether what is dense in a bright-field image is brown, of its `thinned` pixels.

    It compares optical densities (Ruifrok & Johnston 2001, Anal. Quant. Cytol. Histol. 23,
    291-299): DAB absorbs more blue than red light, haematoxylin more red than blue.
    """
    every = np.sort(pixels, axis=None, kind="stable")
    low, high = float(every[every.size // 100]), float(every[-1 - every.size // 500])
    if not 0 < high - low < np.inf:
        return False
    limit = low + (high - low) * (256 * np.exp(-STAINED) - 1) / 255
    red, green, blue = pixels.T
    stained = np.flatnonzero(np.minimum(np.minimum(red, green), blue) < limit)
    count = stained.size
    if count < LEAST_PIXELS:
        return False
    # Red and blue of those, the densest in red first.
    values = pixels[stained[np.argsort(red[stained], kind="stable")], ::2]
    density = -np.log(np.clip((values - low) * (255 / 256 / (high - low)), 0, 1) + 1 / 256)
    dense = density[: count // DENSE].mean(axis=0)
    pale = density[-(count // PALE) :].mean(axis=0)
    if dense[0] - pale[0] < LEAST_CONTRAST:
        return False
    browner = dense[1] / dense[0] - pale[1] / max(pale[0], LEAST_RED)
    return bool(browner > LEAST_BROWNER)


def are_stains(image: NDArray[Any]) -> bool:
    """Return whether two channels of an image, (H, W) or (H, W, C), hold different stains."""
    if image.ndim < 3 or image.shape[2] < 3:
        return False
    return is_dark(thinned(image, GRID)) and _differ(image)


def _differ(image: NDArray[Any]) -> bool:
    """Return whether two channels of an image with a dark background cover different areas."""
    values = thinned(image[:, :-1] if image.shape[1] > 1 else image, FINE).astype(np.float64)
    beside = thinned(image[:, 1:] if image.shape[1] > 1 else image, FINE).astype(np.float64)
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
