"""What a slide's segmentation hands to the outputs: its nuclei, its labels and what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Nuclei:
    """Some of a slide's nuclei, in the order of their ids, as columns of equal length n.

    Attributes
    ----------
    id : ndarray, (n,) int64
        Ascending. Over the whole slide 1, 2, 3, ... in raster order of first pixels.
    area : ndarray, (n,) float64
        Square pixels of level 0.
    centroid : ndarray, (n, 2) float64
        Row and column in pixels of level 0, from the upper left corner of its upper left pixel.
    diameter : ndarray, (n,) float64
        Of the circle of that area, in pixels of level 0.
    confidence : ndarray, (n,) float32
        Mean probability of the nucleus's pixels, 0 to 1.
    outline_offsets : ndarray, (n + 1,) int64
        Nucleus i's outline is ``outline_points[outline_offsets[i] : outline_offsets[i + 1]]``.
    outline_points : ndarray, (m, 2) float32
        Row and column in pixels of level 0; closed rings without the repeated last point.
    features : dict of str to ndarray, (n,)
        Further measurements.
    """

    id: NDArray[np.int64]
    area: NDArray[np.float64]
    centroid: NDArray[np.float64]
    diameter: NDArray[np.float64]
    confidence: NDArray[np.float32]
    outline_offsets: NDArray[np.int64]
    outline_points: NDArray[np.float32]
    features: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many nuclei there are."""
        return len(self.id)

    def part(self, first: int, last: int) -> Nuclei:
        """Return nuclei ``first`` to ``last - 1``, or up to the end."""
        offsets = self.outline_offsets[first : last + 1]
        columns = ("id", "area", "centroid", "diameter", "confidence")
        return Nuclei(
            **{name: getattr(self, name)[first:last] for name in columns},
            outline_offsets=offsets - offsets[0],
            outline_points=self.outline_points[offsets[0] : offsets[-1]],
            features={name: values[first:last] for name, values in self.features.items()},
        )


@dataclass(frozen=True)
class SlideInfo:
    """What an output needs to know of the slide and of the run.

    Attributes
    ----------
    path : Path
    width, height : int
        Pixels of level 0.
    mpp : tuple of float
        Micrometres per pixel of level 0, along x and y.
    scale : float
        Pixels of level 0 for one pixel of the labels, along a side.
    model : dict of str to str
        Name, version and SHA-256.
    settings : dict
        Of the run; the same for every region size, number of workers and restart.
    label_height, label_width : int
        Size of the labels, which are at the network's scale.
    label_mpp : tuple of float
        Micrometres per pixel of the labels, along x and y.
    picture : ndarray or None
        The whole slide at any size, as `nucleiseg.segment` takes an image, to draw on.
    good_diameters : tuple of float, or None
        Of usual nuclei, in pixels of the labels, that the model is made for.
    """

    path: Path
    width: int
    height: int
    mpp: tuple[float, float]
    scale: float
    model: dict[str, str]
    settings: dict[str, Any]
    label_height: int
    label_width: int
    label_mpp: tuple[float, float]
    picture: NDArray[Any] | None = None
    good_diameters: tuple[float, float] | None = None

    @property
    def mean_mpp(self) -> float:
        """Micrometres per pixel of level 0 for lengths of any direction: the geometric mean."""
        return float(np.sqrt(self.mpp[0] * self.mpp[1]))


class Output(Protocol):
    """Writes one format while a slide is segmented.

    It writes to temporary names, which `finish` gives their own.
    """

    def begin(self, info: SlideInfo, folder: Path) -> None:
        """Begin, before any nuclei come."""
        ...

    def add(self, nuclei: Nuclei) -> None:
        """Take the next nuclei, whose ids follow those of the last call."""
        ...

    def add_labels(self, row: int, column: int, labels: NDArray[np.int32]) -> None:
        """Take a block of the labels with final ids, whose upper left pixel is named.

        Blocks come in raster order on a fixed grid; those without nuclei do not come.
        """
        ...

    def finish(self) -> None:
        """Name the files, after the last nuclei and labels."""
        ...
