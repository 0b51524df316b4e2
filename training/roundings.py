"""Factors and offsets that give the same levels whether a product is rounded before it is added to.

A sum of products S becomes the level nearest to S * factor + offset. The package's kernels round
this once, with a fused multiplication and addition; an engine that runs the ONNX graph node by node
rounds the product, then the sum, and where S * factor + offset is close to the middle between two
levels it may find the other one. There are at most 255 such places a channel, and the two floats
can be moved by some units in the last place without another level anywhere. So of the pairs nearby
that give the same levels with one rounding, that is taken with which two roundings differ least.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .integers import LEVELS

FACTOR_STEPS = 3
OFFSET_STEPS = 24
"""Units in the last place; further away hardly any pair gives the same levels."""

USUAL_LEVEL = 8
"""Levels are the rarer the larger they are: a difference at one counts half as much as at one that
is smaller by this."""

_Floats = NDArray[np.float32]
_Sums = NDArray[np.float64]


def once(sums: _Sums, factors: _Floats, offsets: _Floats) -> _Sums:
    """Return levels before they are limited, of one rounding to float32: (channels, sums)."""
    products = sums * factors[:, None].astype(np.float64)  # exact: 24 bits times 24
    return np.rint((products + offsets[:, None]).astype(np.float32)).astype(np.float64)


def twice(sums: _Sums, factors: _Floats, offsets: _Floats) -> _Sums:
    """Return levels before they are limited, of a product and a sum in float32."""
    products = sums.astype(np.float32) * factors[:, None]
    return np.rint(products + offsets[:, None]).astype(np.float64)


def near_ties(factors: _Floats, offsets: _Floats, lowest: float, largest: _Sums) -> _Sums:
    """Return the possible sums around each middle between two levels.

    Parameters
    ----------
    factors, offsets : ndarray, (channels,) float32
    lowest : float
        The lowest level; the highest is 127.
    largest : ndarray, (channels,) float64
        The largest absolute value of a channel's sums.

    Returns
    -------
    ndarray, (channels, sums) float64
    """
    middles = np.arange(lowest, LEVELS) + 0.5
    before = np.floor((middles - offsets[:, None]) / factors[:, None].astype(np.float64))
    sums = np.concatenate([before + step for step in (-1, 0, 1, 2)], axis=1)
    return np.clip(sums, -largest[:, None], largest[:, None])


def settle(
    factors: _Floats, offsets: _Floats, lowest: float, largest: _Sums
) -> tuple[_Floats, _Floats]:
    """Return factors and offsets with the same levels that depend less on the way of rounding.

    Parameters
    ----------
    factors, offsets, lowest, largest
        As of `near_ties`.

    Returns
    -------
    tuple of two ndarray, (channels,) float32
    """
    sums = near_ties(factors, offsets, lowest, largest)

    def limited(levels: _Sums) -> _Sums:
        return np.clip(levels, lowest, LEVELS)

    expected = limited(once(sums, factors, offsets))
    weights = np.exp2(-np.abs(expected) / USUAL_LEVEL)

    def cost(places: NDArray[np.intp], factors: _Floats, offsets: _Floats) -> _Sums:
        is_other = limited(twice(sums[places], factors, offsets)) != expected[places]
        return (is_other * weights[places]).sum(axis=1)

    best, found = (factors.copy(), offsets.copy()), cost(np.arange(len(factors)), factors, offsets)
    for factor_steps in sorted(range(-FACTOR_STEPS, FACTOR_STEPS + 1), key=abs):
        for offset_steps in sorted(range(-OFFSET_STEPS, OFFSET_STEPS + 1), key=abs):
            places = np.flatnonzero(found)
            if len(places) == 0:
                return best
            pair = (moved(factors[places], factor_steps), moved(offsets[places], offset_steps))
            costs = cost(places, *pair)
            taken = costs < found[places]
            taken &= (limited(once(sums[places], *pair)) == expected[places]).all(axis=1)
            places = places[taken]
            found[places] = costs[taken]
            for kept, candidate in zip(best, pair, strict=True):
                kept[places] = candidate[taken]
    return best


def moved(values: _Floats, steps: int) -> _Floats:
    """Return floats that are some units in the last place larger, or smaller."""
    for _ in range(abs(steps)):
        values = np.nextafter(values, np.float32(np.copysign(np.inf, steps)))
    return values
