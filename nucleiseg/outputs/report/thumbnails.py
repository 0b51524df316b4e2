"""Small pictures as text: the image as WebP, and its outlines as a PNG to lie upon it."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nucleiseg import resizing
from nucleiseg.outputs import overlays

SIDE = 256
"""Longest side of a thumbnail in pixels. Outlines have twice as many, for thin lines."""

QUALITY = 70
"""Of WebP, 1 to 100: the example images take 2 to 5 kB each."""


def thumbnail(image: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """Shrink an image.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C), any dtype

    Returns
    -------
    picture : ndarray, (h, w, 3) uint8
        Neither side above `SIDE`; small images keep their size.
    uri : str
        The same as a data URI.
    """
    small = resizing.resized(image, max(1.0, max(image.shape[:2]) / SIDE))
    picture = overlays.rgb(small)
    stored = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".webp", stored, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    return picture, _uri("image/webp", encoded.tobytes())


def outlines(labels: NDArray[np.int32], picture: NDArray[np.uint8]) -> str:
    """Draw outlines for a thumbnail, as a data URI of twice its size, transparent elsewhere."""
    height, width = picture.shape[:2]
    large = resizing.restored(labels, (2 * height, 2 * width), smooth=False)
    lines = overlays.outline(large)
    beneath = picture.repeat(2, axis=0).repeat(2, axis=1)
    colour = overlays.colour(beneath[lines])
    thick = cv2.dilate(lines.view(np.uint8), np.ones((2, 2), np.uint8))
    return _uri("image/png", _png(thick.view(np.bool_), colour))


def _png(lines: NDArray[np.bool_], colour: NDArray[np.uint8]) -> bytes:
    """Write a PNG of one bit a pixel: nothing, or the colour.

    OpenCV writes no palettes; a picture of four full channels would be several times as large.
    Chunks: https://www.w3.org/TR/png-3/#11Chunks.
    """
    height, width = lines.shape
    unfiltered = np.zeros((height, 1), np.uint8)
    rows = np.hstack([unfiltered, np.packbits(lines, axis=1)])
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)),
        (b"PLTE", bytes(3) + colour.tobytes()),
        (b"tRNS", b"\x00\xff"),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
