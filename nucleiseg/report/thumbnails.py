"""Small pictures as text: the image as WebP, and its outlines to lie upon it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import overlays
from nucleiseg.outputs.extras import cv2

SIDE = 512
"""Longest side of a picture in pixels. Outlines have twice as many, for thin lines."""

QUALITY = 70
"""Quality of WebP, 1 to 100: the example images take 2 to 14 kB each."""

LOSSLESS = 101
"""OpenCV's name of lossless WebP."""

URI = "data:image/webp;base64,"
"""What both data URIs begin with."""


def thumbnails(image: NDArray[Any], labels: NDArray[np.int32]) -> tuple[tuple[int, int], str, str]:
    """Return a small picture of an image and its outlines.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C), any dtype
    labels : ndarray, (H, W) int32

    Returns
    -------
    size : tuple of int
        Height and width of the picture, neither above `SIDE`; small images keep their size.
    picture : str
        As a data URI.
    outlines : str
        A data URI of twice the size, transparent but for the outlines.
    """
    picture, _ = overlays.shrunk(image, labels, SIDE)
    height, width = picture.shape[:2]
    large = cv2.resize(labels, (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST_EXACT)
    lines = overlays.outline(np.asarray(large, np.int32))
    beneath = picture.repeat(2, axis=0).repeat(2, axis=1)
    colour = overlays.colour(beneath[lines])
    thick = cv2.dilate(lines.view(np.uint8), np.ones((2, 2), np.uint8)).view(np.bool_)
    drawn = np.zeros((*thick.shape, 4), np.uint8)
    drawn[thick] = (*colour[::-1], 255)
    return (height, width), _webp(picture[..., ::-1], QUALITY), _webp(drawn, LOSSLESS)


def _webp(image: NDArray[np.uint8], quality: int) -> str:
    """Return an image, BGR or BGRA, as a data URI."""
    options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    _, encoded = cv2.imencode(".webp", np.ascontiguousarray(image), options)
    return URI + base64.b64encode(encoded.tobytes()).decode("ascii")
