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

GRID = 20
"""Rows and columns of the pixels that are looked at in a larger image, at least."""

DENSE, PALE = 10, 5
"""Nuclei are among the tenth of the pixels that absorb most red light, which haematoxylin and DAB
do and eosin hardly does; background is the fifth that absorbs least."""

LEAST_CONTRAST = 0.15
"""Optical density in red by which the dense pixels exceed the pale ones, or nothing is stained."""

LEAST_EXCESS = -0.05
"""Density in blue less that in red, of dense pixels less that of all others: above this it is DAB
that makes them dense. Of 668 images of H&E and purple stain two have that and a pale background,
one with brown collagen; of 582 of H&E in which all nuclei or some were made brown, 440."""

MOST_PINK = 0.1
"""The same of pale pixels, which eosin makes pink in strongly stained H&E; DAB leaves them pale."""


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
    if len(pixels) < DENSE:
        return False
    every = np.sort(pixels, axis=None, kind="stable")
    low, high = float(every[every.size // 100]), float(every[-1 - every.size // 500])
    if not 0 < high - low < np.inf:
        return False
    # The densest in red first, of which only red and blue are needed.
    values = pixels[:, ::2][np.argsort(pixels[:, 0], kind="stable")]
    stretched = np.clip((values - low) * (255 / (high - low)), 0, 255)
    density = np.log(256) - np.log(stretched + 1)
    count = len(values)
    first, last = count // DENSE, count - count // PALE
    sums = np.add.reduceat(density, [0, first, last])
    dense, pale = sums[0] / first, sums[2] / (count - last)
    others = (sums[1] + sums[2]) / (count - first)
    return bool(
        dense[0] - pale[0] > LEAST_CONTRAST
        and (dense[1] - dense[0]) - (others[1] - others[0]) > LEAST_EXCESS
        and pale[1] - pale[0] < MOST_PINK
        and (values[:, 0] != values[:, 1]).any()
        and not is_dark(pixels)
    )
