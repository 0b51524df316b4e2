"""OME-Zarr pyramids, chunk by chunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.readers import zarr_folder
from nucleiseg.readers.stack import UnacceptedError, damage
from nucleiseg.slides.slide import Slide, chosen

_ONE_PLANE = "TZQ"


class ZarrSlide(Slide):
    """An OME-Zarr image of one plane.

    Parameters
    ----------
    path : Path
    channel : int or None

    Raises
    ------
    UnacceptedError
        Its metadata are damaged, it has several planes, or channels of which none was chosen.
    """

    def __init__(self, path: Path, channel: int | None) -> None:
        self.path = path
        with damage():
            attributes = zarr_folder.read_attributes(path)
            images = attributes.get("multiscales")
            if not images:
                raise UnacceptedError("is a Zarr folder without an OME-Zarr pyramid")
            axes = zarr_folder.axes_of(images[0])
            datasets = images[0]["datasets"]
            self._arrays = [
                zarr_folder.open_array(zarr_folder.array_folder(path, one["path"]))
                for one in datasets
            ]
            self._letters = zarr_folder.letters([axis["name"] for axis in axes])
            self._channels = _channels(self._letters, self._arrays[0].shape, channel)
            rows, columns = self._letters.index("Y"), self._letters.index("X")
            self.levels = [(one.shape[rows], one.shape[columns]) for one in self._arrays]
            if min(map(min, self.levels)) < 1:
                raise UnacceptedError("is damaged: it has a level without pixels")
            self.mpp = zarr_folder.mpp_of(axes, images[0], datasets[0])

    def read(self, level: int, row: int, column: int, height: int, width: int) -> NDArray[Any]:
        """Read a rectangle."""
        places: dict[str, Any] = {
            "Y": slice(row, row + height),
            "X": slice(column, column + width),
            "C": self._channels,
        }
        index = tuple(places.get(letter, 0) for letter in self._letters)
        try:
            with damage():
                values = np.asarray(self._arrays[level][index])
        except UnacceptedError as error:
            raise ValueError(f"{self.path}: level {level} {error}") from None
        if values.ndim == 3:
            values = np.moveaxis(
                values, self._letters.replace("T", "").replace("Z", "").index("C"), 2
            )
        return np.ascontiguousarray(values)


def _channels(letters: str, shape: tuple[int, ...], channel: int | None) -> int | slice:
    """Return the channels to read: one, or the three of uint8 RGB."""
    several = [size for letter, size in zip(letters, shape, strict=True) if letter in _ONE_PLANE]
    if any(size != 1 for size in several):
        raise UnacceptedError(f"has the shape {shape} ({letters}); accepted is one plane")
    count = shape[letters.index("C")] if "C" in letters else 1
    if channel is None and count in (3, 4):
        return slice(0, 3)
    return chosen(channel, count)
