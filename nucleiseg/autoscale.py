"""Finding the scale of an image at which its nuclei have the size the model is best at.

`find` probes the image: the network's maps, of all of it or of a few windows, are decoded once into
nuclei with their area, peak and prominence (``cpu.nuclei``). A peak is the highest predicted centre
distance, which the network learned to be 1 in every nucleus; at a wrong scale peaks are low. From
the one decoding come

detected nuclei
    of almost any size and peak;
confident nuclei
    with a high peak, after joining parts that hardly stand out from each other, so that noise and
    texture are not among them;
the evidence
    the area of detected nuclei of a good size times the cube of their peaks, which is largest near
    the right scale.

An image whose detected nuclei are mostly confident and of a good size is taken as it is. Where they
are confident and too large, it is shrunk by as much as their area-weighted mean diameter asks for,
and further in small steps while the evidence remains, as crowded nuclei that are too large run into
clumps and their mean diameter says too little. In all other images a second network, ``SIZES``,
measures the nuclei: in each pixel of a nucleus it gives that nucleus's diameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg import resizing
from nucleiseg._native import cpu
from nucleiseg.model import MODELS, Model


@dataclass(frozen=True)
class Settings:
    """Settings of `find`.

    What they were measured with is in ``docs/experiments.md``, sections "Finding the scale", "A
    teacher" and "Magnification": ``python -m training.scales`` on validation and training images.

    Attributes
    ----------
    smallest_found, largest_found : float
        Scales that `find` may return. Magnifying costs the square of its factor, and beyond three
        times gains nothing (AP@0.5 of images shrunk to a third: 0.758 at 3 times, 0.733 at 4).
    probes : int
        How many scales are probed one after the other.
    measurements : int
        How many times nuclei are measured, each time at the scale that the last one asked for.
    close : float
        Measuring ends where it asks for a change of the scale by less than this factor.
    least_measured : int
        Nucleus pixels that a measurement needs.
    magnified : float
        Nuclei that are too small are brought to the model's diameter times this.
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
    confident_share : float
        Share of the detected area that confident nuclei must have, or the probe is doubtful and
        does not decide for shrinking: a single large clump among small nuclei does not count. At
        the right scale most images have half or more.
    least_nuclei : int
        Fewer detected nuclei decide nothing.
    kept_shrinking : float
        Share of the most evidence that must remain when an image that was shrunk is shrunk further.
    good_sizes : tuple of float
        Nuclei count as evidence if their diameters are between these multiples of the model's.
    """

    smallest_found: float = 1 / 3
    largest_found: float = 16.0
    probes: int = 3
    measurements: int = 4
    close: float = 1.25
    least_measured: int = 50
    magnified: float = 0.9
    window: int = 320
    windows: int = 4
    thumbnail: int = 1_000_000
    least_area_scale: float = 1 / 2
    detected_peak: float = 60 / 255
    confident_peak: float = 175 / 255
    confident_prominence: int = 75
    confident_share: float = 1 / 4
    least_nuclei: int = 5
    kept_shrinking: float = 0.95
    good_sizes: tuple[float, float] = (0.4, 1.5)


SETTINGS = Settings()

SIZES = MODELS / "sizes" / "nuclei-sizes.onnx"
"""The network that measures nuclei. Of its two maps, uint8, the first is the probability of a
nucleus and the second the diameter of the nucleus that a pixel is in (`training.sizes`)."""


@dataclass(frozen=True)
class Probe:
    """What the network found in part of an image at one scale.

    Attributes
    ----------
    diameters : ndarray, (n,) float64
        Of detected nuclei, in the network's pixels.
    peaks : ndarray, (n,) float64
        Of the same, 0 to 1.
    confident : ndarray, (m,) float64
        Diameters of confident nuclei.
    pixels : int
        How many pixels the network saw.
    labels : ndarray, (h, w) int32, or None
        What the model's rule makes of the maps; None of several windows.
    """

    diameters: NDArray[np.float64]
    peaks: NDArray[np.float64]
    confident: NDArray[np.float64]
    pixels: int
    labels: NDArray[np.int32] | None = None

    @property
    def cover(self) -> float:
        """Share of the pixels that detected nuclei cover."""
        return _area(self.diameters) / self.pixels

    @property
    def confident_share(self) -> float:
        """Area of confident nuclei over that of detected ones; 0 where there are none."""
        return _area(self.confident) / _area(self.diameters) if self.diameters.size else 0.0

    @property
    def is_doubtful(self) -> bool:
        """Whether little was detected, or little of it with confidence.

        This happens where nuclei are far too small for the model and are missed or run into clumps,
        and where they are so large that it sees their texture.
        """
        few = self.diameters.size < SETTINGS.least_nuclei
        return few or self.confident_share < SETTINGS.confident_share

    def evidence(self, model: Model) -> float:
        """Return the area of nuclei of a good size, times their cubed peaks, over all pixels."""
        low, high = (model.diameter * factor for factor in SETTINGS.good_sizes)
        good = (self.diameters >= low) & (self.diameters <= high)
        areas = np.pi / 4 * self.diameters[good] ** 2
        return float((areas * self.peaks[good] ** 3).sum()) / self.pixels


def _area(diameters: NDArray[np.float64]) -> float:
    return float((diameters**2).sum()) * np.pi / 4


def find(probe: Callable[[float], Probe], measure: Callable[[float], float], model: Model) -> float:
    """Return the scale at which the model sees nuclei at the size it is best at.

    Parameters
    ----------
    probe : callable
        Returns the probe at a scale.
    measure : callable
        Returns the usual diameter at a scale, in the network's pixels; 0 where there are no nuclei.
    model : Model
    """
    seen = probe(1.0)
    low, high = model.good_diameters
    if not seen.is_doubtful:
        if usual_diameter(seen.confident) > high:
            return _shrunk(seen, probe, model)
        if usual_diameter(seen.diameters) >= low:
            return 1.0
    return _measured_scale(measure, model)


def _measured_scale(measure: Callable[[float], float], model: Model) -> float:
    """Return the scale that measured diameters lead to, 1 if they are good or there are none.

    Crowded nuclei may be measured too small at one scale and too large at the next, and so on.
    Where the last diameter lies within the range of those before, the geometric mean of all counts.
    """
    scale, diameters = 1.0, []
    for _ in range(SETTINGS.measurements):
        diameter = scale * measure(scale)
        if not diameter:
            break
        diameters.append(diameter)
        wanted = _scale_of(diameter, model)
        change = wanted / scale
        scale = wanted
        if 1 / SETTINGS.close < change < SETTINGS.close:
            break
    else:
        if min(diameters[:-1]) <= diameters[-1] <= max(diameters[:-1]):
            scale = _scale_of(float(np.exp(np.mean(np.log(diameters)))), model)
    return resizing.snapped(scale)


def _scale_of(diameter: float, model: Model) -> float:
    """Return the scale for nuclei of a diameter in an image."""
    low, high = model.good_diameters
    if low <= diameter <= high:
        return 1.0
    share = SETTINGS.magnified if diameter < low else 1.0
    return _limited(diameter / (share * model.diameter))


def _shrunk(seen: Probe, probe: Callable[[float], Probe], model: Model) -> float:
    """Return the scale at which nuclei that are confident and too large have a good size."""
    scale, (_, high) = 1.0, model.good_diameters
    for number in range(SETTINGS.probes - 1):
        usual = usual_diameter(seen.confident) if not seen.is_doubtful else 0.0
        if usual <= high:
            break
        wanted = _limited(scale * usual / model.diameter)
        then = probe(wanted)
        # Windows of an image that was shrunk hold more background, so evidence may fall once.
        if number and then.evidence(model) < seen.evidence(model):
            break
        scale, seen = wanted, then
    return _shrunk_further(scale, seen, probe, model)


def _shrunk_further(
    scale: float, seen: Probe, probe: Callable[[float], Probe], model: Model
) -> float:
    """Return the last scale, in steps that keep diameters good, at which the evidence remains."""
    step, most = resizing.TOLERANCE, seen.evidence(model)
    while (
        scale * step <= SETTINGS.largest_found
        and seen.diameters.size
        and usual_diameter(seen.diameters) >= step * model.good_diameters[0]
    ):
        then = probe(scale * step)
        evidence = then.evidence(model)
        if evidence < SETTINGS.kept_shrinking * most:
            break
        most = max(most, evidence)
        scale, seen = scale * step, then
    return scale


def _limited(scale: float) -> float:
    return float(np.clip(scale, SETTINGS.smallest_found, SETTINGS.largest_found))


def usual_diameter(diameters: NDArray[np.float64]) -> float:
    """Return the mean diameter, weighted by area so that fragments and specks hardly count."""
    return float(np.average(diameters, weights=diameters**2))


class Table(NamedTuple):
    """The nuclei of one window, as ``cpu.nuclei`` tabulates them.

    Attributes
    ----------
    pixels : int
        How many pixels the window has.
    areas : ndarray, (n,) int64
    peaks, prominences : ndarray, (n,) float64
        0 to 255.
    neighbours : ndarray, (n,) int64
    """

    pixels: int
    areas: NDArray[np.int64]
    peaks: NDArray[np.float64]
    prominences: NDArray[np.float64]
    neighbours: NDArray[np.int64]

    def joined_areas(self) -> NDArray[np.int64]:
        """Return the areas of nuclei with those that hardly stand out from them; of those 0."""
        own = np.arange(self.areas.size)
        target = np.where(self.prominences < SETTINGS.confident_prominence, self.neighbours, own)
        while not np.array_equal(target, target[target]):
            target = target[target]
        areas: NDArray[np.int64] = np.zeros_like(self.areas)
        np.add.at(areas, target, self.areas)
        return areas


def decode(windows: Iterable[NDArray[np.uint8]], model: Model, threads: int) -> Probe:
    """Return what maps of the network show.

    Parameters
    ----------
    windows : iterable of ndarray, (h, w, 2) uint8
        Maps of parts of an image, all at one scale.
    model : Model
    threads : int
    """
    labels, tables = zip(*(_tabulated(maps, model, threads) for maps in windows), strict=True)
    return replace(selected(tables, model), labels=labels[0] if len(labels) == 1 else None)


def _tabulated(
    maps: NDArray[np.uint8], model: Model, threads: int
) -> tuple[NDArray[np.int32], Table]:
    most_prominence = max(model.prominence, SETTINGS.confident_prominence)
    rule = model.label_rule()
    labels, areas, peaks, prominences, neighbours = cpu.nuclei(
        np.ascontiguousarray(maps), *rule, most_prominence, threads=threads
    )
    return labels, Table(maps.shape[0] * maps.shape[1], areas, peaks, prominences, neighbours)


def selected(tables: Sequence[Table], model: Model) -> Probe:
    """Select detected and confident nuclei of one or more windows."""
    areas = np.concatenate([table.areas for table in tables])
    joined = np.concatenate([table.joined_areas() for table in tables])
    peaks = np.concatenate([table.peaks for table in tables]) / 255
    least_area = max(1, round(model.min_area * SETTINGS.least_area_scale**2))
    least_peak = min(SETTINGS.detected_peak, model.min_peak / 255)
    detected = (areas >= least_area) & (peaks >= least_peak)
    confident = (joined >= least_area) & (peaks >= SETTINGS.confident_peak)
    return Probe(
        _diameters(areas[detected]),
        peaks[detected],
        _diameters(joined[confident]),
        sum(table.pixels for table in tables),
    )


def _diameters(areas: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the diameters of discs of these areas."""
    diameters: NDArray[np.float64] = 2 * np.sqrt(areas / np.pi)
    return diameters


def measured_diameter(
    windows: Iterable[NDArray[np.uint8]], diameters: tuple[float, float]
) -> float:
    """Return the usual diameter of nuclei in maps of the network `SIZES`, 0 where there are none.

    Parameters
    ----------
    windows : iterable of ndarray, (h, w, 2) uint8
        Maps of parts of an image, all at one scale.
    diameters : tuple of float
        What 0 and 255 of the second map stand for; between them their logarithms are even.

    Returns
    -------
    float
        In the network's pixels; the mean over all pixels of nuclei.
    """
    pixels = np.zeros(256, np.int64)
    for maps in windows:
        pixels += np.bincount(maps[..., 1][maps[..., 0] > 127], minlength=256)
    if pixels.sum() < SETTINGS.least_measured:
        return 0.0
    return float(np.average(np.geomspace(*diameters, 256), weights=pixels))


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
    step = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / SETTINGS.thumbnail)))
    grey = image[::step, ::step].astype(np.float32)
    grey = grey[..., :3].mean(-1) if grey.ndim == 3 else grey
    around = np.pad(grey, 1, mode="reflect")
    beside = around[:-2, 1:-1] + around[1:-1, :-2] - 4 * grey + around[1:-1, 2:] + around[2:, 1:-1]
    detail = np.abs(beside)
    levels = np.clip(detail * (255 / max(float(detail.max()), 1e-9)), 0, 255).astype(np.uint8)
    return [
        image[rows.start * step : rows.stop * step, columns.start * step : columns.stop * step]
        for rows, columns in busiest_windows(levels, max(1, round(SETTINGS.window * scale / step)))
    ]
