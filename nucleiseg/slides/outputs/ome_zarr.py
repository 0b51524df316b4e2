"""Labels as a pyramid in OME-Zarr (NGFF 0.5, Zarr 3), for napari and other viewers.

https://ngff.openmicroscopy.org/0.5/. The labels are at the network's scale; each further level
keeps every second pixel of every second row, so that every pixel is still the id of a nucleus.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import extras
from nucleiseg.slides.nuclei import Nuclei, SlideInfo

VERSION = "0.5"
CHUNK = 1024
"""Pixels of a chunk's side. Chunks without nuclei are not stored."""

SMALLEST = 512
"""The pyramid ends where no side is longer."""

LABELS, NAME = "labels", "nuclei"
LARGEST_ID = np.iinfo(np.uint32).max


class OmeZarrLabels:
    """Writes ``labels.ome.zarr``, of which ``labels/nuclei`` is the pyramid, uint32.

    Blocks go straight to the first level; chunks that a block covers in part are read again. The
    other levels are made by `finish`, chunk by chunk, from the level above.

    Raises
    ------
    ModuleNotFoundError
        When constructed: the package zarr is not installed.
    """

    name = "labels.ome.zarr"

    def __init__(self) -> None:
        self._zarr = extras.load("zarr")

    def begin(self, info: SlideInfo, folder: Path) -> None:
        """Create the folder, its groups and the empty first level."""
        self._path, self._part = folder / self.name, folder / f".{self.name}.part"
        shutil.rmtree(self._part, ignore_errors=True)
        root = self._zarr.open_group(self._part, mode="w-", zarr_format=3)
        root.attrs["ome"] = {"version": VERSION}
        labels = root.create_group(LABELS)
        labels.attrs["ome"] = {"version": VERSION, "labels": [NAME]}
        self._group = labels.create_group(NAME)
        self._shapes = level_shapes(info.label_height, info.label_width)
        self._group.attrs["ome"] = _metadata(info, len(self._shapes))
        self._first = self._level(0)

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
        self._first[row : row + height, column : column + width] = labels.astype(np.uint32)

    def finish(self) -> None:
        """Write the further levels and give the folder its name."""
        above = self._first
        for index in range(1, len(self._shapes)):
            level = self._level(index)
            _halve(above, level)
            above = level
        shutil.rmtree(self._path, ignore_errors=True)
        self._part.rename(self._path)

    def discard(self) -> None:
        """Delete what was written, after a failure."""
        shutil.rmtree(self._part, ignore_errors=True)

    def _level(self, index: int) -> Any:
        from zarr.codecs import ZstdCodec

        return self._group.create_array(
            str(index),
            shape=self._shapes[index],
            chunks=(CHUNK, CHUNK),
            dtype="uint32",
            fill_value=0,
            compressors=ZstdCodec(level=1),
            dimension_names=("y", "x"),
        )


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Return the height and width of each level, from the largest."""
    shapes = [(height, width)]
    while max(shapes[-1]) > SMALLEST:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return shapes


def _metadata(info: SlideInfo, levels: int) -> dict[str, Any]:
    """Return the metadata of the pyramid, in micrometres of the slide.

    NGFF places the centre of a pixel: that of the labels' first pixel is between those of the
    pixels of level 0 that it covers, and a level that keeps every second pixel keeps the first.
    """
    across, down = info.label_mpp
    origin = [(down - info.mpp[1]) / 2, (across - info.mpp[0]) / 2]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [down * 2**level, across * 2**level]},
                {"type": "translation", "translation": origin},
            ],
        }
        for level in range(levels)
    ]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in ("y", "x")]
    multiscale = {"name": NAME, "axes": axes, "datasets": datasets, "type": "nearest"}
    return {"version": VERSION, "multiscales": [multiscale], "image-label": {"version": VERSION}}


def _halve(above: Any, level: Any) -> None:
    """Fill a level with every second pixel of the one above, one chunk at a time."""
    height, width = level.shape
    for row in range(0, height, CHUNK):
        for column in range(0, width, CHUNK):
            rows = slice(2 * row, 2 * (row + CHUNK))
            block = above[rows, 2 * column : 2 * (column + CHUNK)][::2, ::2]
            if block.any():
                level[row : row + CHUNK, column : column + CHUNK] = block
