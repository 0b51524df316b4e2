"""The scale of an image: how far it is resized so that nuclei have the size the model is best at.

A *scale* is the model's micrometres a pixel over the image's: at scale 2 nuclei are twice as many
pixels across as the model is best at, so the network sees the image at half its size.

`requested` turns what a caller states (scale, micrometres a pixel or diameter) into a scale;
`find` estimates one where nothing is stated. It probes the image: the network's maps, of all of it
or of a few windows, are decoded once into nuclei with their area, peak and prominence
(``cpu.nuclei``). From these come two selections:

detected
    Nuclei of almost any size and peak. They decide whether to magnify.
confident
    Nuclei with a high peak, after joining parts that hardly stand out from each other. Noise and
    texture are not among them. They decide whether to shrink.

If the area-weighted mean diameter is outside the model's good range, the image is probed again at
the scale that would bring it to the model's diameter. If few of the detected nuclei are confident,
the scale may be wrong altogether, so distant scales are probed and the one with the most confident
nuclei is taken. All of it costs a few windows of `Settings.window` pixels a side for each probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


@dataclass(frozen=True)
class Settings:
    """Settings of scales, and of finding them.

    The measurements are in ``docs/experiments.md``, sections "A teacher" and "Magnification", made
    by ``python -m training.scales`` on validation and training images.

    Attributes
    ----------
    smallest, largest : float
        Scales that a caller may request: the image is magnified up to 4 times a side, or shrunk up
        to 32 times.
    smallest_found, largest_found : float
        Scales that `find` may return. Magnifying costs the square of its factor, and beyond three
        times gains nothing (AP@0.5 of images shrunk to a third: 0.758 at 3 times, 0.733 at 4).
    tolerance : float
        Scales within this factor of 1 count as 1: training zooms by more.
    probes : int
        Scales that are probed one after the other; the last result is taken unprobed.
    window : int
        Side of a window in pixels of what the network sees: ten nuclei across.
    windows : int
        How many windows are probed.
    thumbnail : int
        Pixels of a large image that are read to choose its windows.
    least_area_scale : float
        Detected nuclei have at least the model's least area times the square of this: those that
        have to be magnified are smaller than what counts as a nucleus.
    detected_peak : float
        Least peak of detected nuclei. Smoothing lowers the peaks of small ones most: with the
        model's own 105 images shrunk to a third have AP@0.5 0.729, with this 0.738.
    confident_peak, confident_prominence : float
        Least peak and prominence of confident nuclei. Noise magnified several times is as large as
        nuclei but has lower peaks, and large nuclei have several peaks of low prominence (AP@0.5 of
        images magnified 4 times: 0.306 at a peak of 105, 0.646 with these).
    least_nuclei : int
        An image with fewer detected nuclei is not magnified: a few small ones may be dust.
    pixels_per_nucleus : int
        Fewer nuclei are enough in a small image: one more than it has multiples of this.
    doubtful : float
        A probe is doubtful if confident nuclei have less than this share of the detected area. At
        the right scale they have half or more.
    reliable : float
        The share that confident nuclei must have at another scale.
    elsewhere : tuple of float
        Scales probed after a doubtful probe, except those within a factor of 2 of its own.
    gain : float
        Confident nuclei must cover this many times as much at another scale.
    texture : float
        Where magnifying detects more than this many times the area, it detects texture.
    least_confident : int
        Fewer confident nuclei than this do not decide for another scale: with fewer an embryo among
        the validation images is magnified for nothing.
    """

    smallest: float = 1 / 4
    largest: float = 32.0
    smallest_found: float = 1 / 3
    largest_found: float = 16.0
    tolerance: float = 1.25
    probes: int = 3
    window: int = 320
    windows: int = 4
    thumbnail: int = 1_000_000
    least_area_scale: float = 1 / 2
    detected_peak: float = 60
    confident_peak: float = 175
    confident_prominence: int = 75
    least_nuclei: int = 5
    pixels_per_nucleus: int = 8192
    doubtful: float = 1 / 4
    reliable: float = 1 / 3
    elsewhere: tuple[float, ...] = (1 / 3, 2.0, 4.0, 8.0)
    gain: float = 2.0
    texture: float = 2.0
    least_confident: int = 8


SETTINGS = Settings()


def requested(
    scale: Scale, mpp: float | None, diameter: float | None, model: Model
) -> float | None:
    """Return the scale that a caller requested, None if it is to be found.

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
        One of them is not a positive number or out of range, or more than one was given.
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
    if not SETTINGS.smallest <= scale <= SETTINGS.largest:
        raise ValueError(
            f"{name}: got one that needs a scale of {scale:.3g}; accepted are scales of "
            f"{SETTINGS.smallest:g} to {SETTINGS.largest:g}"
        )
    return scale if exact else _snapped(scale)


def _snapped(scale: float) -> float:
    return 1.0 if 1 / SETTINGS.tolerance < scale < SETTINGS.tolerance else scale


@dataclass(frozen=True)
class Probe:
    """What the network found in part of an image at one scale.

    Attributes
    ----------
    detected, confident : ndarray, (n,) float64
        Diameters of nuclei, in the network's pixels; the module's docstring tells these apart.
    pixels : int
        How many pixels the network saw.
    """

    detected: NDArray[np.float64]
    confident: NDArray[np.float64]
    pixels: int

    @property
    def detected_cover(self) -> float:
        """Share of the pixels that detected nuclei cover."""
        return self._cover(self.detected)

    @property
    def confident_cover(self) -> float:
        """Share of the pixels that confident nuclei cover."""
        return self._cover(self.confident)

    @property
    def confidence(self) -> float:
        """Area of confident nuclei over that of detected ones; 0 where there are none."""
        return self.confident_cover / self.detected_cover if self.detected_cover else 0.0

    @property
    def is_doubtful(self) -> bool:
        """Whether much was detected and little of it with confidence.

        This happens where nuclei are far too small for the model and run into clumps, and where
        they are so large that it sees their texture.
        """
        return self.detected.size >= SETTINGS.least_nuclei and self.confidence < SETTINGS.doubtful

    def _cover(self, diameters: NDArray[np.float64]) -> float:
        return float((diameters**2).sum()) * np.pi / 4 / self.pixels


def find(
    probe: Callable[[float], Probe], probe_elsewhere: Callable[[float], Probe], model: Model
) -> float:
    """Return the scale at which the model sees nuclei at the size it is best at.

    Parameters
    ----------
    probe : callable
        Returns the probe at a scale that is likely to be taken.
    probe_elsewhere : callable
        Returns the probe at a scale that is not, so that it should be cheap.
    model : Model
    """
    scale = 1.0
    for _ in range(SETTINGS.probes):
        seen = probe(scale)
        better = better_scale(scale, seen, model)
        if better >= scale and seen.is_doubtful:
            elsewhere = {other: probe_elsewhere(other) for other in distant_scales(scale)}
            confident = most_confident(scale, seen, elsewhere, model)
            if confident != scale:
                return confident
        if better == scale:
            return scale
        scale = better
    return scale


def better_scale(scale: float, seen: Probe, model: Model) -> float:
    """Return the scale that a probe suggests, its own if nuclei have a good size there.

    The image is magnified for the sake of any detected nuclei. It is shrunk only for confident
    ones, as others may be noise, or parts of nuclei that are too large.

    Parameters
    ----------
    scale : float
        Of the probe.
    seen : Probe
    model : Model
    """
    small = _scale_for(scale, seen.detected, seen.pixels, model)
    if small < scale:
        return small
    return max(small, _scale_for(scale, seen.confident, seen.pixels, model))


def _scale_for(scale: float, diameters: NDArray[np.float64], pixels: int, model: Model) -> float:
    if not diameters.size:
        return scale
    low, high = model.good_diameters
    usual = usual_diameter(diameters)
    fewest = min(SETTINGS.least_nuclei, 1 + pixels // SETTINGS.pixels_per_nucleus)
    if low <= usual <= high or (usual < low and diameters.size < fewest):
        return scale
    wanted = scale * usual / model.diameter
    return _snapped(float(np.clip(wanted, SETTINGS.smallest_found, SETTINGS.largest_found)))


def usual_diameter(diameters: NDArray[np.float64]) -> float:
    """Return the mean diameter, weighted by area so that fragments and specks hardly count."""
    areas = diameters**2
    return float((diameters * areas).sum() / areas.sum())


def distant_scales(scale: float) -> list[float]:
    """Return the scales to probe after a doubtful probe."""
    return [other for other in SETTINGS.elsewhere if not 1 / 2 < other / scale < 2]


def most_confident(
    scale: float, seen: Probe, elsewhere: Mapping[float, Probe], model: Model
) -> float:
    """Return the scale to take after a doubtful probe and probes at other scales.

    Parameters
    ----------
    scale : float
        Of the doubtful probe.
    seen : Probe
        That probe.
    elsewhere : mapping of float to Probe
        The probes at `distant_scales`.
    model : Model
    """
    most = SETTINGS.texture * seen.detected_cover
    cover = {
        other: probe.confident_cover
        for other, probe in elsewhere.items()
        if probe.confident.size >= SETTINGS.least_confident
        and probe.confidence >= SETTINGS.reliable
        and (other > scale or probe.detected_cover < most)
    }
    best = max(cover, key=cover.__getitem__, default=scale)
    if cover.get(best, 0.0) <= SETTINGS.gain * seen.confident_cover:
        return scale
    return better_scale(best, elsewhere[best], model)


def decode(windows: Iterable[NDArray[np.uint8]], model: Model, threads: int) -> Probe:
    """Return the nuclei in maps of the network.

    Parameters
    ----------
    windows : iterable of ndarray, (h, w, 2) uint8
        Maps of parts of an image, all at one scale.
    model : Model
    threads : int
    """
    detected, confident = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    least_area = max(1, round(model.min_area * SETTINGS.least_area_scale**2))
    least_peak = min(SETTINGS.detected_peak, model.min_peak)
    most_prominence = max(model.prominence, SETTINGS.confident_prominence)
    pixels = 0
    for maps in windows:
        _, areas, peaks, prominences, neighbours = cpu.nuclei(
            np.ascontiguousarray(maps), *model.label_rule(), most_prominence, threads=threads
        )
        detected.append(areas[(areas >= least_area) & (peaks >= least_peak)])
        whole = _joined_areas(areas, prominences, neighbours)
        confident.append(whole[(whole >= least_area) & (peaks >= SETTINGS.confident_peak)])
        pixels += maps.shape[0] * maps.shape[1]
    return Probe(_diameters(detected), _diameters(confident), pixels)


def _joined_areas(
    areas: NDArray[np.int64], prominences: NDArray[np.float64], neighbours: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the areas of nuclei with all those that do not stand out from them; of those 0."""
    target = np.where(
        prominences < SETTINGS.confident_prominence, neighbours, np.arange(areas.size)
    )
    while not np.array_equal(target, target[target]):
        target = target[target]
    whole: NDArray[np.int64] = np.zeros_like(areas)
    np.add.at(whole, target, areas)
    return whole


def _diameters(areas: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return the diameters of discs of these areas."""
    diameters: NDArray[np.float64] = 2 * np.sqrt(np.concatenate(areas) / np.pi)
    return diameters


def busiest_windows(values: NDArray[np.uint8], side: int) -> list[tuple[slice, slice]]:
    """Return the few windows of an image with the highest sums.

    Parameters
    ----------
    values : ndarray, (H, W) uint8
        High where nuclei are, or may be.
    side : int
        Of a window, in pixels.

    Returns
    -------
    list of tuple of slice
        `Settings.windows` of a grid, or the whole image where that is no more.
    """
    height, width = values.shape
    if height * width <= SETTINGS.windows * side * side:
        return [(slice(0, height), slice(0, width))]
    step = max(1, side // 40)
    grid = [
        (slice(top, top + side), slice(left, left + side))
        for top in range(0, max(1, height - side + 1), side)
        for left in range(0, max(1, width - side + 1), side)
    ]
    sums = [int(values[window][::step, ::step].sum(dtype=np.int64)) for window in grid]
    order = sorted(range(len(grid)), key=lambda index: (-sums[index], index))
    return [grid[index] for index in order[: SETTINGS.windows]]


def windows_of_maps(maps: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return the windows of an image's maps, (H, W, 2), that hold most of its nuclei."""
    return [maps[window] for window in busiest_windows(maps[..., 0], SETTINGS.window)]


def windows_of_image(image: NDArray[Any], scale: float) -> list[NDArray[Any]]:
    """Return the windows of an image that show the most detail.

    Parameters
    ----------
    image : ndarray, (H, W) or (H, W, C)
    scale : float
        Of the probe. Each window is `Settings.window` of the network's pixels a side.
    """
    import cv2

    step = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / SETTINGS.thumbnail)))
    grey = image[::step, ::step].astype(np.float32)
    grey = grey[..., :3].mean(-1) if grey.ndim == 3 else grey
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    levels = np.clip(detail * (255 / max(float(detail.max()), 1e-9)), 0, 255).astype(np.uint8)
    return [
        image[rows.start * step : rows.stop * step, columns.start * step : columns.stop * step]
        for rows, columns in busiest_windows(levels, max(1, round(SETTINGS.window * scale / step)))
    ]
