"""What the formats are given of a segmented image."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.outlines import Outlines
from nucleiseg.outputs.table import Table


class Segmented(Protocol):
    """The part of `nucleiseg.result.Result` that is written to files; see there."""

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    mpp: float | None
    name: str
    plane: str
    smooth: bool

    @property
    def table(self) -> Table:
        """The measurements of the nuclei."""
        ...

    @property
    def outlines(self) -> Outlines:
        """The polygons of the nuclei."""
        ...

    def __len__(self) -> int:
        """Return the number of nuclei."""
        ...
