"""How large nuclei are in an image, and resizing it to where the model is at its best.

A *scale* is the model's micrometres a pixel over the image's: 2 means that nuclei are twice as many
pixels across as the model likes, so the network sees the image at half its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.model import Model

Scale = float | Literal["auto"]


class Size(TypedDict, total=False):
    """How large nuclei are: one of these, as `nucleiseg.Segmenter.segment` takes them."""

    scale: Scale
    mpp: float | None
    diameter: float | None


LARGEST, SMALLEST = 32.0, 1 / 4
"""Limits of a scale: the image is shrunk at most 32 times a side, or magnified four times."""

LARGEST_FOUND, SMALLEST_FOUND = 16.0, 1 / 3
"""Limits of what "auto" chooses by itself. Magnifying costs the square of its factor."""

TOLERANCE = 1.25
"""Scales between the inverse of this and this are taken as 1: the network is trained for more."""

FEWEST = 5
"""Nuclei below this number are not magnified: specks of dust are small and few."""

ROOM = 8192
"""Pixels that have room for a nucleus: fewer than `FEWEST` will do in a small image."""

SPECKS = 0.5
"""Nuclei are looked for as if the image had been shrunk by this, down to a quarter of the model's
least area: those that need to be magnified are smaller than it takes for nuclei."""

UNSURE, SURE = 1 / 4, 1 / 3
"""A look is doubtful if sure nuclei have less of the area of all that it saw than the first, and
another scale is taken instead if they have at least the second there."""

OTHERS = (1 / 3, 2.0, 4.0, 8.0)
"""Scales that are tried after a doubtful look, where they are twice or half its own or beyond."""

SURER = 2.0
"""How many times as much sure nuclei have to cover at another scale for it to be taken."""

OTHERWISE = 2.0
"""How many times as much as at first may be seen where the image is magnified: more is texture."""

MANY = 8
"""Sure nuclei below this number do not decide for another scale."""

WINDOW = 320
"""Side of the windows, in pixels of what the network sees, on which nuclei are measured."""

WINDOWS = 4

THUMBNAIL = 1_000_000
"""Pixels of a large image that are looked at to choose the windows."""


def requested(
    scale: Scale, mpp: float | None, diameter: float | None, model: Model
) -> float | None:
    """Give the scale that a caller asked for, None if it is to be found.

    Parameters
    ----------
    scale : float or "auto"
    mpp : float, optional
        Micrometres a pixel.
    diameter : float, optional
        Of a usual nucleus, in pixels.
    model : Model

    Raises
    ------
    ValueError
        One of them is no positive number or out of range, or more than one was given.
    """
    given = [name for name, value in (("mpp", mpp), ("diameter", diameter)) if value is not None]
    if len(given) + (scale != "auto") > 1:
        names = " and ".join([*given, *(["scale"] if scale != "auto" else [])])
        raise ValueError(f"{names}: got both; accepted is one of scale, mpp and diameter")
    if mpp is not None:
        return _checked("mpp", model.mpp / _positive("mpp", mpp))
    if diameter is not None:
        return _checked("diameter", _positive("diameter", diameter) / model.diameter)
    if scale == "auto":
        return None
    if isinstance(scale, str):
        raise ValueError(f"scale: got {scale!r}; accepted are 'auto' and numbers above 0")
    return _checked("scale", _positive("scale", scale), exact=True)


def _positive(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < float("inf"):
        raise ValueError(f"{name}: got {value!r}; accepted are numbers above 0")
    return number


def _checked(name: str, scale: float, exact: bool = False) -> float:
    if not SMALLEST <= scale <= LARGEST:
        raise ValueError(
            f"{name}: got one that needs a scale of {scale:.3g}; accepted are scales of "
            f"{SMALLEST:g} to {LARGEST:g}"
        )
    return scale if exact else _snapped(scale)


def _snapped(scale: float) -> float:
    return 1.0 if 1 / TOLERANCE < scale < TOLERANCE else scale


@dataclass(frozen=True)
class Seen:
    """What a look at an image found.

    Attributes
    ----------
    small, sure : ndarray, (n,) float64
        Diameters in the network's pixels: of nuclei as small and faint as they come, and of those
        that are whole and no noise.
    pixels : int
        How many the network saw.
    """

    small: NDArray[np.float64]
    sure: NDArray[np.float64]
    pixels: int

    @property
    def area(self) -> float:
        """Give the share of the pixels that all nuclei cover."""
        return self._share(self.small)

    @property
    def cover(self) -> float:
        """Give the share of the pixels that sure nuclei cover."""
        return self._share(self.sure)

    @property
    def certainty(self) -> float:
        """Give the area of sure nuclei over that of all; 0 where there are none."""
        return self.cover / self.area if self.area else 0.0

    @property
    def is_doubtful(self) -> bool:
        """Say whether much was seen and hardly any of it surely.

        So look clumps of nuclei that are far too small for the model, and the texture of those that
        are far too large.
        """
        return self.small.size >= FEWEST and self.certainty < UNSURE

    def _share(self, diameters: NDArray[np.float64]) -> float:
        return float((diameters**2).sum()) * np.pi / 4 / self.pixels


def better(scale: float, seen: Seen, model: Model) -> float:
    """Give the scale to take after a look, the same one if it will do.

    What is too small is magnified. What is not may be noise, or pieces of nuclei that are too
    large.

    Parameters
    ----------
    scale : float
        Of the look.
    seen : Seen
    model : Model
    """
    small = found(scale, seen.small, seen.pixels, model)
    return small if small < scale else max(small, found(scale, seen.sure, seen.pixels, model))


def others(scale: float) -> list[float]:
    """Give the scales to try after a doubtful look."""
    return [other for other in OTHERS if not 1 / 2 < other / scale < 2]


def surest(scale: float, seen: Seen, elsewhere: Mapping[float, Seen], model: Model) -> float:
    """Give the scale to take after a doubtful look and looks at other scales.

    Parameters
    ----------
    scale : float
        Of the look.
    seen : Seen
    elsewhere : mapping of float to Seen
        What was seen at each of the `others`.
    model : Model
    """
    most = OTHERWISE * seen.area
    cover = {
        one: look.cover
        for one, look in elsewhere.items()
        if look.sure.size >= MANY and look.certainty >= SURE and (one > scale or look.area < most)
    }
    other = max(cover, key=cover.__getitem__, default=scale)
    if cover.get(other, 0.0) <= SURER * seen.cover:
        return scale
    return better(other, elsewhere[other], model)


def found(scale: float, diameters: NDArray[np.float64], pixels: int, model: Model) -> float:
    """Give the next scale to look at, the same one if it will do.

    Parameters
    ----------
    scale : float
        Of the look.
    diameters : ndarray, (n,) float64
        Of the nuclei seen in that look, in the network's pixels.
    pixels : int
        How many the network saw.
    model : Model
    """
    if not diameters.size:
        return scale
    low, high = model.good_diameters
    usual = typical(diameters)
    fewest = min(FEWEST, 1 + pixels // ROOM)
    if low <= usual <= high or (usual < low and diameters.size < fewest):
        return scale
    return _snapped(float(np.clip(scale * usual / model.diameter, SMALLEST_FOUND, LARGEST_FOUND)))


def typical(diameters: NDArray[np.float64]) -> float:
    """Give the mean diameter, weighted by area so that fragments and specks hardly count."""
    areas = diameters**2
    return float((diameters * areas).sum() / areas.sum())


def diameters(labels: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
    """Give the diameters of discs with the nuclei's areas."""
    areas = [cpu.areas(one) for one in labels]
    return 2 * np.sqrt(np.concatenate(areas) / np.pi) if areas else np.zeros(0)


def windows(values: NDArray[np.uint8], side: int = WINDOW) -> list[tuple[slice, slice]]:
    """Choose the few windows of an image where most goes on.

    Parameters
    ----------
    values : ndarray, (H, W) uint8
        High where nuclei are, or may be.
    side : int
        Of a window, in pixels.

    Returns
    -------
    list of tuple of slice
        `WINDOWS` of a grid, or the whole where that is no more.
    """
    height, width = values.shape
    if height * width <= WINDOWS * side * side:
        return [(slice(0, height), slice(0, width))]
    step = max(1, side // 40)
    grid = [
        (slice(top, top + side), slice(left, left + side))
        for top in _starts(height, side)
        for left in _starts(width, side)
    ]
    busy = [
        int(values[rows, columns][::step, ::step].sum(dtype=np.int64)) for rows, columns in grid
    ]
    order = sorted(range(len(grid)), key=lambda index: (-busy[index], index))
    return [grid[index] for index in order[:WINDOWS]]


def parts(image: NDArray[Any], scale: float) -> list[NDArray[Any]]:
    """Cut the windows that a look at a large image takes in: those with the most detail.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
    scale : float
        Of the look. Each window is `WINDOW` of the network's pixels a side.
    """
    import cv2

    thin = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / THUMBNAIL)))
    grey = image[::thin, ::thin].astype(np.float32)
    grey = grey[..., :3].mean(-1) if grey.ndim == 3 else grey
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    levels = np.clip(detail * (255 / max(float(detail.max()), 1e-9)), 0, 255).astype(np.uint8)
    return [
        image[rows.start * thin : rows.stop * thin, columns.start * thin : columns.stop * thin]
        for rows, columns in windows(levels, max(1, round(WINDOW * scale / thin)))
    ]


def _starts(length: int, side: int) -> range:
    return range(0, max(1, length - side + 1), side)


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
    """Give the height and width of an image seen at a scale."""
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
