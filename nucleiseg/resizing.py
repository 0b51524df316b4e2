"""The scale at which the network sees an image: requested by a caller, and what becomes of sizes.

A *scale* is the model's micrometres per pixel over the image's: at scale 2 nuclei are twice as many
pixels across as the model is best at, so the network sees the image at half its size.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nucleiseg.model import Model

Scale = float | Literal["auto"]


SMALLEST, LARGEST = 1 / 4, 32.0
"""Scales that a caller may request: the image is magnified up to 4 times a side, or shrunk up to 32
times."""

TOLERANCE = 1.25
"""Scales within this factor of 1 count as 1: training zooms by more."""


def requested(
    scale: Scale, mpp: float | None, diameter: float | None, model: Model
) -> float | None:
    """Return the scale that a caller requested, None if `nucleiseg.autoscale` is to find it.

    Parameters
    ----------
    scale : float or "auto"
    mpp : float, optional
        Micrometres per pixel.
    diameter : float, optional
        Of a usual nucleus, in pixels.
    model : Model

    Raises
    ------
    ValueError
        One of them is not a positive number or out of range, or more than one was given.
    """
    given = [name for name, value in (("mpp", mpp), ("diameter", diameter)) if value is not None]
    if len(given) + (scale != "auto") > 1:
        names = " and ".join([*given, *(["scale"] if scale != "auto" else [])])
        raise ValueError(f"{names}: got both; accepted is one of scale, mpp and diameter")
    if mpp is not None:
        return _checked("mpp", model.mpp / _positive("mpp", mpp))
    if diameter is not None:
        return _checked("diameter", _positive("diameter", diameter) / model.diameter)
    if scale == "auto":
        return None
    if isinstance(scale, str):
        raise ValueError(f"scale: got {scale!r}; accepted are 'auto' and numbers above 0")
    return _checked("scale", _positive("scale", scale), exact=True)


def _positive(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < float("inf"):
        raise ValueError(f"{name}: got {value!r}; accepted are numbers above 0")
    return number


def _checked(name: str, scale: float, exact: bool = False) -> float:
    if not SMALLEST <= scale <= LARGEST:
        raise ValueError(
            f"{name}: got one that needs a scale of {scale:.3g}; accepted are scales of "
            f"{SMALLEST:g} to {LARGEST:g}"
        )
    return scale if exact else snapped(scale)


def snapped(scale: float) -> float:
    """Return 1 for scales that are close to it."""
    return 1.0 if 1 / TOLERANCE < scale < TOLERANCE else scale


def size(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Return the height and width of an image seen at a scale."""
    return max(1, round(shape[0] / scale)), max(1, round(shape[1] / scale))


def nearest(length: int, seen: int) -> NDArray[np.int64]:
    """Return which of an axis's ``seen`` pixels holds the centre of each of ``length`` pixels."""
    centres: NDArray[np.int64] = (2 * np.arange(length, dtype=np.int64) + 1) * seen
    return centres // (2 * length)
