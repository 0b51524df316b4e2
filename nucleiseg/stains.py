"""Brown nuclei: bright-field images stained with haematoxylin and DAB.

The models learned from purple and blue nuclei. In immunohistochemistry of nuclear proteins, such as
Ki-67, positive nuclei are brown (3,3'-diaminobenzidine, DAB) and the others blue. `recoloured`
makes brown ones blue: where a pixel has more red than blue, the two are exchanged.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nucleiseg.merged import is_dark, thinned

Stain = Literal["auto", "he", "dab"]

STAINS: tuple[Stain, ...] = get_args(Stain)

GRID = 28
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
that makes them dense. 668 images of H&E and purple stain have 0.11 or less, as haematoxylin absorbs
red; of 582 of H&E in which all nuclei or some were made brown, 480 have more."""

LEAST_RED = 0.02
"""Pale pixels count as having this density in red, or pure eosin would be beyond all bounds."""


def check(stain: str) -> None:
    """Raise ValueError for the name of a stain that there is not."""
    if stain not in STAINS:
        raise ValueError(f"stain: got {stain!r}; accepted are {', '.join(map(repr, STAINS))}")


def recoloured(image: NDArray[Any], stain: str) -> NDArray[Any]:
    """Return an image in the colours that the models know.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
    stain : {"auto", "he", "dab"}
        "dab" makes brown nuclei blue, "auto" does so if `is_brown`, and "he" does nothing.

    Returns
    -------
    ndarray
        The image itself, or (H, W, 3) of its dtype.
    """
    if image.ndim < 3 or image.shape[2] < 3 or stain == "he":
        return image
    if stain == "auto" and not is_brown(image):
        return image
    red, green, blue = (image[..., channel] for channel in range(3))
    return np.stack([np.minimum(red, blue), green, np.maximum(red, blue)], axis=-1)


def is_brown(image: NDArray[Any]) -> bool:
    """Return whether what is dense in a bright-field image, (H, W, C), is brown.

    It compares optical densities (Ruifrok & Johnston 2001, Anal. Quant. Cytol. Histol. 23,
    291-299): DAB absorbs more blue than red light, haematoxylin more red than blue.
    """
    pixels = thinned(image, GRID)
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
    return bool(browner > LEAST_BROWNER and not is_dark(pixels))
