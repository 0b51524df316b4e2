"""Lengths as image files give them."""

from __future__ import annotations

import math

MICROMETRES = {
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter, beside the micro sign above
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "angstrom": 1e-4,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "inch": 25_400.0,
    "m": 1e6,
    "meter": 1e6,
}
"""Micrometres in the units that OME-XML, ImageJ and OME-Zarr name."""

_SQUARE = 0.01
"""Pixels whose sides differ by more than this part have no single size."""


def pixel_size(x: float, y: float) -> float | None:
    """Return the side of a square pixel, None where the sides differ or are no lengths."""
    if not (0 < x < math.inf and 0 < y < math.inf) or abs(x - y) > _SQUARE * max(x, y):
        return None
    return math.sqrt(x * y)
