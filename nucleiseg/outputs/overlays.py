"""Overlays: the image with the outline of each nucleus, for the eye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images
from nucleiseg.outputs.result import Result, beside

ENDINGS = ("_overlay.png",)

# Green stands out on pink, purple and white, yellow on dark and on green fluorescence.
_COLOURS = np.array([(0, 255, 0), (255, 255, 0)], np.uint8)
# The range of intensities that becomes 0..255, in percent of the pixels: a few hot pixels, or a
# dead margin, do not set the contrast.
_PERCENTILES = (1.0, 99.8)
# So many pixels tell the percentiles to far less than one grey level.
_SAMPLES = 1_000_000


def save(stem: Path, result: Result) -> Path:
    """Write ``<stem>_overlay.png``, 8-bit RGB, and return its path.

    Grey images and those deeper than 8 bits are stretched; 8-bit colours stay as they are. The
    outline is the outermost pixel of each nucleus, green or yellow, whichever is further from the
    colours beneath.

    Raises
    ------
    OSError
        See `nucleiseg.images.write`.
    """
    path = beside(stem, ENDINGS[0])
    images.write_png(path, draw(result.image, result.labels))
    return path


def draw(image: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Draw the outlines of labels on a copy of an image.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), any dtype. Channels beyond the third are left out.
    labels
        (H, W) int32.

    Returns
    -------
    NDArray
        (H, W, 3) uint8, RGB.
    """
    canvas = _rgb(image)
    outline = _outline(labels)
    if outline.any():
        beneath = canvas[outline].mean(axis=0)
        distance = np.linalg.norm(_COLOURS - beneath, axis=1)
        canvas[outline] = _COLOURS[distance.argmax()]
    return canvas


def _outline(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of a nucleus with another label above, below, left or right of them."""
    edge = np.zeros(labels.shape, np.bool_)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge & (labels > 0)


def _rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    grey = image.ndim == 2 or image.shape[2] < 3
    colours = image.reshape(*image.shape[:2], -1)[..., : 1 if grey else 3]
    if grey or image.dtype != np.uint8:
        colours = _stretch(colours)
    canvas = np.empty((*image.shape[:2], 3), np.uint8)
    canvas[:] = colours
    return canvas


def _stretch(image: NDArray[Any]) -> NDArray[np.uint8]:
    step = -(-image.size // _SAMPLES)
    low, high = np.percentile(image.reshape(-1)[::step], _PERCENTILES)
    scale = 255.0 / (high - low) if high > low else 0.0
    stretched: NDArray[np.uint8] = (
        ((image.astype(np.float32) - low) * scale).clip(0, 255).astype(np.uint8)
    )
    return stretched
