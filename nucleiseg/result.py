"""The result of segmenting one image."""

from __future__ import annotations

import base64
import copy
import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images, outputs
from nucleiseg.limits import Limits
from nucleiseg.outputs import overlays
from nucleiseg.outputs.outlines import Outlines
from nucleiseg.outputs.smooth import smoothed
from nucleiseg.outputs.table import Table

RING = 5
"""Pixels around a nucleus within which the background is measured."""

SHOWN = 512
"""Longest side in pixels of the picture that a notebook shows."""


@dataclass(eq=False, repr=False)
class Result:
    """The nuclei of one image, as `nucleiseg.Segmenter.analyze` returns them.

    ``len(result)`` is the number of nuclei.

    Attributes
    ----------
    image : ndarray, (H, W) or (H, W, C)
        The pixels as read, of any dtype.
    mask : ndarray, (H, W) bool
        True where nucleus.
    labels : ndarray, (H, W) int32
        0 background, 1..n a nucleus each.
    maps : ndarray, (H, W, 2) uint8, or None
        Nucleus probability and centre distance, 0..255 for 0..1; None where they were not kept.
    scale : float
        The factor by which the network saw the image shrunk.
    mpp : float or None
        Micrometres per pixel, None where unknown.
    limits : Limits or None
        The intensities that became 0 and 255; ``limits.doubt`` says why they may not be right.
    name : str
        Of the image's file, empty where it came from none.
    plane : str
        Which plane of the file it is, such as ``"_z003"``; empty where the file holds one.
    ring : int
        Pixels around a nucleus within which the background is measured.
    smooth : bool
        Whether the outlines are smoothed.
    threads : int
        Processor threads for measuring.

    Raises
    ------
    ValueError
        The image, mask, labels and maps do not have the same height and width.
    """

    image: NDArray[Any]
    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    maps: NDArray[np.uint8] | None = None
    scale: float = 1.0
    mpp: float | None = None
    limits: Limits | None = None
    name: str = ""
    plane: str = ""
    ring: int = RING
    smooth: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        """Check that the arrays belong together."""
        shape = self.image.shape
        if len(shape) not in (2, 3) or 0 in shape:
            raise ValueError(
                f"image: got shape {shape}; accepted are (H, W) and (H, W, C) from 1 x 1 up"
            )
        for name in ("mask", "labels", "maps"):
            array = getattr(self, name)
            if array is not None and array.shape[:2] != shape[:2]:
                raise ValueError(
                    f"{name}: got {' x '.join(map(str, array.shape[:2]))} pixels; "
                    f"accepted are the image's {shape[0]} x {shape[1]}"
                )

    @cached_property
    def _count(self) -> int:
        return int(self.labels.max(initial=0))

    def __len__(self) -> int:
        """Return the number of nuclei."""
        return self._count

    @property
    def doubt(self) -> str:
        """Why the intensities may have been misread, in a sentence; empty if they were not."""
        return (self.limits.doubt if self.limits else None) or ""

    @cached_property
    def table(self) -> Table:
        """A dict of columns, one row for each label; measured when first asked for.

        ``table.to_pandas()`` returns a data frame. ``docs/outputs.md`` lists the columns.
        """
        return Table.of(self.image, self.labels, self.maps, self.mpp, self.ring, self.threads)

    @cached_property
    def outlines(self) -> Outlines:
        """The polygons of each nucleus; computed when first asked for."""
        found = Outlines.of(self.labels, self.threads)
        return smoothed(found, self.labels.shape) if self.smooth else found

    def __repr__(self) -> str:
        """Return the number of nuclei and their median diameter."""
        count = f"{len(self):,} {'nucleus' if len(self) == 1 else 'nuclei'}"
        if not len(self):
            return f"Result({count})"
        diameter = float(np.median(self.table["equivalent_diameter_area"]))
        physical = f" ({diameter * self.mpp:.1f} µm)" if self.mpp else ""
        return f"Result({count}, median diameter {diameter:.1f} pixels{physical})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the image with outlines, and what `repr` says."""
        picture = overlays.draw(*overlays.shrunk(self.image, self.labels, SHOWN))
        data = base64.b64encode(images.png(picture)).decode("ascii")
        words = [html.escape(text) for text in (self.name + self.plane, repr(self), self.doubt)]
        caption = "<br>".join(text for text in words if text)
        return (
            f'<figure><img alt="outlines of nuclei" src="data:image/png;base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )

    def save(self, path: str | Path, formats: str | Sequence[str] = "labels,csv") -> list[Path]:
        """Write files, each whole or not at all.

        Parameters
        ----------
        path : str or Path
            What the files' names begin with: ``"out/slide"`` becomes ``out/slide_labels.png``.
            Folders are made, and files of these names are replaced.
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
        named = self
        if not self.name:
            named = copy.copy(self)
            named.name = stem.name
        return [each.save(stem, named) for each in chosen]
