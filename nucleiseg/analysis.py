"""Segmenting and measuring in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images, outputs
from nucleiseg.limits import Limits
from nucleiseg.outputs.outlines import Outlines
from nucleiseg.outputs.result import RING, Result
from nucleiseg.outputs.table import Table

if TYPE_CHECKING:
    from nucleiseg.segmenter import Segmenter


class Analysis:
    """The nuclei of one image, as `nucleiseg.Segmenter.analyze` gives them.

    Attributes
    ----------
    result : Result
        What is written to files.
    scale : float
        How far the network saw the image shrunk.
    limits : Limits
        The intensities that became 0 and 255; ``limits.doubt`` says why they may not be right.
    """

    def __init__(self, result: Result, scale: float, limits: Limits) -> None:
        self.result = result
        self.scale = scale
        self.limits = limits

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool, True where nucleus."""
        return self.result.mask

    @property
    def labels(self) -> NDArray[np.int32]:
        """(H, W) int32, 0 background, 1..n a nucleus each."""
        return self.result.labels

    @property
    def mpp(self) -> float | None:
        """Micrometres a pixel, None where unknown."""
        return self.result.mpp

    @property
    def table(self) -> Table:
        """A dict of columns, one row for each label; measured when first asked for.

        ``table.to_pandas()`` gives a data frame. ``docs/outputs.md`` tells of the columns.
        """
        return self.result.table

    @property
    def outlines(self) -> Outlines:
        """The polygons of each nucleus; found when first asked for."""
        return self.result.outlines

    def __len__(self) -> int:
        """How many nuclei there are."""
        return self.result.nuclei

    def __repr__(self) -> str:
        """Say how many there are and how large."""
        count = f"{len(self):,} {'nucleus' if len(self) == 1 else 'nuclei'}"
        if not len(self):
            return f"Analysis({count})"
        diameter = float(np.median(self.table["equivalent_diameter_area"]))
        physical = f" ({diameter * self.mpp:.1f} µm)" if self.mpp else ""
        return f"Analysis({count}, median diameter {diameter:.1f} pixels{physical})"

    def save(self, path: str | Path, formats: str | Sequence[str] = "labels,csv") -> list[Path]:
        """Write files.

        Parameters
        ----------
        path : str or Path
            What the files' names begin with: ``"out/slide"`` becomes ``out/slide_labels.png``.
            Folders are made.
        formats : str or sequence of str
            Names of formats, such as ``"geojson,csv"`` or ``["geojson", "csv"]``; see
            ``docs/outputs.md``.

        Returns
        -------
        list of Path
            The files, in the order of the formats.

        Raises
        ------
        ValueError
            A format is unknown.
        ModuleNotFoundError
            A format needs a package that is not installed.
        OSError
            A file cannot be written.
        """
        chosen = outputs.formats(formats if isinstance(formats, str) else ",".join(formats))
        stem = Path(path)
        outputs.prepare(stem.parent)
        return [each.save(stem, self.result) for each in chosen]


def analyze(
    segmenter: Segmenter, image: Any, ring: int = RING, *, mpp: float | None = None, **size: Any
) -> Analysis:
    """Do what `nucleiseg.Segmenter.analyze` does; ``size`` is a scale or a diameter."""
    if isinstance(ring, bool) or not isinstance(ring, int | np.integer) or ring < 0:
        raise ValueError(f"ring: got {ring!r}; accepted are whole numbers of pixels from 0 up")
    name, known = "", mpp
    if isinstance(image, str | Path):
        name, plane = Path(image).name, next(images.open(image))
        image, known = plane.array, mpp or plane.mpp
    found = segmenter.segment_all(image, mpp=mpp, **size)
    pixels, threads = segmenter.pixels(image), segmenter.threads
    result = Result(pixels, found.mask, found.labels, known, found.maps, name, int(ring), threads)
    return Analysis(result, found.scale, found.limits)
