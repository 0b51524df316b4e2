"""What there is to write about one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.outlines import Outlines
from nucleiseg.outputs.table import Table

RING = 5
"""Pixels around a nucleus whose background counts as its own."""


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
        Micrometres a pixel, None where unknown.
    maps
        (H, W, 2) uint8 as the network gave them, None where they were not kept.
    name
        Of the image's file, empty where it came from none.
    ring
        Pixels around a nucleus within which the background is measured.
    threads
        Processor threads for measuring.
    """

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    mpp: float | None = None
    maps: NDArray[np.uint8] | None = None
    name: str = ""
    ring: int = RING
    threads: int = 1

    @cached_property
    def nuclei(self) -> int:
        """How many nuclei there are."""
        return int(self.labels.max(initial=0))

    @cached_property
    def outlines(self) -> Outlines:
        """The polygons of all nuclei, found when first asked for."""
        return Outlines.of(self.labels, self.threads)

    @cached_property
    def table(self) -> Table:
        """The measurements of all nuclei, taken when first asked for."""
        return Table.of(self.image, self.labels, self.maps, self.mpp, self.ring, self.threads)


def beside(stem: Path, ending: str) -> Path:
    """Add an ending to a stem, which may itself hold dots."""
    return stem.with_name(stem.name + ending)
