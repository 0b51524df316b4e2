"""The way of one image through a pipeline, at a scale that is given or found."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg import autoscale, memory, resizing, stains
from nucleiseg.autoscale import Probe
from nucleiseg.backends import Array, Backend, Pipeline
from nucleiseg.limits import Limits
from nucleiseg.model import LabelRule, Model
from nucleiseg.parameters import Decoding

Output = Literal["mask", "labels", "maps"]

OUTPUTS: tuple[Output, ...] = ("mask", "labels", "maps")

WHOLE = 3072 * 3072
"""Pixels up to which an image is probed as a whole: where nothing needs resizing, the maps of that
probe are the answer. Of larger images a few windows are probed, under 5 % of the area."""

DECODERS = 8
"""Pipelines that are kept, one for each way of decoding that callers asked for."""

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


class Seen(NamedTuple):
    """A scale, and what was made of the image while it was found.

    Attributes
    ----------
    scale : float
    limits : Limits, optional
    maps : array, optional
        Of the whole image at this scale.
    labels : ndarray, (H, W) int32, optional
        By the model's own rule.
    """

    scale: float
    limits: Limits | None = None
    maps: Array | None = None
    labels: NDArray[np.int32] | None = None


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
        self._decoders: dict[LabelRule, Pipeline] = {}
        self._decoders_lock = threading.Lock()

    @property
    def threads(self) -> int:
        """Processor threads in use."""
        return self._backend.threads

    def _run(
        self,
        image: Any,
        outputs: tuple[Output, ...],
        wanted: float | None,
        to_host: bool,
        decoding: Decoding | None,
        stain: str,
    ) -> Found:
        """Return the outputs of an image, at a scale that is found unless one is wanted.

        The decoding is the model's unless one is given; the scale does not depend on it.
        """
        self._pipeline.check_place(to_host)
        decoder = self._decoder(decoding, to_host) if decoding else self._pipeline
        needed = decoding.needed(outputs) if decoding else outputs
        image = self._pipeline.image(image)
        if stain != "auto" and not isinstance(image, np.ndarray):
            stains.check(stain)
            image = image if stain == "he" else self._pipeline.host(image)
        if isinstance(image, np.ndarray):
            image = stains.shown(image, stain)
        scale, limits, maps, labels = Seen(wanted) if wanted else self._find_scale(image)
        _check_size(image, needed, scale)
        as_probed = needed == ("labels",) and decoder is self._pipeline and to_host
        if limits is None or maps is None:
            found, limits = decoder.run(image, needed, scale, limits, to_host)
        elif as_probed and labels is not None:
            found = (labels,)
        else:
            found = decoder.decode(maps, needed, scale, image.shape[:2], to_host)
        if decoding:
            found = decoding.select(outputs, needed, found)
        return Found(found, scale, limits)

    def _decoder(self, decoding: Decoding, to_host: bool) -> Pipeline:
        """Return the pipeline that decodes in a given way; all of them share the device.

        ValueError if outputs cannot be left on the device.
        """
        if decoding.is_selective and not to_host:
            raise ValueError(
                "to_host: got False, but nuclei are selected on the host; accepted is True, or "
                "leave out min_area, min_diameter, max_diameter and exclude_border"
            )
        model = decoding.model(self.model)
        rule = model.label_rule()
        if rule == self.model.label_rule():
            return self._pipeline
        with self._decoders_lock:
            if rule not in self._decoders:
                while len(self._decoders) >= DECODERS:
                    del self._decoders[next(iter(self._decoders))]
                made = self._backend.pipeline(self.tile, self.batch, model)
                made.native.whole = self._pipeline.native.whole
                self._decoders[rule] = made
            return self._decoders[rule]

    def _find_scale(self, image: Array) -> Seen:
        """Find the scale; with maps and labels of the whole image if that was probed at it."""
        pipeline, whole = self._pipeline, image.shape[0] * image.shape[1] <= WHOLE
        maps, limits = pipeline.maps(image, 1.0) if whole else (None, pipeline.limits(image))
        if limits.is_blank:
            return Seen(1.0, limits)
        latest = {1.0: maps} if whole else {}  # maps of the whole image, of the last two probes
        labels = None

        def probe(scale: float) -> Probe:
            nonlocal labels
            if whole and scale not in latest:
                while len(latest) > 1:
                    del latest[next(iter(latest))]
                latest[scale], _ = pipeline.maps(image, scale, limits)
            windows = (
                autoscale.windows_of_maps(pipeline.host(latest[scale]))
                if whole
                else self._windows(pipeline, image, limits, scale)
            )
            seen = autoscale.decode(windows, self.model, self.threads)
            labels = seen.labels if whole and scale == 1 else labels
            return seen

        def measure(scale: float) -> float:
            sizes, diameters = self._sizes
            windows = self._windows(sizes, image, limits, scale)
            return autoscale.measured_diameter(windows, diameters)

        scale = autoscale.find(probe, measure, self.model)
        return Seen(scale, limits, latest.get(scale), labels if scale == 1 else None)

    def _windows(
        self, pipeline: Pipeline, image: Array, limits: Limits, scale: float
    ) -> Iterator[NDArray[np.uint8]]:
        """Return a network's maps of a few windows of an image."""
        for window in autoscale.windows_of_image(self._pipeline.host(image), scale):
            yield pipeline.host(pipeline.maps(window, scale, limits)[0])

    @cached_property
    def _sizes(self) -> tuple[Pipeline, tuple[float, float]]:
        """The pipeline of the network that measures nuclei, and what its second map stands for."""
        model = Model.load(autoscale.SIZES)
        pipeline = self._backend.beside(model).pipeline(self.tile, 1)
        return pipeline, model.metadata["output"]["diameters"]


def _check_size(image: Array, outputs: Sequence[str], scale: float) -> None:
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


def read(image: Any) -> Any:
    """Return an image that a caller gave, read if it is the path of a file."""
    if isinstance(image, str | Path):
        from nucleiseg import images

        return next(images.open(image)).array
    return image


def check_output(output: str, accepted: tuple[str, ...]) -> None:
    """Raise ValueError for the name of an output that there is not."""
    if output not in accepted:
        raise ValueError(f"output: got {output!r}; accepted are {', '.join(map(repr, accepted))}")
