"""Random changes of a training crop along the axes on which microscopes differ.

Geometry (flips, any rotation, zoom, elastic), lighting (gain, gamma, uneven illumination), stain
(colour jitter in stain space), sharpness (blur, noise, JPEG).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import Sample
from training.targets import Targets

RGB_FROM_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
"""Optical density of haematoxylin, eosin and DAB: Ruifrok & Johnston 2001, Anal. Quant. Cytol.
Histol. 23, 291-299, table 1."""

HED_FROM_RGB = np.linalg.inv(RGB_FROM_HED).astype(np.float32)


@dataclass(frozen=True)
class Settings:
    """How far each change goes; a probability is that of the change being made at all."""

    size: int = 256
    zoom: tuple[float, float] = (0.6, 1.7)
    elastic: float = 0.3
    stain: float = 0.7
    swap_channels: float = 0.1
    lighting: float = 0.7
    shading: float = 0.25
    invert: float = 0.02
    blur: float = 0.2
    noise: float = 0.3
    jpeg: float = 0.2
    blank: float = 0.01


def crop(
    sample: Sample, targets: Targets, rng: np.random.Generator, settings: Settings
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut one changed crop from a sample.

    Returns
    -------
    image : ndarray, (size, size, 3) uint8
    maps : ndarray, (size, size, 3) uint8
        Nucleus, distance, gap.
    """
    if rng.random() < settings.blank:
        return _blank(rng, settings.size)
    image, maps = _place(sample.image, np.dstack(targets), rng, settings)
    grey = sample.modality in ("fluorescence", "grey bright-field")
    return _appearance(image, grey, rng, settings), maps


def _blank(rng: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Give a field without nuclei: even or noisy, of any brightness and tint."""
    level = rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 255))
    noise = rng.normal(0, rng.choice([0, 3, 20]), (size, size, 3))
    image = np.clip(level + noise, 0, 255).astype(np.uint8)
    return image, np.zeros((size, size, 3), np.uint8)


def _place(
    image: NDArray[np.uint8],
    maps: NDArray[np.uint8],
    rng: np.random.Generator,
    settings: Settings,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Resample image and maps through one random map of coordinates."""
    height, width = image.shape[:2]
    zoom = np.exp(rng.uniform(*np.log(settings.zoom)))
    # Half of the crops keep the pixel grid: interpolation blurs, and users' images are not blurred.
    square = rng.random() < 0.5
    angle = rng.integers(4) * np.pi / 2 if square else rng.uniform(0, 2 * np.pi)
    if square and rng.random() < 0.5:
        zoom = 1.0
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    flip = rng.choice([-1.0, 1.0])
    half = (settings.size - 1) / 2
    centre = [_centre(length, settings.size / zoom, rng) for length in (width, height)]
    matrix = np.array([[cos * flip, -sin, 0], [sin * flip, cos, 0]])
    matrix[:, 2] = np.array(centre) - matrix[:, :2] @ [half, half]
    if square and zoom == 1.0:
        matrix[:, 2] = np.rint(matrix[:, 2])
    if rng.random() < settings.elastic:
        return _elastic(image, maps, matrix, rng, settings.size)
    shape = (settings.size, settings.size)
    if zoom < 0.75:  # shrinking without a filter would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / zoom)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warp = [
        cv2.warpAffine(array, matrix, shape, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        for array in (image, maps)
    ]
    return warp[0], warp[1]


def _centre(length: int, span: float, rng: np.random.Generator) -> float:
    if span >= length:
        return (length - 1) / 2 + rng.uniform(-0.2, 0.2) * length
    return rng.uniform(span / 2 - 0.5, length - span / 2 - 0.5)


def _elastic(
    image: NDArray[np.uint8],
    maps: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    rng: np.random.Generator,
    size: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    grid = np.mgrid[0:size, 0:size][::-1].reshape(2, -1).astype(np.float32)
    coarse = rng.normal(0, rng.uniform(1, 4), (6, 6, 2)).astype(np.float32)
    shift = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).reshape(-1, 2).T
    where = (matrix[:, :2].astype(np.float32) @ (grid + shift)) + matrix[:, 2:].astype(np.float32)
    x, y = where.reshape(2, size, size)
    warp = [
        cv2.remap(array, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        for array in (image, maps)
    ]
    return warp[0], warp[1]


def _appearance(
    image: NDArray[np.uint8], grey: bool, rng: np.random.Generator, settings: Settings
) -> NDArray[np.uint8]:
    if not grey and rng.random() < settings.stain:
        image = _jitter_stain(image, rng)
    if not grey and rng.random() < settings.swap_channels:
        image = np.ascontiguousarray(image[..., rng.permutation(3)])
    if rng.random() < settings.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    changed = image.astype(np.float32)
    if rng.random() < settings.lighting:
        changed = _relight(changed, rng)
    if rng.random() < settings.shading:
        changed *= _shading(image.shape[0], rng)[..., None]
    if rng.random() < settings.invert:
        changed = 255 - changed
    if rng.random() < settings.noise:
        changed += _noise(image.shape, grey, rng)
    image = np.clip(changed + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < settings.jpeg:
        quality = int(rng.integers(30, 95))
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return image


def _jitter_stain(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Scale and shift each stain's density: Tellez et al. 2019, doi:10.1016/j.media.2019.101544."""
    density = _DENSITY[image]
    scale = rng.uniform(0.75, 1.3, 3).astype(np.float32)
    shift = rng.uniform(-0.06, 0.06, 3).astype(np.float32)
    # One matrix does the way there, the scaling and the way back.
    matrix = (HED_FROM_RGB * scale) @ RGB_FROM_HED
    offset = shift @ RGB_FROM_HED
    jittered = cv2.transform(density, np.column_stack([matrix.T, offset]))
    return np.clip(256 * np.exp(-jittered) - 1, 0, 255).astype(np.uint8)


_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)


def _relight(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change gamma, gain and offset within what percentile stretching leaves open."""
    gamma = np.exp(rng.uniform(-0.5, 0.5))
    gain = rng.uniform(0.65, 1.3)
    offset = rng.uniform(-25, 35)
    table = 255 * (np.arange(256, dtype=np.float32) / 255) ** gamma * gain + offset
    return table[image.astype(np.uint8)].astype(np.float32)


def _shading(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Give a smooth field of illumination, 0.6 to 1.4."""
    coarse = rng.uniform(0.6, 1.4, (3, 3)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _noise(shape: tuple[int, ...], grey: bool, rng: np.random.Generator) -> NDArray[np.float32]:
    depth = 1 if grey else 3
    sigma = np.exp(rng.uniform(np.log(1.0), np.log(16.0)))
    return sigma * rng.standard_normal((*shape[:2], depth), np.float32)
