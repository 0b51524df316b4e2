"""Labels of a slide, at the network's scale, as a pyramid in OME-Zarr.

See `nucleiseg.outputs.ome_zarr`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import extras, ome_zarr
from nucleiseg.slides.nuclei import Nuclei, SlideInfo

LARGEST_ID = np.iinfo(np.uint32).max


class OmeZarrLabels:
    """Writes ``labels.ome.zarr``, of which ``labels/nuclei`` is the pyramid, uint32.

    Blocks go straight to the first level; chunks that a block covers in part are read again. The
    other levels are made from the level above, chunk by chunk, as soon as its rows are complete.

    Raises
    ------
    ModuleNotFoundError
        When constructed: the package zarr is not installed.
    """

    about = "labels as an OME-Zarr pyramid"
    name = "labels.ome.zarr"

    def __init__(self) -> None:
        self._zarr = extras.load("zarr")

    def begin(self, info: SlideInfo, folder: Path) -> None:
        """Create the folder, its groups and the empty first level."""
        self._path, self._part = folder / self.name, folder / f".{self.name}.part"
        shutil.rmtree(self._part, ignore_errors=True)
        root = self._zarr.open_group(self._part, mode="w-", zarr_format=3)
        root.attrs["ome"] = {"version": ome_zarr.VERSION}
        self._group = ome_zarr.labels_group(root)
        self._shapes = ome_zarr.level_shapes(info.label_height, info.label_width)
        self._group.attrs["ome"] = _metadata(info, len(self._shapes))
        self._first = ome_zarr.create_level(self._group, 0, self._shapes[0], "uint32")
        self._pyramid = ome_zarr.Pyramid(self._group, self._first)

    def add(self, nuclei: Nuclei) -> None:
        """Ignore nuclei: this is an output of labels."""

    def add_labels(self, row: int, column: int, labels: NDArray[Any]) -> None:
        """Write a block, whose upper left pixel is named.

        Raises
        ------
        ValueError
            An id is beyond 32 bits, or the block is not within the slide.
        """
        height, width = labels.shape
        if row + height > self._shapes[0][0] or column + width > self._shapes[0][1]:
            raise ValueError(
                f"labels: got {height} x {width} pixels at ({row}, {column}); "
                f"accepted are blocks within {self._shapes[0]}"
            )
        if labels.size and labels.max() > LARGEST_ID:
            raise ValueError(f"labels: got id {labels.max()}; accepted are up to {LARGEST_ID}")
        # Blocks come from top to bottom. Two chunks make one of the next level.
        self._pyramid.complete(row - row % (2 * ome_zarr.CHUNK))
        self._first[row : row + height, column : column + width] = labels.astype(np.uint32)

    def finish(self) -> None:
        """Write the last rows of the further levels and give the folder its name."""
        self._pyramid.complete(self._shapes[0][0])
        shutil.rmtree(self._path, ignore_errors=True)
        self._part.rename(self._path)

    def discard(self) -> None:
        """Delete what was written, after a failure."""
        shutil.rmtree(self._part, ignore_errors=True)


def _metadata(info: SlideInfo, levels: int) -> dict[str, Any]:
    """Return the metadata of the pyramid, in micrometres of the slide.

    NGFF places the centre of a pixel: that of the labels' first pixel is between those of the
    pixels of level 0 that it covers, and a level that keeps every second pixel keeps the first.
    """
    across, down = info.label_mpp
    origin = [(down - info.mpp[1]) / 2, (across - info.mpp[0]) / 2]
    return ome_zarr.label_metadata(
        ome_zarr.multiscale(ome_zarr.GROUP, levels, (down, across), origin)
    )
