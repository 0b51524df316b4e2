"""The way of one image through a pipeline, at a scale that is given or found."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from nucleiseg import autoscale, memory, merged, resizing
from nucleiseg.autoscale import Probe
from nucleiseg.backends import Array, Backend
from nucleiseg.limits import Limits
from nucleiseg.model import Model

Output = Literal["mask", "labels", "maps"]

OUTPUTS: tuple[Output, ...] = ("mask", "labels", "maps")

WHOLE = 3072 * 3072
"""Pixels up to which an image is probed as a whole: where nothing needs resizing, the maps of that
probe are the answer. Of larger images a few windows are probed, under 5 % of the area."""

MOST_SIDE, MOST_PIXELS = 1 << 20, 1 << 31
"""What resizing takes at most, and labels, of an image or of what the network sees of it."""


class Found(NamedTuple):
    """What was found in one image.

    Attributes
    ----------
    outputs : tuple of array
        Those that were asked for.
    scale : float
        By how much the image was shrunk for the network.
    limits : Limits
        The intensities that became 0 and 255.
    """

    outputs: tuple[Array, ...]
    scale: float
    limits: Limits


class Driver:
    """Finds scales, and calls a pipeline.

    Parameters
    ----------
    model : Model
    backend : Backend
    tile : int
        Largest side of a tile.
    batch : int
        Tiles given to the network at once.
    """

    def __init__(self, model: Model, backend: Backend, tile: int, batch: int) -> None:
        self.model = model
        self.tile = tile
        self.batch = batch
        self._backend = backend
        self._pipeline = backend.pipeline(tile, batch)

    @property
    def threads(self) -> int:
        """Processor threads in use."""
        return self._backend.threads

    def _run(
        self, image: Any, outputs: tuple[Output, ...], wanted: float | None, to_host: bool
    ) -> Found:
        """Return the outputs of an image, at a scale that is found unless one is wanted."""
        self._pipeline.check_place(to_host)
        image = self._pipeline.image(image)
        if isinstance(image, np.ndarray):
            merged.check(image)
        scale, limits, maps = (wanted, None, None) if wanted else self._find_scale(image)
        _check_size(image, outputs, scale)
        if limits is not None and maps is not None:
            found = self._pipeline.decode(maps, outputs, scale, image.shape[:2], to_host)
            return Found(found, scale, limits)
        found, limits = self._pipeline.run(image, outputs, scale, limits, to_host)
        return Found(found, scale, limits)

    def _find_scale(self, image: Array) -> tuple[float, Limits, Array | None]:
        """Find the scale; with the maps of the whole image at that scale if they were probed."""
        pipeline, whole = self._pipeline, image.shape[0] * image.shape[1] <= WHOLE
        maps, limits = pipeline.maps(image, 1.0) if whole else (None, pipeline.limits(image))
        if limits.is_blank:
            return 1.0, limits, None
        latest = {1.0: maps} if whole else {}  # maps of the whole image, of one probe

        def probe(scale: float) -> Probe:
            if not whole:
                return self._probe_windows(image, limits, scale)
            if scale not in latest:
                latest.clear()
                latest[scale], _ = pipeline.maps(image, scale, limits)
            windows = autoscale.windows_of_maps(pipeline.host(latest[scale]))
            return autoscale.decode(windows, self.model, self.threads)

        def probe_distant(scale: float) -> Probe:
            return self._probe_windows(image, limits, scale)

        scale = autoscale.find(probe, probe_distant, self.model)
        return scale, limits, latest.get(scale)

    def _probe_windows(self, image: Array, limits: Limits, scale: float) -> Probe:
        windows = autoscale.windows_of_image(self._pipeline.host(image), scale)
        maps = (self._pipeline.maps(window, scale, limits)[0] for window in windows)
        return autoscale.decode(map(self._pipeline.host, maps), self.model, self.threads)


def _check_size(image: Array, outputs: tuple[Output, ...], scale: float) -> None:
    """Refuse what the kernels cannot count or the host's memory cannot hold.

    A GPU refuses by itself what does not fit into its own.
    """
    longest, grown = max(image.shape[:2]), max(1.0, 1 / scale)
    if longest * grown < MOST_SIDE and image.shape[0] * image.shape[1] * grown**2 < memory.LARGE:
        return
    height, width = resizing.size(image.shape, scale)
    pixels = max(height * width, image.shape[0] * image.shape[1])
    fits = scale == 1 or max(height, width) <= MOST_SIDE
    if not fits or ("labels" in outputs and pixels >= MOST_PIXELS):
        raise ValueError(
            f"image: got {image.shape[0]} x {image.shape[1]} pixels, which the network would see "
            f"as {height} x {width} at scale {scale:.3g}; accepted are fewer than 2**31 pixels, "
            "and sides of up to 2**20 where the image is resized: cut it into parts"
        )
    if scale != 1 or isinstance(image, np.ndarray):
        memory.check(image.shape, outputs, scale)
