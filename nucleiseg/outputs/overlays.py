"""Overlays: the image with the outline of each nucleus, for the eye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images
from nucleiseg._native import cpu
from nucleiseg.model import PERCENTILES
from nucleiseg.outputs.result import Result, beside

ENDINGS = ("_overlay.png",)

# Green stands out on pink, purple and white, yellow on dark and on green fluorescence.
_COLOURS = np.array([(0, 255, 0), (255, 255, 0)], np.uint8)


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
        Whatever `nucleiseg.segment` takes as an array. Alpha is left out.
    labels
        (H, W) int32.

    Returns
    -------
    NDArray
        (H, W, 3) uint8, RGB.
    """
    canvas = rgb(image)
    lines = outline(labels)
    canvas[lines] = colour(canvas[lines])
    return canvas


def colour(beneath: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give the colour for lines, (3,) uint8, that is furthest from the (N, 3) pixels beneath."""
    mean = beneath.mean(axis=0) if len(beneath) else np.zeros(3)
    distance = np.linalg.norm(_COLOURS - mean, axis=1)
    furthest: NDArray[np.uint8] = _COLOURS[distance.argmax()]
    return furthest


def outline(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Find pixels of a nucleus with another label above, below, left or right of them."""
    edge = np.zeros(labels.shape, np.bool_)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge & (labels > 0)


def rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Make a picture, (H, W, 3) uint8, of an image; see `save`."""
    if image.ndim == 3 and image.shape[2] >= 3 and image.dtype == np.uint8:
        colours: NDArray[np.uint8] = image[..., :3].copy()
        return colours
    low, high, ceiling, _ = cpu.limits(image, *PERCENTILES)
    return cpu.normalize(image, low, high, ceiling)
