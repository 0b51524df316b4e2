"""The two intensities of an image that become 0 and 255, and what is known of them."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """What ``csrc/kernels/limits.h`` defines, of one image.

    Attributes
    ----------
    low, high : float
        The intensities that become 0 and 255.
    ceiling : float
        Values above it are set apart and become 0; infinite where nothing is set apart.
    apart : float
        The part of the values that is set apart as far beyond all others, 0 to 1.
    """

    low: float
    high: float
    ceiling: float
    apart: float

    @property
    def is_blank(self) -> bool:
        """Whether nothing in the image stands out from its noise."""
        return self.high <= self.low

    @property
    def doubt(self) -> str | None:
        """Why the limits may not be right, for people to read; None where they are."""
        if self.is_blank:
            return "nothing in it stands out from its noise"
        if self.apart:
            return (
                f"{_percent(self.apart)} of its values are far beyond all others and were left "
                "out (no data, hot pixels or debris)"
            )
        return None


def _percent(part: float) -> str:
    return f"{part:.2%}" if part >= 0.0001 else "less than 0.01%"
