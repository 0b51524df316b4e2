"""Crops that show what data sets lack: fields without nuclei, and nuclei in crowds."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Crop = tuple[NDArray[np.uint8], NDArray[np.uint8]]

MOST_CROSSING = 0.25
"""Share of the nuclei's area in which they may cross: beyond, nobody could tell them apart."""

CROSSING = 0.7
"""Emphasis of pixels where two nuclei lie upon each other."""


def blank(rng: np.random.Generator, size: int) -> Crop:
    """Make a field without nuclei: glass or dark, even or uneven, with or without debris.

    Returns
    -------
    image : ndarray, (size, size, 3) uint8
    maps : ndarray, (size, size, 3) uint8
        Zeros.
    """
    level = rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 255))
    field = np.broadcast_to(level.astype(np.float32), (size, size, 3)).copy()
    if rng.random() < 0.5:
        field += rng.uniform(2, 40) * _clouds(rng, size, int(rng.choice([3, 6, 20])))[..., None]
    if rng.random() < 0.5:
        _litter(field, rng)
    field += rng.normal(0, rng.choice([0, 1, 3, 20]), (size, size, 3))
    return np.clip(field, 0, 255).astype(np.uint8), np.zeros((size, size, 3), np.uint8)


def _clouds(rng: np.random.Generator, size: int, grain: int) -> NDArray[np.float32]:
    """Return a smooth random field of about -1..1 with `grain` bumps along a side."""
    coarse = rng.uniform(-1, 1, (grain, grain)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _litter(field: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Draw specks, fibres and the rims of holes, all thinner than nuclei are, and large patches."""
    size = field.shape[0]
    colour = rng.uniform(-160, 160) * rng.uniform(0.6, 1.0, 3)
    drawn = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(0, 40)):
        x, y = (int(value) for value in rng.integers(0, size, 2))
        cv2.circle(drawn, (x, y), int(rng.integers(0, 2)), 255, -1)
    for _ in range(rng.integers(0, 4)):
        steps = np.cumsum(rng.normal(0, 12, (12, 2)) + rng.normal(0, 12, 2), axis=0)
        points = (rng.uniform(0, size, 2) + steps).astype(np.int32)
        cv2.polylines(drawn, [points], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA)
    if rng.random() < 0.3:
        drawn = np.maximum(drawn, np.where(_clouds(rng, size, 3) > 0.5, 255, 0).astype(np.uint8))
    soft = cv2.GaussianBlur(drawn.astype(np.float32) / 255, (0, 0), rng.uniform(0.5, 2.5))
    field += soft[..., None] * colour.astype(np.float32)


def crowded(first: Crop, second: Crop, rng: np.random.Generator) -> Crop:
    """Lay two fields of fluorescence upon each other, as in a thick specimen.

    Light adds up. Where two nuclei cross, a pixel belongs to the one in whose middle it lies more:
    the difference of the two relative distances is 0 along the line between them. Fields that are
    crowded by themselves (`MOST_CROSSING`) are left alone.

    Parameters
    ----------
    first, second : tuple of ndarray
        Image and maps (nucleus, distance, emphasis), (size, size, 3) uint8 each.
    rng : Generator
    """
    both = np.minimum(first[1][..., 0], second[1][..., 0])
    either = np.maximum(first[1][..., 0], second[1][..., 0])
    if both.sum(dtype=np.int64) > MOST_CROSSING * either.sum(dtype=np.int64):
        return first
    light = [image.astype(np.float32) for image, _ in (first, second)]
    background = np.percentile(light[1], 10)
    mixed = light[0] + rng.uniform(0.6, 1.0) * np.maximum(light[1] - background, 0)
    mixed *= min(1.0, 255 / max(float(np.percentile(mixed, 99.8)), 1.0))
    image = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    maps = np.maximum(first[1], second[1])
    distances = [one[..., 1].astype(np.int16) for _, one in (first, second)]
    apart = np.abs(distances[0] - distances[1]).astype(np.uint8)
    maps[..., 1] = np.where(both > 127, apart, maps[..., 1])
    maps[..., 2] = np.maximum(maps[..., 2], (CROSSING * both).astype(np.uint8))
    return image, maps
