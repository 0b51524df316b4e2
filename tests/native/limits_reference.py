"""The definition of an image's limits (csrc/kernels/limits.h) in NumPy, on sorted values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = np.float32

ROWS, COLUMNS, LAG = 32, 256, 2
NOISE_SPAN, NOISE_RISE = F32(7), F32(6)
LEAST_LEVELS, MOST_LEVELS, CONTRAST, QUANTIZED_RISE = F32(20), F32(40), F32(1) / F32(6), F32(0.75)
USUAL, FAR, GAP, GAP_SHARE = 85, 7, 6, 16
SPARSE, SPARSE_HIGH, SPARSE_LOW, ONE_SIDED, FEWEST = 50, 10, 2, 10, 32
BINS = 257


class Found(NamedTuple):
    low: float
    high: float
    above: int  # values above the ceiling
    apart: float


def colours(image: NDArray) -> NDArray:
    return image[..., :3] if image.ndim == 3 else image[..., None]


def find(image: NDArray, low: float, high: float) -> Found:
    values = colours(image)
    is_float = values.dtype.kind == "f"
    background, rise, span = noise(values)
    ordered = np.sort(values.reshape(-1).astype(F32))
    counted = coarse(ordered) if is_float else ordered
    with np.errstate(over="ignore"):
        excess = counted - background
        ratio = np.abs(excess) * (F32(1) / rise)
    bins = np.minimum((ratio.view(np.uint32) >> 22).astype(np.int64) - (0x3F800000 >> 22), BINS - 1)
    is_above = counted > background
    above, below = (
        np.bincount(bins[(bins >= 0) & side], minlength=BINS) for side in (is_above, ~is_above)
    )
    end = first_apart(above + below, ordered.size)
    apart = bins >= end
    kept = ordered[~apart]
    first, last = ranks(int(above[:end].sum()), int(below[:end].sum()), kept.size, low, high)
    lower, upper = kept[first], kept[last]
    upper = lower if upper - lower < span else upper
    return Found(
        float(lower), float(upper), int((apart & is_above).sum()), float(apart.sum() / ordered.size)
    )


def noise(values: NDArray) -> tuple[F32, F32, F32]:
    """Return the background, the least rise of the foreground, and the least span of limits."""
    height, width = values.shape[:2]
    down, across, lag = max(1, height // ROWS), max(1, width // COLUMNS), min(LAG, width - 1)
    columns = np.arange(across // 2, width, across)
    pairs = columns[columns + lag < width] if lag else columns[:0]
    rows = values[down // 2 :: down].astype(F32)
    differences = np.abs(rows[:, pairs + lag] - rows[:, pairs]).reshape(-1)
    background = median(rows[:, columns])
    difference = median(differences) if differences.size else F32(0)
    steps = differences[differences > 0]
    contrast = np.abs(background) * CONTRAST
    if values.dtype == np.uint8:
        quantized = min(max(contrast, LEAST_LEVELS), MOST_LEVELS)
    else:
        with np.errstate(over="ignore"):
            quantized = min(contrast, MOST_LEVELS * (steps.min() if steps.size else F32(0)))
    with np.errstate(over="ignore"):
        rise = max(NOISE_RISE * difference, QUANTIZED_RISE * quantized, np.finfo(F32).tiny)
        return background, F32(rise), max(NOISE_SPAN * difference, quantized)


def median(values: NDArray) -> F32:
    return np.sort(values.reshape(-1))[(values.size - 1) // 2]


def coarse(values: NDArray) -> NDArray:
    """Return the values that stand for all with the same high half of their order keys."""
    bits = values.view(np.uint32)
    negative = bits >> 31 == 1
    return np.where(negative, bits | 0xFFFF, bits & 0xFFFF0000).astype(np.uint32).view(F32)


def first_apart(counts: NDArray, every: int) -> int:
    """Return the first bin of the excess that is set apart; one too many where none is."""
    total = int(counts.sum())
    if total == 0:
        return BINS
    sums = np.cumsum(counts)
    end = int(np.searchsorted(sums, -(-total * USUAL // 100))) + FAR
    top = int(np.flatnonzero(counts)[-1])
    for first in range(2, top - GAP + 1):
        inside = sums[first - 1] - sums[1]
        outside = total - sums[first + GAP - 1]
        gap = sums[first + GAP - 1] - sums[first - 1]
        if inside > 0 and gap * GAP_SHARE <= outside and outside * 2 <= every:
            end = min(end, first)
            break
    return end if end <= top else BINS


def ranks(above: int, below: int, kept: int, low: float, high: float) -> tuple[int, int]:
    first, last = int((kept - 1) * (low / 100)), int((kept - 1) * (high / 100))
    if (above + below) * SPARSE < kept:
        if above >= FEWEST and above * ONE_SIDED >= below:
            last = max(last, kept - 1 - above // SPARSE_HIGH)
        if below >= FEWEST and below * ONE_SIDED >= above:
            first = min(first, below // SPARSE_LOW)
    return first, last
