"""An image as the network sees it at a scale, and results brought back to the image's own size.

`nucleiseg.autoscale` says what a scale is and finds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu


class Resized:
    """An image as the network sees it, of which any part can be computed by itself.

    ``resized[rows, columns]`` takes two slices and returns an array of the image's dtype: shrunk by
    averaging, magnified by cubics.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
    scale : float
    threads : int

    Attributes
    ----------
    shape : tuple of int
        (H / scale, W / scale[, C])
    """

    def __init__(self, image: NDArray[Any], scale: float, threads: int = 1) -> None:
        self._image = image
        self._threads = threads
        self.shape = (*size(image.shape, scale), *image.shape[2:])

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[Any]:
        """Compute a part."""
        height, width = self.shape[:2]
        (top, bottom, _), (left, right, _) = part[0].indices(height), part[1].indices(width)
        first, last = self._sources(top, bottom)
        # Only what is needed, since another machine's order of bytes is changed in a copy.
        return cpu.resize(
            self._image[first:last],
            height,
            width,
            rows=(top, bottom),
            columns=(left, right),
            above=first,
            below=self._image.shape[0] - last,
            threads=self._threads,
        )

    def _sources(self, top: int, bottom: int) -> tuple[int, int]:
        """Return the range of the image's rows that some rows are computed from, or a wider one."""
        step, reach = self._image.shape[0] / self.shape[0], 3
        first = max(0, int(top * step) - reach)
        return first, min(self._image.shape[0], int(bottom * step) + reach)


def resized(image: NDArray[Any], scale: float) -> NDArray[Any]:
    """Return the whole of an image as the network sees it; see `Resized`."""
    return image if scale == 1 else Resized(image, scale)[:, :]


def size(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Return the height and width of an image seen at a scale."""
    return max(1, round(shape[0] / scale)), max(1, round(shape[1] / scale))


def restored(array: NDArray[Any], shape: tuple[int, int], smooth: bool) -> NDArray[Any]:
    """Bring maps (smoothly) or labels (by nearest neighbours) back to the image's own size."""
    if array.shape[:2] == shape:
        return array
    import cv2

    method = cv2.INTER_NEAREST_EXACT
    if smooth:
        method = cv2.INTER_AREA if array.shape[0] > shape[0] else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(array, shape[::-1], interpolation=method))


def nearest(length: int, seen: int) -> NDArray[np.int64]:
    """Return which of an axis's ``seen`` pixels holds the centre of each of ``length`` pixels."""
    centres: NDArray[np.int64] = (2 * np.arange(length, dtype=np.int64) + 1) * seen
    return centres // (2 * length)
