"""Stains by colour deconvolution: other densities, brown instead of blue, grey instead of colours.

Optical densities of stains add up, so a picture is unmixed into stains, these are changed, and it
is mixed again (Ruifrok & Johnston 2001, Anal. Quant. Cytol. Histol. 23, 291-299).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

RGB_FROM_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
"""Optical density of haematoxylin, eosin and DAB, in table 1 of the paper above."""

HED_FROM_RGB = np.linalg.inv(RGB_FROM_HED).astype(np.float32)

DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)
"""Optical density of each level; one is added so that black has one too."""


def jittered(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Scale and shift each stain's density: Tellez et al. 2019, doi:10.1016/j.media.2019.101544.

    Parameters
    ----------
    image : ndarray, (H, W, 3) uint8
    rng : Generator
    """
    scale = rng.uniform(0.65, 1.45, 3).astype(np.float32)
    shift = rng.uniform(-0.08, 0.08, 3).astype(np.float32)
    # One matrix does the way there, the scaling and the way back.
    matrix = (HED_FROM_RGB * scale) @ RGB_FROM_HED
    offset = shift @ RGB_FROM_HED
    return _light(cv2.transform(DENSITY[image], np.column_stack([matrix.T, offset])))


def browned(
    image: NDArray[np.uint8], nucleus: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Stain H&E as if by immunohistochemistry of a nuclear protein: positive nuclei are brown,
    the others stay blue, and the tissue around them is pale.

    Parameters
    ----------
    image : ndarray, (H, W, 3) uint8
    nucleus : ndarray, (H, W) uint8
        255 inside nuclei.
    rng : Generator
    """
    density = DENSITY[image]
    # Eosin hardly absorbs red light; unmixing all three stains is too noisy in faded slides.
    blue = density[..., 0] / RGB_FROM_HED[0, 0]
    count, numbers = cv2.connectedComponents((nucleus > 127).astype(np.uint8))
    share = rng.choice([1.0, rng.uniform(0.2, 0.9)])
    positive = np.where(rng.random(count) < share, rng.uniform(0.6, 1.0, count), 0)
    positive[0] = rng.uniform(0, 0.2)  # unspecific brown of the background
    brown = cv2.GaussianBlur(positive.astype(np.float32)[numbers], (0, 0), 1.0)
    stains = np.dstack(
        [
            blue * (1 - rng.uniform(0.7, 1.0) * brown),
            rng.uniform(0.0, 0.2) * density[..., 1],
            rng.uniform(0.9, 2.0) * brown * blue,
        ]
    )
    return _light(cv2.transform(stains, RGB_FROM_HED.T.copy()))


def greyed(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Take a stained picture with a grey camera, in white light or in red, which haematoxylin
    absorbs and eosin hardly does.

    Parameters
    ----------
    image : ndarray, (H, W, 3) uint8
    rng : Generator
    """
    white = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.addWeighted(white, (share := rng.random()), image[..., 0], 1 - share, 0)
    return np.repeat(grey[..., None], 3, axis=-1)


def _light(density: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(256 * np.exp(-density) - 1, 0, 255).astype(np.uint8)
