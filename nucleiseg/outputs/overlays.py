"""Overlays: the image with the outline of each nucleus, for the eye."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images, resizing
from nucleiseg._native import cpu
from nucleiseg.model import PERCENTILES
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "overlay", "overlays"
ABOUT = "RGB PNG with outlines"
ENDING = "_overlay.png"

# Green stands out on pink, purple and white, yellow on dark and on green fluorescence.
_COLOURS = np.array([(0, 255, 0), (255, 255, 0)], np.uint8)


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the image with outlines as 8-bit RGB PNG; see `rgb` for its colours.

    The outline is the outermost pixel of each nucleus, green or yellow, whichever is further from
    the colours beneath.
    """
    file.write(images.png(draw(result.image, result.labels)))


def draw(image: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return a copy of an image with the outlines of labels.

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
    """Return the colour for lines, (3,) uint8, that is furthest from the (N, 3) pixels beneath."""
    mean = beneath.mean(axis=0) if len(beneath) else np.zeros(3)
    distance = np.linalg.norm(_COLOURS - mean, axis=1)
    furthest: NDArray[np.uint8] = _COLOURS[distance.argmax()]
    return furthest


def outline(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return where a pixel of a nucleus has another label above, below, left or right of it."""
    edge = np.zeros(labels.shape, np.bool_)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge & (labels > 0)


def rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image as a picture for people, (H, W, 3) uint8.

    8-bit colours stay as they are; grey images and those deeper than 8 bits are stretched.
    """
    if image.ndim == 3 and image.shape[2] >= 3 and image.dtype == np.uint8:
        colours: NDArray[np.uint8] = image[..., :3].copy()
        return colours
    low, high, ceiling, _ = cpu.limits(image, *PERCENTILES)
    return cpu.normalize(image, low, high, ceiling)


def shrunk(
    image: NDArray[Any], labels: NDArray[np.int32], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return a picture of an image, and its labels, of which neither side is above ``side``.

    Parameters
    ----------
    image
        Whatever `nucleiseg.segment` takes as an array.
    labels
        (H, W) int32.
    side
        Pixels; smaller images keep their size.
    """
    height, width = labels.shape
    factor = min(1.0, side / max(height, width))
    if factor == 1:
        return rgb(image), labels
    size = max(1, round(height * factor)), max(1, round(width * factor))
    rows, columns = (resizing.nearest(*lengths) for lengths in zip(size, labels.shape, strict=True))
    return rgb(cpu.resize(image, *size)), labels[rows[:, None], columns]
