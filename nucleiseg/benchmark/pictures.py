"""Pictures of nuclei, drawn: decoding costs what the picture's content makes it cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

BLOCK = 512
"""Side in pixels of what is drawn. It has no seams, so larger pictures are made of copies of it."""

GRID = 13
"""Places for nuclei along each side of the block, 39 pixels apart: close enough that some touch."""

EMPTY = 0.15
"""Share of the places without a nucleus."""

RADIUS = 13.0
"""Of a usual nucleus in pixels: half the diameter that the shipped model is made for."""

HEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
"""Optical densities in red, green and blue of the two stains (Ruifrok and Johnston 2001, Analytical
and Quantitative Cytology and Histology 23, 291)."""


FULL = 4095
"""Of a camera of 12 bits."""


@dataclass(frozen=True)
class Scene:
    """Nuclei on a block without seams.

    Attributes
    ----------
    depth : ndarray, (BLOCK, BLOCK) float32
        1 in a nucleus's centre, 0 at its edge and outside.
    tone : ndarray, (BLOCK, BLOCK) float32
        How much of the stain the nucleus there took, around 1; 0 outside.
    nuclei : int
        How many there are.
    """

    depth: Plane
    tone: Plane
    nuclei: int


def draw(kind: str, height: int, width: int, seed: int = 0) -> NDArray[Any]:
    """Draw a picture, the same one whenever it is asked for.

    Parameters
    ----------
    kind : {"stained", "fluorescence"}
        A section with hematoxylin and eosin, or a field of a camera of 12 bits.
    height, width : int
        Pixels, at least 1.
    seed : int
        Another number, another picture.

    Returns
    -------
    ndarray
        (height, width, 3) uint8 RGB, or (height, width) uint16.

    Raises
    ------
    ValueError
        An unknown kind.
    """
    check(kind)
    return _spread(_painted(kind, seed), height, width)


def check(kind: str) -> None:
    """Raise ValueError for an unknown kind of picture."""
    if kind not in PAINTERS:
        raise ValueError(f"kind: got {kind!r}; accepted are {', '.join(map(repr, PAINTERS))}")


def maps(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Give maps as the network would of such a picture: (height, width, 2) uint8."""
    depth = scene(seed).depth
    noise = np.random.default_rng([seed, 2]).normal(0, 2, depth.shape) * (depth > 0)
    nucleus, distance = 128 + 500 * (depth - 0.02), 255 * depth + noise
    block = np.clip(np.stack([nucleus, distance], -1), 0, 255).astype(np.uint8)
    return _spread(block, height, width)


@lru_cache(maxsize=4)
def scene(seed: int) -> Scene:
    """Place nuclei: ellipses of uneven size on a grid, each shaken out of its place."""
    rng = np.random.default_rng([seed, 0])
    depth, tone = np.zeros((2, BLOCK, BLOCK), np.float32)
    filled = np.argwhere(rng.random((GRID, GRID)) >= EMPTY)
    centres = (filled + 0.5 + rng.uniform(-0.4, 0.4, filled.shape)) * (BLOCK / GRID)
    for centre in centres:
        long = RADIUS * rng.uniform(0.8, 1.3)
        radii = np.array([long, long * rng.uniform(0.6, 1.0)])
        _stamp(depth, tone, centre, radii, rng.uniform(0, np.pi), rng.uniform(0.6, 1.2))
    return Scene(depth, tone, len(centres))


def _stamp(
    depth: Plane,
    tone: Plane,
    centre: NDArray[np.float64],
    radii: NDArray[np.float64],
    angle: float,
    shade: float,
) -> None:
    """Lay one ellipse on the block; where nuclei overlap, the deeper one is seen."""
    reach = np.arange(-int(radii.max()) - 2, int(radii.max()) + 3)
    rows, columns = (reach + int(value) for value in centre)
    down, right = (rows - centre[0])[:, None], (columns - centre[1])[None]
    along = (down * np.cos(angle) + right * np.sin(angle)) / radii[0]
    across = (right * np.cos(angle) - down * np.sin(angle)) / radii[1]
    own = 1 - np.hypot(along, across)
    window = np.ix_(rows % BLOCK, columns % BLOCK)
    seen = own > depth[window]
    depth[window] = np.where(seen, own, depth[window])
    tone[window] = np.where(seen, shade, tone[window])


@lru_cache(maxsize=4)
def _painted(kind: str, seed: int) -> NDArray[Any]:
    return PAINTERS[kind](scene(seed), np.random.default_rng([seed, 1]))


def _stained(nuclei: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Let two stains take their part of white light."""
    body = _body(nuclei)
    hematoxylin = 0.05 + body * (0.9 + 0.2 * _grain(rng, 1.5))
    eosin = (0.25 + 0.08 * _grain(rng, 8.0)) * (1 - 0.5 * body)
    densities = hematoxylin[..., None] * HEMATOXYLIN + eosin[..., None] * EOSIN
    light: NDArray[np.float64] = 245 * np.exp(-densities) + rng.normal(0, 3, densities.shape)
    return np.clip(light, 0, 255).astype(np.uint8)


def _fluorescence(nuclei: Scene, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Count the photons of glowing nuclei, and of a haze."""
    glow = _body(nuclei) * (1 + 0.15 * _grain(rng, 2.0))
    photons = 160 + 30 * _grain(rng, 40.0) + 1800 * glow
    counts: NDArray[np.int64] = rng.poisson(np.maximum(photons, 0))
    return np.minimum(counts, FULL).astype(np.uint16)


PAINTERS: dict[str, Callable[[Scene, np.random.Generator], NDArray[Any]]] = {
    "stained": _stained,
    "fluorescence": _fluorescence,
}


def _body(nuclei: Scene) -> Plane:
    """Give the nuclei with an edge as a lens shows it."""
    return _blurred(nuclei.tone * np.clip(6 * nuclei.depth, 0, 1), 1.0)


def _grain(rng: np.random.Generator, sigma: float) -> Plane:
    """Give noise of a given coarseness, of mean 0 and standard deviation 1."""
    noise = _blurred(rng.standard_normal((BLOCK, BLOCK)).astype(np.float32), sigma)
    scaled: Plane = noise / np.float32(noise.std())
    return scaled


def _blurred(plane: Plane, sigma: float) -> Plane:
    """Blur with a Gaussian, round the edges: in frequencies, where a block has none."""
    down, right = np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)[None]
    kept = np.exp(-2 * (np.pi * sigma) ** 2 * (down**2 + right**2))
    blurred: NDArray[np.float64] = np.fft.irfft2(np.fft.rfft2(plane) * kept, plane.shape)
    return blurred.astype(np.float32)


def _spread(block: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    copies = (-(-height // BLOCK), -(-width // BLOCK), 1)[: block.ndim]
    return np.ascontiguousarray(np.tile(block, copies)[:height, :width])
