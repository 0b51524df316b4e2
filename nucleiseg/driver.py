"""The driver: an image goes in, a mask or labels come out, whatever the device."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg import autoscale, magnified, memory, merged, resizing, tiling
from nucleiseg.autoscale import Probe
from nucleiseg.backends import AnyLimits, Array, Backend, Steps
from nucleiseg.limits import Limits
from nucleiseg.magnified import OwnSize
from nucleiseg.model import Model
from nucleiseg.resizing import Resized

Output = Literal["mask", "labels", "maps"]

OUTPUTS: tuple[Output, ...] = ("mask", "labels", "maps")

WHOLE = 3072 * 3072
"""Pixels up to which an image is probed as a whole: where nothing needs resizing, the maps of that
probe are the answer. Of larger images a few windows are probed, under 5 % of the area."""

MOST_SIDE, MOST_PIXELS = 1 << 20, 1 << 31
"""What resizing takes at most, and labels, of an image or of what the network sees of it."""


class Found(NamedTuple):
    """What the network saw in one image.

    Attributes
    ----------
    outputs : tuple of array
        Those that were asked for.
    scale : float
        How far the network saw the image shrunk.
    limits : Limits
        The intensities that became 0 and 255.
    """

    outputs: tuple[Array, ...]
    scale: float
    limits: Limits


class Driver:
    """Takes images through the steps of a backend, in tiles.

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
        self._backend = backend
        self.tile = tile
        self.batch = batch

    @property
    def threads(self) -> int:
        """Processor threads in use."""
        return self._backend.threads

    def _run(
        self, image: Any, outputs: tuple[Output, ...], wanted: float | None, to_host: bool
    ) -> Found:
        """Return the outputs of an image, at a scale that is found unless one is wanted."""
        with self._backend.session(to_host) as steps:
            array = steps.array(image, "image")
            if isinstance(image, np.ndarray):
                merged.check(image)
            if wanted is not None:
                _check_size(array, outputs, wanted)
            if wanted == 1:
                work = partial(self._everything, steps, outputs)
                limits, results = steps.repeat(self._key(*outputs), array, work)
                return Found(steps.finish(limits, results), 1.0, steps.known(limits))
            if wanted is None:
                limits, scale, maps = self._find_scale(steps, array)
                _check_size(array, outputs, scale)
            else:
                limits, scale, maps = steps.limits(array), wanted, None
            results = self._at_scale(steps, array, limits, scale, maps, outputs)
            return Found(steps.finish(limits, results), scale, steps.known(limits))

    def _key(self, *what: str) -> tuple[Any, ...]:
        """Name work that is the same for all images of one shape."""
        return (*what, self.tile, self.batch)

    def _everything(
        self, steps: Steps, outputs: tuple[Output, ...], image: Array
    ) -> tuple[AnyLimits, tuple[Array, ...]]:
        """Do all there is to do for an image that is taken as it is."""
        limits = steps.limits(image)
        return limits, self._as_it_is(steps, image, limits, outputs)

    def _as_it_is(
        self, steps: Steps, image: Array, limits: AnyLimits, outputs: tuple[Output, ...]
    ) -> tuple[Array, ...]:
        if outputs == ("mask",):
            return (self._mask(steps, limits, image),)
        return self._outputs(steps, outputs, self._maps(steps, limits, image))

    def _outputs(self, steps: Steps, outputs: tuple[Output, ...], maps: Array) -> tuple[Array, ...]:
        return tuple(self._decode(steps, maps, output) for output in outputs)

    def _at_scale(
        self,
        steps: Steps,
        image: Array,
        limits: AnyLimits,
        scale: float,
        maps: Array | None,
        outputs: tuple[Output, ...],
    ) -> tuple[Array, ...]:
        """Make the outputs at the image's own size, with maps at that scale if there are some."""
        if scale == 1 and maps is None:
            return self._as_it_is(steps, image, limits, outputs)
        if scale == 1:
            work = partial(self._outputs, steps, outputs)
            results: tuple[Array, ...] = steps.repeat(self._key("decode", *outputs), maps, work)
            return results
        if scale < 1:
            return self._magnified(steps, image, limits, scale, maps, outputs)
        if maps is None:
            maps = self._maps_at(steps, limits, steps.host(image)[0], scale)
        if maps.shape[:2] != image.shape[:2]:
            # The host resizes, on a GPU too: OpenCV's rules are part of the answer.
            maps = resizing.restored(steps.host(maps)[0], image.shape[:2], smooth=True)
        return tuple(self._decode(steps, maps, output, scale) for output in outputs)

    def _magnified(
        self,
        steps: Steps,
        image: Array,
        limits: AnyLimits,
        scale: float,
        maps: Array | None,
        outputs: tuple[Output, ...],
    ) -> tuple[Array, ...]:
        """Make the outputs of an image that the network sees magnified, on the host."""
        shape, seen = image.shape[:2], resizing.size(image.shape, scale)
        own = OwnSize(outputs, shape, seen, self.model, self.threads)
        if maps is None and (seen[0] * seen[1] <= WHOLE or steps.is_blank(limits)):
            maps = self._maps_at(steps, limits, steps.host(image)[0], scale)
        if maps is not None:
            own.add(steps.host(maps)[0])
            return own.results()
        picture = Resized(steps.host(image)[0], scale, self.threads)
        for band in self._plan(picture, magnified.band_rows(shape, seen)).bands:
            self._add_band(steps, limits, picture, band, own)
        return own.results()

    def _add_band(
        self, steps: Steps, limits: AnyLimits, image: Resized, band: tiling.Band, own: OwnSize
    ) -> None:
        maps = steps.empty("maps", (band.kept[1] - band.kept[0], image.shape[1], 2), np.uint8)
        self._fill(steps, limits, image, band, maps)
        own.add(steps.host(maps)[0])

    def _decode(self, steps: Steps, maps: Array, output: Output, scale: float = 1.0) -> Array:
        if output == "maps":
            return maps
        if output == "labels":
            return steps.label(maps, scale)
        mask = steps.empty("mask", maps.shape[:2], np.bool_)
        steps.mask(maps, mask)
        return mask

    def _find_scale(self, steps: Steps, image: Array) -> tuple[AnyLimits, float, Array | None]:
        """Find the scale; with the maps of the whole image at that scale if they were probed."""
        limits, maps = self._first_maps(steps, image)
        if steps.known(limits).is_blank:
            return limits, 1.0, maps
        latest = {} if maps is None else {1.0: maps}  # maps of the whole image, of one probe

        def probe(scale: float) -> Probe:
            if maps is None:
                return self._probe_windows(steps, limits, image, scale)
            if scale not in latest:
                latest.clear()
                latest[scale] = self._maps_at(steps, limits, steps.host(image)[0], scale)
            windows = autoscale.windows_of_maps(steps.host(latest[scale])[0])
            return autoscale.decode(windows, self.model, self.threads)

        def probe_distant(scale: float) -> Probe:
            latest.clear()  # on a GPU other maps take their memory
            return self._probe_windows(steps, limits, image, scale)

        scale = autoscale.find(probe, probe_distant, self.model)
        return limits, scale, latest.get(scale)

    def _first_maps(self, steps: Steps, image: Array) -> tuple[AnyLimits, Array | None]:
        """Return the limits, and the maps at scale 1 unless the image is too large for that."""
        if image.shape[0] * image.shape[1] > WHOLE:
            return steps.limits(image), None

        def work(image: Array) -> tuple[AnyLimits, Array]:
            limits = steps.limits(image)
            return limits, self._maps(steps, limits, image)

        limits, maps = steps.repeat(self._key("probe"), image, work)
        return limits, maps

    def _probe_windows(self, steps: Steps, limits: AnyLimits, image: Array, scale: float) -> Probe:
        windows = autoscale.windows_of_image(steps.host(image)[0], scale)
        maps = (self._maps_at(steps, limits, window, scale) for window in windows)
        return autoscale.decode((steps.host(one)[0] for one in maps), self.model, self.threads)

    def _maps_at(self, steps: Steps, limits: AnyLimits, image: NDArray[Any], scale: float) -> Array:
        picture = Resized(image, scale, self.threads)
        if picture.shape[0] * picture.shape[1] > WHOLE:
            return self._maps(steps, limits, picture)
        seen = image if scale == 1 else picture[:, :]
        return steps.repeat(self._key("maps"), seen, partial(self._maps, steps, limits))

    def _maps(self, steps: Steps, limits: AnyLimits, image: Array | Resized) -> Array:
        shape = (*image.shape[:2], 2)
        if steps.is_blank(limits):
            return steps.zeros("maps", shape, np.uint8)
        maps = steps.empty("maps", shape, np.uint8)
        for band in self._plan(image).bands:
            self._fill(steps, limits, image, band, maps[slice(*band.kept)])
        return maps

    def _mask(self, steps: Steps, limits: AnyLimits, image: Array) -> Array:
        """Make the mask without maps of the whole image."""
        shape = image.shape[:2]
        if steps.is_blank(limits):
            return steps.zeros("mask", shape, np.bool_)
        mask = steps.empty("mask", shape, np.bool_)
        for band in self._plan(image).bands:
            top, bottom = band.kept
            maps = steps.empty("band", (bottom - top, shape[1], 2), np.uint8)
            self._fill(steps, limits, image, band, maps)
            steps.mask(maps, mask[top:bottom])
        return mask

    def _plan(self, image: Array | Resized, rows: int | None = None) -> tiling.Plan:
        """Return the tiles of an image, none higher than so many rows."""
        height, width = image.shape[:2]
        stride = self.model.stride
        tall = self.tile if rows is None else min(self.tile, rows // stride * stride)
        return tiling.plan(height, width, self.tile, self.model.halo, stride, tall)

    def _fill(
        self,
        steps: Steps,
        limits: AnyLimits,
        image: Array | Resized,
        band: tiling.Band,
        maps: Array,
    ) -> None:
        """Run the network on one row of tiles and write what they keep of their maps."""
        for first in range(0, len(band.sources), self.batch):
            some = slice(first, first + self.batch)
            # Only what these tiles see is resized and stretched at once, to save memory.
            columns, sources = tiling.seen(band.sources[some], band.size[1], image.shape[1])
            picture = steps.normalize(image[slice(*band.rows), columns], limits)
            tiles = steps.gather(picture, sources, *band.size)
            cells = steps.infer(tiles)
            steps.assemble(cells, band.targets[some], band.cores[some], maps)


def _check_size(image: Array, outputs: tuple[Output, ...], scale: float) -> None:
    """Refuse what the kernels cannot count or the host's memory cannot hold.

    A GPU refuses by itself what does not fit into its own.
    """
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
