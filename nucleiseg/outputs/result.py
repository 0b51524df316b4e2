"""What there is to write about one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Result:
    """One segmented image.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), any dtype: the pixels as read.
    mask
        (H, W) bool.
    labels
        (H, W) int32, 0 background, 1..n a nucleus each.
    mpp
        Micrometres a pixel as the image's file says it, None where it does not.
    """

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    mpp: float | None = None

    @property
    def nuclei(self) -> int:
        """How many nuclei there are."""
        return int(self.labels.max(initial=0))


def beside(stem: Path, ending: str) -> Path:
    """Add an ending to a stem, which may itself hold dots."""
    return stem.with_name(stem.name + ending)
