"""The two intensities of a slide that become 0 and 255, one pair for all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import stains
from nucleiseg._native import cpu
from nucleiseg.device import available_threads
from nucleiseg.limits import Limits
from nucleiseg.model import Model
from nucleiseg.slides.area import Area
from nucleiseg.slides.grid import BLOCK, Region, bands
from nucleiseg.slides.slide import Slide

WHOLE = 1 << 24
"""Pixels up to which all are counted: then, without a mask, these are the limits of `segment`."""

SIDE, SAMPLES = 256, 160
"""Of a larger slide so many squares of this side are read, spread evenly over its tissue. Not of a
coarse level: averaging takes the darkest and brightest pixels away."""


def find(
    slide: Slide,
    level: int,
    mask: NDArray[np.bool_] | None,
    model: Model,
    threads: int,
    stain: str,
) -> Limits:
    """Return the limits of a slide's tissue; they do not depend on regions.

    Parameters
    ----------
    slide : Slide
    level : int
        That is read for the network, of whose pixels before they are resized these are the limits.
    mask : ndarray, (h, w) bool, or None
        Tissue, see `Area`.
    model : Model
    threads : int
    stain : {"he", "dab", "hematoxylin"}
        As which the network sees the slide.

    Raises
    ------
    ValueError
        None of it can be read.
    """
    shape = slide.levels[level]
    area = Area(shape, mask, (0, 0, *shape))
    is_whole = shape[0] * shape[1] <= WHOLE
    parts = [one for band in bands(*shape, SIDE if not is_whole else BLOCK) for one in band]
    if not is_whole:
        parts = _spread(parts, area)
    found = list(_pixels(slide, level, area, parts))
    if not found:
        raise ValueError(f"{slide.path}: none of its tissue can be read")
    if is_whole and sum(len(values) for _, values in found) == shape[0] * shape[1]:
        image = _assembled(found, shape)
    else:
        image = _packed([values for _, values in found])
    image = stains.recoloured(image, stain)
    return Limits(*cpu.limits(image, *model.percentiles, threads=threads))


def _spread(squares: list[Region], area: Area) -> list[Region]:
    """Return squares whose centres are in tissue."""
    middles = (
        Region(0, one.row + one.height // 2, one.column + one.width // 2, 1, 1) for one in squares
    )
    inside = [one for one, middle in zip(squares, middles, strict=True) if area.part(middle)]
    chosen = inside or squares
    step = max(1.0, len(chosen) / SAMPLES)
    return [chosen[int(i * step)] for i in range(min(SAMPLES, len(chosen)))]


def _pixels(
    slide: Slide, level: int, area: Area, parts: list[Region]
) -> Iterator[tuple[Region, NDArray[Any]]]:
    """Read the pixels of the area, (n,) or (n, 3); what is damaged is told by its region later."""

    def read(part: Region) -> NDArray[Any] | None:
        inside = area.part(part)
        if inside is None:
            return None
        with contextlib.suppress(ValueError, OSError):
            values = slide.read(level, part.row, part.column, part.height, part.width)
            found: NDArray[Any] = values[inside.pixels()]
            return found
        return None

    with ThreadPoolExecutor(available_threads(), "limits") as pool:
        for part, values in zip(parts, pool.map(read, parts), strict=True):
            if values is not None:
                yield part, values


def _assembled(parts: list[tuple[Region, NDArray[Any]]], shape: tuple[int, int]) -> NDArray[Any]:
    first = parts[0][1]
    image = np.empty((*shape, *first.shape[1:]), first.dtype)
    for part, values in parts:
        own = image[part.row : part.bottom, part.column : part.right]
        own[...] = values.reshape(own.shape)
    return image


def _packed(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Return an image of pixels in raster order, in which most neighbours are the slide's."""
    pixels = np.concatenate(parts)
    width = min(SIDE, len(pixels))
    return pixels[: len(pixels) // width * width].reshape(-1, width, *pixels.shape[1:])
