"""Pictures to restyle and styles: how they are read, and which are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images

from .. import data
from .features import SMALLEST_SIDE

Picture = NDArray[np.uint8]

LARGEST_SIDE = 2048
"""Pixels: activations, gradients and the memory of L-BFGS take about 2 kB for each (reckoned)."""

GREY = 2.5
"""Mean difference of the highest and the lowest channel, in levels, below which a picture is grey:
a hundredth of the range, as in `groups.modality`."""


def read(name: str, path: Path) -> Picture:
    """Read an image file as RGB.

    Parameters
    ----------
    name : str
        What the image is for, for messages.
    path : Path

    Returns
    -------
    ndarray, (H, W, 3) uint8
        See `as_rgb`.

    Raises
    ------
    ValueError
        There is no such file, or it holds no image that `as_rgb` takes.
    """
    try:
        return as_rgb(images.read(path))
    except OSError as error:
        reason = "it is a folder" if path.is_dir() else "no such file"
        raise ValueError(f"{name}: {path}: {reason}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def as_rgb(picture: NDArray[np.generic]) -> Picture:
    """Return a picture as (H, W, 3) uint8, without its alpha.

    8-bit intensities stay what they are; others are stretched as the package stretches them.

    Raises
    ------
    ValueError
        It holds NaN or infinity, or neither grey nor colours.
    """
    if not np.isfinite(picture).all():
        raise ValueError("it holds NaN or infinity; accepted are finite intensities")
    if picture.ndim == 3 and picture.shape[2] not in (1, 3, 4):
        raise ValueError(f"got {picture.shape[2]} channels; accepted are grey, RGB and RGBA")
    if picture.dtype != np.uint8:
        return data.normalized(picture)
    planes = picture[..., None] if picture.ndim == 2 else picture[..., :3]
    return np.ascontiguousarray(np.broadcast_to(planes, (*planes.shape[:2], 3)))


def is_grey(picture: Picture) -> bool:
    """Tell whether a picture has no colours."""
    return float(np.ptp(picture, axis=-1).mean()) < GREY


def check(content: Picture, style: Picture, keep_luminance: bool) -> None:
    """Refuse pictures that nothing can be made of.

    Raises
    ------
    ValueError
        One of them is too small, too large or of one colour, or the style is grey where its colours
        are asked for.
    """
    for name, picture in (("content", content), ("style", style)):
        height, width = picture.shape[:2]
        if min(height, width) < SMALLEST_SIDE or max(height, width) > LARGEST_SIDE:
            raise ValueError(
                f"{name}: got {height} x {width} pixels; accepted are sides of {SMALLEST_SIDE} to "
                f"{LARGEST_SIDE}"
            )
        if (picture == picture[0, 0]).all():
            raise ValueError(f"{name}: all of its pixels are the same; there is nothing to see")
    if is_grey(style) and keep_luminance:
        raise ValueError("style: it is grey, and its colours alone are taken over")
    if is_grey(style) and not is_grey(content):
        raise ValueError(
            "style: it is grey and the content is not; a grey style has no stain to take over"
        )
