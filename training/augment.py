"""Random changes of a training crop along the axes on which microscopes differ.

Geometry (flips, any rotation, elastic), magnification (zoom), stain (another slide's colours, the
density of each stain, tints), lighting (gain, gamma, offset, uneven illumination) and sharpness
(blur, noise, JPEG). The table in ``training/README.md`` gives ranges and probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from . import scenes, stains
from .samples import Sample
from .targets import share_of_range, size_targets

DIAMETERS = (7.0, 60.0)
"""Median diameters, in pixels, that zoom may lead to: beyond, the package rescales the image."""

LEAST_COARSE, COARSEST = 1.2, 3.5
"""How many times larger the pixels of a coarse crop are."""

FINEST = 4.0
"""Pixels that a nucleus of a coarse crop keeps, at most `LEAST_COARSE` fewer."""


@dataclass(frozen=True)
class Settings:
    """How often each change is made, and how far magnification goes.

    Attributes
    ----------
    size : int
        Side of a crop in pixels.
    zoom, near : tuple of float
        Smallest and largest magnification: of the whole range, and near the image's own.
    usual : float
        Probability that magnification is near the image's own.
    elastic, restyle, ..., jpeg : float
        Probability that the change is made.
    blank : float
        Share of crops that are fields without nuclei.
    stained : float
        Least emphasis, 0..1, of the nuclei of stained images.
    dark : float
        Least emphasis, 0..1, of the background of fluorescence.
    grain : float
        Share of magnified crops with noise whose grain is magnified, too.
    diameters : tuple of float, optional
        Median diameters that magnification brings nuclei to, evenly by their logarithms; the maps
        are then those of `targets.size_targets`.
    """

    size: int = 256
    zoom: tuple[float, float] = (0.4, 2.5)
    near: tuple[float, float] = (0.8, 1.25)
    usual: float = 0.5
    elastic: float = 0.3
    restyle: float = 0.3
    stain: float = 0.8
    swap_channels: float = 0.05
    tint: float = 0.1
    lighting: float = 0.7
    shading: float = 0.3
    invert: float = 0.02
    brown: float = 0.08
    greyed: float = 0.05
    crowd: float = 0.12
    coarse: float = 0.15
    blur: float = 0.2
    noise: float = 0.3
    jpeg: float = 0.3
    blank: float = 0.02
    stained: float = 0.0
    dark: float = 0.0
    grain: float = 0.0
    diameters: tuple[float, float] | None = None


FULL = Settings()

LIGHT = Settings(
    stained=1.0,
    dark=0.9,
    usual=0.7,
    elastic=0.2,
    lighting=0.5,
    shading=0.2,
    coarse=0.1,
    blur=0.1,
    noise=0.2,
    jpeg=0.15,
)
"""Crops nearer to what users' images are, for the end of training. The nuclei of stained images are
emphasised, and the background of fluorescence. Without it the best threshold differs between
modalities, on the images trained on too: 150 of 255 for fluorescence, 120 for purple stain, 100 for
H&E, whose outlines are least certain. With it, one threshold serves all."""


SIZES = replace(
    LIGHT,
    usual=0.15,
    zoom=(0.12, 8.0),
    crowd=0.0,
    coarse=0.5,
    blank=0.08,
    grain=0.3,
    diameters=(3.5, 170.0),
)
"""Crops to learn diameters from (`training.sizes`). Half of them are coarse: what is measured twice
has been magnified, and without such crops crowded nuclei were then measured too large."""


COLOUR_CHANGES = ("restyle", "stain", "swap_channels", "tint", "brown", "greyed")


def with_own_colours(settings: Settings) -> Settings:
    """Return the settings without changes of stains and tints, to measure what these bring."""
    return replace(settings, **dict.fromkeys(COLOUR_CHANGES, 0.0))


@dataclass(frozen=True)
class Material:
    """An image prepared for cutting crops.

    Attributes
    ----------
    image : ndarray, (H, W, 3) uint8
    maps : ndarray, (H, W, 3) uint8
        Nucleus, distance, emphasis.
    modality : str
        One of `groups.MODALITIES`.
    diameter : float
        Median diameter of the nuclei, in pixels; nan where there are none.
    style : ndarray, (2, 3) float32
        Mean and standard deviation of the LAB channels.
    shape : tuple of int
        Height and width.
    """

    image: NDArray[np.uint8]
    maps: NDArray[np.uint8]
    modality: str
    diameter: float
    style: NDArray[np.float32]
    shape: tuple[int, int]

    def without_images(self) -> Material:
        """Return what is known of it beside the images, to send it to another process."""
        nothing = np.zeros((0, 0, 3), np.uint8)
        return replace(self, image=nothing, maps=nothing)

    @property
    def grey(self) -> bool:
        """All three channels are alike."""
        return self.modality in ("fluorescence", "grey bright-field")


def prepare(sample: Sample, settings: Settings = FULL) -> Material:
    """Do once for each image what all of its crops need."""
    targets = size_targets(sample.labels) if settings.diameters else sample.targets()
    areas = np.bincount(sample.labels.ravel())[1:]
    diameters = 2 * np.sqrt(areas[areas > 0] / np.pi)
    return Material(
        sample.image,
        np.dstack(targets),
        sample.modality,
        float(np.median(diameters)) if diameters.size else float("nan"),
        np.stack(_style(_lab(sample.image))),
        sample.labels.shape,
    )


def crop(
    material: Material, styles: NDArray[np.float32], rng: np.random.Generator, settings: Settings
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut one changed crop from an image.

    Parameters
    ----------
    material : Material
    styles : ndarray, (N, 2, 3) float32
        `Material.style` of other stained images, for `Settings.restyle`.
    rng : Generator
    settings : Settings

    Returns
    -------
    image : ndarray, (size, size, 3) uint8
    maps : ndarray, (size, size, 3) uint8
        Nucleus, distance, emphasis.
    clean : ndarray, (size, size, 3) uint8
        The crop before its colours and sharpness are changed, for a teacher.
    """
    if rng.random() < settings.blank:
        image, maps = scenes.blank(rng, settings.size)
        return _compressed(image, rng, settings), maps, image
    zoom = _zoom(material.diameter, rng, settings)
    image, maps = _place(material.image, material.maps, zoom, rng, settings)
    if material.modality == "fluorescence" and rng.random() < settings.crowd:
        other = _place(material.image, material.maps, zoom, rng, settings)
        image, maps = scenes.crowded((image, maps), other, rng)
    if settings.diameters:
        maps[..., 1] = np.clip(np.rint(maps[..., 1] + 255 * share_of_range(zoom)), 0, 255)
    else:
        _emphasise(maps, material, settings)
    clean, diameter = image, material.diameter * zoom
    if rng.random() < settings.coarse:
        image = _coarse(image, diameter, rng)
    if not material.grey and len(styles) and rng.random() < settings.restyle:
        image = _restyled(image, styles[rng.integers(len(styles))], rng)
    grey = material.grey
    if material.modality == "H&E" and rng.random() < settings.brown:
        image = stains.browned(image, maps[..., 0], rng)
    elif not grey and rng.random() < settings.greyed:
        image, grey = stains.greyed(image, rng), True
    if settings.grain and zoom > 1 and rng.random() < settings.grain:
        image = _grainy(image, zoom, grey, rng)
    return _appearance(image, grey, rng, settings), maps, clean


def _zoom(diameter: float, rng: np.random.Generator, settings: Settings) -> float:
    """Draw a magnification: near the image's own, or from the whole range as far as nuclei stay
    within `DIAMETERS`, or are brought to `Settings.diameters`."""
    usual, (low, high) = rng.random() < settings.usual, settings.zoom
    if usual and not settings.diameters:
        return float(np.exp(rng.uniform(*np.log(settings.near))))
    if usual:
        return 1.0
    if settings.diameters and np.isfinite(diameter):
        wanted = np.exp(rng.uniform(*np.log(settings.diameters)))
        zoom = float(np.clip(wanted / diameter, low, high))
        return 1.0 if settings.near[0] < zoom < settings.near[1] else zoom
    if np.isfinite(diameter):
        low = min(max(low, DIAMETERS[0] / diameter), 1.0)
        high = max(min(high, DIAMETERS[1] / diameter), 1.0)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _emphasise(maps: NDArray[np.uint8], material: Material, settings: Settings) -> None:
    if not material.grey:
        least = settings.stained * maps[..., 0]
    elif material.modality == "fluorescence":
        least = settings.dark * (255 - maps[..., 0])
    else:
        return
    maps[..., 2] = np.maximum(maps[..., 2], np.rint(least))


def _coarse(
    image: NDArray[np.uint8], diameter: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Take the image as a coarser camera would and magnify it again, as the package does where
    nuclei are small."""
    most = COARSEST
    if np.isfinite(diameter):
        most = float(np.clip(diameter / FINEST, LEAST_COARSE, COARSEST))
    size = image.shape[0]
    small = round(size / rng.uniform(LEAST_COARSE, most))
    image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    how = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=how)


def _grainy(
    image: NDArray[np.uint8], zoom: float, grey: bool, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Add the noise of an image that was magnified afterwards."""
    size = image.shape[0]
    small = max(2, round(size / rng.uniform(1.0, zoom)))
    sigma = np.exp(rng.uniform(np.log(2.0), np.log(64.0)))
    noise = sigma * rng.standard_normal((small, small, 1 if grey else 3), np.float32)
    grain = cv2.resize(noise, (size, size), interpolation=cv2.INTER_LINEAR)
    changed = image.astype(np.float32) + grain.reshape(size, size, -1)
    return np.clip(changed + 0.5, 0, 255).astype(np.uint8)


def _lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)


def _style(lab: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    pixels = lab.reshape(-1, 3)
    return pixels.mean(0), pixels.std(0)


def _restyled(
    image: NDArray[np.uint8], style: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the crop in another slide's colours: Reinhard et al. 2001, doi:10.1109/38.946629."""
    lab = _lab(image)
    mean, deviation = _style(lab)
    share = rng.uniform(0.3, 1.0)
    gain = np.clip(style[1] / np.maximum(deviation, 2.0), 0.4, 2.5) ** share
    lab = (lab - mean) * gain + mean + share * (style[0] - mean)
    return cv2.cvtColor(np.clip(lab + 0.5, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


def _place(
    image: NDArray[np.uint8],
    maps: NDArray[np.uint8],
    zoom: float,
    rng: np.random.Generator,
    settings: Settings,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Resample image and maps through one random map of coordinates."""
    height, width = image.shape[:2]
    # Half of the crops keep the pixel grid: interpolation blurs, and users' images are not blurred.
    square = rng.random() < 0.5
    angle = rng.integers(4) * np.pi / 2 if square else rng.uniform(0, 2 * np.pi)
    if square and settings.near[0] < zoom < settings.near[1]:
        zoom = 1.0
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    flip = rng.choice([-1.0, 1.0])
    half = (settings.size - 1) / 2
    centre = [_centre(length, settings.size / zoom, rng) for length in (width, height)]
    matrix = np.array([[cos * flip, -sin, 0], [sin * flip, cos, 0]])
    matrix[:, 2] = np.array(centre) - matrix[:, :2] @ [half, half]
    if square and zoom == 1.0:
        matrix[:, 2] = np.rint(matrix[:, 2])
    if zoom < 0.75:  # shrinking without a filter would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / zoom)
    if rng.random() < settings.elastic:
        return _elastic(image, maps, matrix, rng, settings.size)
    shape = (settings.size, settings.size)
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
        image = stains.jittered(image, rng)
    if not grey and rng.random() < settings.swap_channels:
        image = np.ascontiguousarray(image[..., rng.permutation(3)])
    if grey and rng.random() < settings.tint:
        image = _tinted(image, rng)
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
    return _compressed(image, rng, settings)


def _compressed(
    image: NDArray[np.uint8], rng: np.random.Generator, settings: Settings
) -> NDArray[np.uint8]:
    if rng.random() < settings.jpeg:
        quality = int(rng.integers(30, 95))
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return image


def _tinted(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Colour a grey image as a camera or a viewer does: one channel full, the others less."""
    tint = rng.permutation([1.0, *rng.uniform(0, 1, 2)]).astype(np.float32)
    return np.clip(image * tint + 0.5, 0, 255).astype(np.uint8)


def _relight(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change gamma, gain and offset within what percentile stretching leaves open."""
    gamma = np.exp(rng.uniform(-0.5, 0.5))
    gain = rng.uniform(0.65, 1.3)
    offset = rng.uniform(-25, 35)
    table = 255 * (np.arange(256, dtype=np.float32) / 255) ** gamma * gain + offset
    return table[image.astype(np.uint8)].astype(np.float32)


def _shading(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a smooth field of illumination, at most 0.4 to 1.4."""
    coarse = rng.uniform(rng.uniform(0.4, 1.0), 1.4, (3, 3)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _noise(shape: tuple[int, ...], grey: bool, rng: np.random.Generator) -> NDArray[np.float32]:
    depth = 1 if grey else 3
    sigma = np.exp(rng.uniform(np.log(1.0), np.log(16.0)))
    return sigma * rng.standard_normal((*shape[:2], depth), np.float32)
