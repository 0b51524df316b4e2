"""Two example images, which need no download.

They are from the stage 1 training set of the 2018 Data Science Bowl (BBBC038v1 of the Broad
Bioimage Benchmark Collection; Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7), CC0 1.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXAMPLES = ("stained", "fluorescence")
"""H&E, 256 x 320 RGB, and small nuclei in fluorescence, 256 x 256 grey."""


def path(name: str = "stained") -> Path:
    """Return the file of an example image.

    Parameters
    ----------
    name : {"stained", "fluorescence"}

    Raises
    ------
    ValueError
        There is no such example.
    """
    if name not in EXAMPLES:
        raise ValueError(f"name: got {name!r}; accepted are {', '.join(map(repr, EXAMPLES))}")
    return Path(__file__).parent / f"{name}.png"


def example(name: str = "stained", size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return an example image.

    Parameters
    ----------
    name : {"stained", "fluorescence"}
    size : (int, int), optional
        Rows and columns that are filled with the image and its mirror images; its own size when
        left out.

    Returns
    -------
    ndarray, (H, W, 3) or (H, W) uint8

    Raises
    ------
    ValueError
        There is no such example.
    """
    from nucleiseg import images

    image = images.read(path(name))
    return image if size is None else mirrored(image, *size)


def mirrored(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return an image of another size, tiled from an image and its mirror images without seams.

    Parameters
    ----------
    image : ndarray, (h, w) or (h, w, C)
    height, width : int

    Returns
    -------
    ndarray, (height, width) or (height, width, C)
    """
    pair = np.concatenate([image, image[:, ::-1]], axis=1)
    block = np.concatenate([pair, pair[::-1]])
    copies = (-(-height // block.shape[0]), -(-width // block.shape[1]), 1)[: image.ndim]
    return np.ascontiguousarray(np.tile(block, copies)[:height, :width])
