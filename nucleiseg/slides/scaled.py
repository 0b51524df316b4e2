"""A slide as the network sees it, of which any rectangle can be computed by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from nucleiseg import resizing
from nucleiseg._native import cpu
from nucleiseg.model import Model
from nucleiseg.slides.slide import Slide

_REACH = 3
"""Pixels beyond its own place that a resized pixel depends on, or more."""


@dataclass(frozen=True)
class Size:
    """Which level of a slide is read, and how it is resized.

    Attributes
    ----------
    level : int
    source : tuple of int
        Height and width of that level.
    shape : tuple of int
        Height and width as the network sees it, which are those of the labels.
    mpp : float
        Micrometres per pixel of level 0.
    """

    level: int
    source: tuple[int, int]
    shape: tuple[int, int]
    mpp: float


def choose(slide: Slide, mpp: float | None, model: Model) -> Size:
    """Return the level to read: the coarsest that the network need not see much magnified.

    Parameters
    ----------
    slide : Slide
    mpp : float or None
        Micrometres per pixel of level 0, instead of what the file says.
    model : Model

    Raises
    ------
    ValueError
        The pixel size is unknown or out of range.
    """
    own = slide.mpp if mpp is None else mpp
    if own is None or not 0 < own < math.inf:
        got = "" if own is None else f" got {own!r};"
        raise ValueError(
            f"{slide.path}: does not say its pixel size;{got} give it in micrometres per pixel of "
            "its finest level: --mpp 0.25, or mpp=0.25 in Python"
        )
    sizes = [own * slide.levels[0][1] / width for _, width in slide.levels]
    fine = [i for i, size in enumerate(sizes) if size <= model.mpp * resizing.TOLERANCE]
    level = max(fine, key=lambda i: sizes[i], default=0)
    scale = resizing.requested("auto", sizes[level], None, model)
    assert scale is not None
    return Size(level, slide.levels[level], resizing.size(slide.levels[level], scale), own)


def read(
    slide: Slide, size: Size, row: int, column: int, height: int, width: int, threads: int = 1
) -> NDArray[Any]:
    """Return a rectangle of the slide as the network sees it, of the slide's dtype.

    Raises
    ------
    ValueError, OSError
        See `Slide.read`.
    """
    if size.shape == size.source:
        return slide.read(size.level, row, column, height, width)
    top, bottom = _sources(size.source[0], size.shape[0], row, row + height)
    left, right = _sources(size.source[1], size.shape[1], column, column + width)
    source = slide.read(size.level, top, left, bottom - top, right - left)
    return cpu.resize(
        _as_whole_rows(source, left, size.source[1]),
        *size.shape,
        rows=(row, row + height),
        columns=(column, column + width),
        above=top,
        below=size.source[0] - bottom,
        threads=threads,
    )


def _sources(source: int, target: int, begin: int, end: int) -> tuple[int, int]:
    """Return the range of a level's pixels that some of the resized ones depend on."""
    step = source / target
    return max(0, int(begin * step) - _REACH), min(source, int(end * step) + _REACH)


def _as_whole_rows(part: NDArray[Any], left: int, width: int) -> NDArray[Any]:
    """Return a view whose columns from ``left`` on are the part's, and whose rows are whole.

    `cpu.resize` takes whole rows and reads what it needs of them. The columns beside the part are
    whatever lies in memory there, within one array, and are not read.
    """
    height, own = part.shape[:2]
    samples = math.prod(part.shape[2:])
    memory = np.zeros(((left + height * own + width - left - own) * samples,), part.dtype)
    memory[left * samples : (left + height * own) * samples] = part.reshape(-1)
    strides = (own * samples * part.itemsize, samples * part.itemsize, part.itemsize)
    shape = (height, width, *part.shape[2:])
    return as_strided(memory, shape, strides[: part.ndim], writeable=False)
