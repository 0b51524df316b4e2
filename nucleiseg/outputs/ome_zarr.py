"""Images and labels as pyramids in OME-Zarr (NGFF 0.5, Zarr 3), for napari and other viewers.

https://ngff.openmicroscopy.org/0.5/. Each further level keeps every second pixel of every second
row of the one above, so that every pixel of labels is still the number of a nucleus.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import extras
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "zarr", "OME-Zarr images with labels"
ABOUT = "image and labels as OME-Zarr"
FOLDER = True
ENDING = "_nuclei.ome.zarr"

NEEDS = "zarr"

VERSION = "0.5"
CHUNK = 1024
"""Pixels of a chunk's side. Chunks of zeros are not stored."""

SMALLEST = 512
"""The pyramid ends where no side is longer."""

LABELS, GROUP = "labels", "nuclei"

_COLOURS = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}


def write(result: Segmented, folder: Path) -> None:
    """Write the image as a pyramid, and its labels below ``labels/nuclei``.

    Raises
    ------
    ModuleNotFoundError
        The package zarr is not installed.
    """
    image = result.image.transpose(2, 0, 1)[:3] if result.image.ndim == 3 else result.image
    root = extras.load(NEEDS).open_group(folder, mode="w-", zarr_format=3)
    scale = (result.mpp or 1.0,) * 2
    unit = "micrometer" if result.mpp else None
    levels = len(level_shapes(*result.labels.shape))
    channels = len(image) if image.ndim == 3 else None
    metadata = multiscale("image", levels, scale, unit=unit, channels=channels)
    root.attrs["ome"] = {"version": VERSION, "multiscales": [metadata], **_display(image)}
    _fill(root, image)
    group = labels_group(root)
    metadata = multiscale(GROUP, levels, scale, unit=unit)
    group.attrs["ome"] = label_metadata(metadata, image="../../")
    _fill(group, result.labels.astype(np.uint32))


def labels_group(root: Any) -> Any:
    """Return a new group for the pyramid of labels below the root of a store."""
    labels = root.create_group(LABELS)
    labels.attrs["ome"] = {"version": VERSION, "labels": [GROUP]}
    return labels.create_group(GROUP)


def label_metadata(metadata: dict[str, Any], image: str | None = None) -> dict[str, Any]:
    """Return the metadata of a pyramid of labels, of the image at a relative path."""
    about: dict[str, Any] = {"version": VERSION}
    if image:
        about["source"] = {"image": image}
    return {"version": VERSION, "multiscales": [metadata], "image-label": about}


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Return the height and width of each level, from the largest."""
    shapes = [(height, width)]
    while max(shapes[-1]) > SMALLEST:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return shapes


def multiscale(
    name: str,
    levels: int,
    scale: Sequence[float],
    origin: Sequence[float] = (0.0, 0.0),
    unit: str | None = "micrometer",
    channels: int | None = None,
) -> dict[str, Any]:
    """Return the metadata of a pyramid.

    Parameters
    ----------
    name : str
    levels : int
    scale : sequence of float
        Of the first level, along y and x.
    origin : sequence of float
        The centre of the first pixel, which is that of every level.
    unit : str or None
        Of both; None where the size of a pixel is not known.
    channels : int or None
        None where the arrays have no axis of channels.
    """
    axes: list[dict[str, str]] = [
        {"name": axis, "type": "space", **({"unit": unit} if unit else {})} for axis in ("y", "x")
    ]
    before, nowhere = [], []
    if channels:
        axes.insert(0, {"name": "c", "type": "channel"})
        before, nowhere = [1.0], [0.0]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [*before, *(each * 2**level for each in scale)]},
                {"type": "translation", "translation": [*nowhere, *origin]},
            ],
        }
        for level in range(levels)
    ]
    return {"name": name, "axes": axes, "datasets": datasets, "type": "nearest"}


def create_level(group: Any, index: int, shape: Sequence[int], dtype: Any) -> Any:
    """Return a new array for a level, (H, W) or (C, H, W), of zeros."""
    from zarr.codecs import ZstdCodec

    return group.create_array(
        str(index),
        shape=tuple(shape),
        chunks=(*[1] * (len(shape) - 2), CHUNK, CHUNK),
        dtype=dtype,
        fill_value=0,
        compressors=ZstdCodec(level=1),
        dimension_names=("c", "y", "x")[-len(shape) :],
    )


class Pyramid:
    """Makes the further levels of a pyramid while the first one is written.

    Parameters
    ----------
    group : zarr.Group
    first : zarr.Array
        The first level, (H, W) or (C, H, W).
    """

    def __init__(self, group: Any, first: Any) -> None:
        shapes = level_shapes(*first.shape[-2:])[1:]
        self._levels = [first] + [
            create_level(group, index, (*first.shape[:-2], *shape), first.dtype)
            for index, shape in enumerate(shapes, start=1)
        ]
        self._done = [0] * len(self._levels)  # rows of each level

    def complete(self, rows: int) -> None:
        """Write what depends on the first rows of the first level, which are complete."""
        self._done[0] = max(rows, self._done[0])
        for index, (above, level) in enumerate(itertools.pairwise(self._levels), start=1):
            ready = -(-self._done[index - 1] // 2)
            if self._done[index - 1] < above.shape[-2]:
                ready -= ready % CHUNK
            for row in range(self._done[index], ready, CHUNK):
                _halve(above, level, row)
            self._done[index] = max(ready, self._done[index])


def _halve(above: Any, level: Any, row: int) -> None:
    """Write a row of a level's chunks from the level above, chunk by chunk."""
    for column in range(0, level.shape[-1], CHUNK):
        block = _halved(above, 2 * row, 2 * column)
        if block.any():
            level[..., row : row + CHUNK, column : column + CHUNK] = block


def _halved(above: Any, row: int, column: int) -> NDArray[Any]:
    """Return every second pixel of four chunks, in memory one at a time."""
    height, width = above.shape[-2:]
    return np.block(
        [
            [
                above[..., top : top + CHUNK, left : left + CHUNK][..., ::2, ::2].copy()
                for left in range(column, min(column + 2 * CHUNK, width), CHUNK)
            ]
            for top in range(row, min(row + 2 * CHUNK, height), CHUNK)
        ]
    )


def _fill(group: Any, pixels: NDArray[Any]) -> None:
    """Write all levels of an array, (H, W) or (C, H, W)."""
    first = create_level(group, 0, pixels.shape, pixels.dtype)
    first[...] = pixels
    Pyramid(group, first).complete(first.shape[-2])


def _display(image: NDArray[Any]) -> dict[str, Any]:
    """Return how viewers show the channels of an RGB image, (C, H, W)."""
    if image.ndim != 3 or len(image) != len(_COLOURS):
        return {}
    low, high = (0, 255) if image.dtype == np.uint8 else (float(image.min()), float(image.max()))
    window = {"min": low, "max": high, "start": low, "end": high}
    channels = [
        {"label": label, "color": colour, "active": True, "window": window}
        for label, colour in _COLOURS.items()
    ]
    return {"omero": {"channels": channels, "rdefs": {"model": "color"}}}
