"""The pipeline of a GPU: an image is taken through the steps of a lane, in tiles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import resizing
from nucleiseg._native import cpu
from nucleiseg.backends import Array, arrays
from nucleiseg.limits import Limits
from nucleiseg.model import Model
from nucleiseg.resizing import Resized

if TYPE_CHECKING:
    from nucleiseg.backends.cuda import CudaBackend
    from nucleiseg.backends.lane import Lane

Outputs = Sequence[str]


class StepwisePipeline:
    """See `nucleiseg.backends.Pipeline`.

    Parameters
    ----------
    backend : CudaBackend
    model : Model
    tile, batch : int

    Attributes
    ----------
    whole : int
        Pixels of an image as the network sees it up to which it is resized in one piece.
    """

    whole = 3072 * 3072

    def __init__(self, backend: CudaBackend, model: Model, tile: int, batch: int) -> None:
        self._backend = backend
        self._model = model
        self._tile, self._batch = tile, batch
        self._intake = backend.kernels.Stream()

    def check_place(self, to_host: bool) -> None:
        """Accept both."""

    def times(self) -> None:
        """Return nothing: steps are not waited for one by one."""

    def image(self, value: Any) -> Array:
        """Return an image on the host or on the GPU, checked."""
        return self._taken(value, "image")

    def host(self, array: Array) -> NDArray[Any]:
        """Return an array on the host."""
        if isinstance(array, np.ndarray):
            return array
        with self._backend.session(to_host=True) as lane:
            copied: NDArray[Any] = lane.host(array)[0].copy()
            return copied

    def limits(self, image: Array) -> Limits:
        """Return the limits of an image."""
        with self._backend.session(to_host=True) as lane:
            return lane.known(lane.limits(lane.array(image, "image")))

    def maps(
        self, image: Array, scale: float = 1.0, limits: Limits | None = None
    ) -> tuple[Array, Limits]:
        """Return the maps as the network sees an image, on the GPU."""
        with self._backend.session(to_host=False) as lane:
            array = lane.array(image, "image")
            if scale == 1 and limits is None:
                work = partial(self._limits_and_maps, lane)
                found, maps = lane.repeat(self._key("probe"), array, work)
            else:
                found = lane.limits(array) if limits is None else lane.given(limits)
                maps = (
                    self._maps(lane, found, array)
                    if scale == 1
                    else self._maps_at(lane, found, lane.host(array)[0], scale)
                )
            return lane.finish(found, (maps,))[0], lane.known(found)

    def run(
        self,
        image: Array,
        outputs: Outputs,
        scale: float,
        limits: Limits | None = None,
        to_host: bool = True,
    ) -> tuple[tuple[Array, ...], Limits]:
        """Return outputs of an image, and its limits."""
        with self._backend.session(to_host) as lane:
            array = lane.array(image, "image")
            if scale == 1 and limits is None:
                work = partial(self._everything, lane, outputs)
                found, results = lane.repeat(self._key(*outputs), array, work)
            else:
                found = lane.limits(array) if limits is None else lane.given(limits)
                results = self._at_scale(lane, array, found, scale, outputs)
            return lane.finish(found, results), lane.known(found)

    def decode(
        self,
        maps: Array,
        outputs: Outputs,
        scale: float = 1.0,
        shape: Sequence[int] | None = None,
        to_host: bool = True,
    ) -> tuple[Array, ...]:
        """Return outputs of maps."""
        maps = self._taken(maps, "maps")
        height, width = maps.shape[:2] if shape is None else shape
        shape = (height, width)
        with self._backend.session(to_host) as lane:
            array = lane.array(maps, "maps")
            if scale == 1 and shape == tuple(maps.shape[:2]):
                work = partial(self._outputs, lane, outputs)
                results = lane.repeat(self._key("decode", *outputs), array, work)
            elif scale < 1 and shape != tuple(maps.shape[:2]):
                own = self._own_size(outputs, shape, maps.shape[:2])
                own.add(lane.host(array)[0])
                results = own.results()
            else:
                results = self._enlarged(lane, array, outputs, scale, shape)
            return lane.finish(None, results)

    def _taken(self, value: Any, name: str) -> Array:
        """Return an array on the host, or one on the GPU once what writes it is done."""
        if not arrays.is_on_gpu(value, name):
            return arrays.on_host(value, name)
        kernels = self._backend.kernels
        kernels.set_device(self._backend.index)
        buffer = kernels.as_buffer(value, name, stream=self._intake)
        arrays.check(buffer, name)
        self._intake.synchronize()
        return buffer

    def _key(self, *what: str) -> tuple[Any, ...]:
        """Name work that is the same for all images of one shape."""
        return (*what, self._tile, self._batch, self._model.label_rule())

    def _limits_and_maps(self, lane: Lane, image: Array) -> tuple[Any, Array]:
        limits = lane.limits(image)
        return limits, self._maps(lane, limits, image)

    def _everything(
        self, lane: Lane, outputs: Outputs, image: Array
    ) -> tuple[Any, tuple[Array, ...]]:
        """Do all there is to do for an image that is taken as it is."""
        limits = lane.limits(image)
        return limits, self._as_it_is(lane, image, limits, outputs)

    def _as_it_is(
        self, lane: Lane, image: Array, limits: Any, outputs: Outputs
    ) -> tuple[Array, ...]:
        if tuple(outputs) == ("mask",):
            return (self._mask(lane, limits, image),)
        return self._outputs(lane, outputs, self._maps(lane, limits, image))

    def _outputs(
        self, lane: Lane, outputs: Outputs, maps: Array, scale: float = 1.0
    ) -> tuple[Array, ...]:
        return tuple(self._decode(lane, maps, output, scale) for output in outputs)

    def _at_scale(
        self, lane: Lane, image: Array, limits: Any, scale: float, outputs: Outputs
    ) -> tuple[Array, ...]:
        """Make the outputs at the image's own size."""
        if scale == 1:
            return self._as_it_is(lane, image, limits, outputs)
        if scale < 1:
            return self._magnified(lane, image, limits, scale, outputs)
        maps = self._maps_at(lane, limits, lane.host(image)[0], scale)
        return self._enlarged(lane, maps, outputs, scale, image.shape[:2])

    def _own_size(self, outputs: Outputs, shape: Sequence[int], seen: Sequence[int]) -> cpu.OwnSize:
        return cpu.OwnSize(outputs, shape, seen, self._model.label_rule(), self._backend.threads)

    def _enlarged(
        self, lane: Lane, maps: Array, outputs: Outputs, scale: float, shape: tuple[int, int]
    ) -> tuple[Array, ...]:
        if maps.shape[:2] != shape:
            # The host resizes, on a GPU too: its rules are part of the answer.
            maps = cpu.enlarge_maps(lane.host(maps)[0], *shape, self._backend.threads)
        return self._outputs(lane, outputs, maps, scale)

    def _magnified(
        self, lane: Lane, image: Array, limits: Any, scale: float, outputs: Outputs
    ) -> tuple[Array, ...]:
        """Make the outputs of an image that the network sees magnified, on the host."""
        shape, seen = image.shape[:2], resizing.size(image.shape, scale)
        own = self._own_size(outputs, shape, seen)
        if seen[0] * seen[1] <= self.whole or lane.is_blank(limits):
            maps = self._maps_at(lane, limits, lane.host(image)[0], scale)
            own.add(lane.host(maps)[0])
            return own.results()
        picture = Resized(lane.host(image)[0], scale, self._backend.threads)
        for band in self._plan(picture, cpu.band_rows(shape, seen)):
            self._add_band(lane, limits, picture, band, own)
        return own.results()

    def _add_band(
        self, lane: Lane, limits: Any, image: Resized, band: cpu.Band, own: cpu.OwnSize
    ) -> None:
        maps = lane.empty("maps", (band.kept[1] - band.kept[0], image.shape[1], 2), np.uint8)
        self._fill(lane, limits, image, band, maps)
        own.add(lane.host(maps)[0])

    def _decode(self, lane: Lane, maps: Array, output: str, scale: float = 1.0) -> Array:
        if output == "maps":
            return maps
        if output == "labels":
            return lane.label(maps, self._model.label_rule(scale))
        mask = lane.empty("mask", maps.shape[:2], np.bool_)
        lane.mask(maps, self._model.nucleus_threshold, mask)
        return mask

    def _maps_at(self, lane: Lane, limits: Any, image: NDArray[Any], scale: float) -> Array:
        picture = Resized(image, scale, self._backend.threads)
        if picture.shape[0] * picture.shape[1] > self.whole:
            return self._maps(lane, limits, picture)
        seen = image if scale == 1 else picture[:, :]
        return lane.repeat(self._key("maps"), seen, partial(self._maps, lane, limits))

    def _maps(self, lane: Lane, limits: Any, image: Array | Resized) -> Array:
        shape = (*image.shape[:2], 2)
        if lane.is_blank(limits):
            return lane.zeros("maps", shape, np.uint8)
        maps = lane.empty("maps", shape, np.uint8)
        for band in self._plan(image):
            self._fill(lane, limits, image, band, maps[slice(*band.kept)])
        return maps

    def _mask(self, lane: Lane, limits: Any, image: Array) -> Array:
        """Make the mask without maps of the whole image."""
        shape = image.shape[:2]
        if lane.is_blank(limits):
            return lane.zeros("mask", shape, np.bool_)
        mask = lane.empty("mask", shape, np.bool_)
        for band in self._plan(image):
            top, bottom = band.kept
            maps = lane.empty("band", (bottom - top, shape[1], 2), np.uint8)
            self._fill(lane, limits, image, band, maps)
            lane.mask(maps, self._model.nucleus_threshold, mask[top:bottom])
        return mask

    def _plan(self, image: Array | Resized, rows: int | None = None) -> list[cpu.Band]:
        """Return the tiles of an image, none higher than so many rows."""
        height, width = image.shape[:2]
        stride = self._model.stride
        tall = self._tile if rows is None else min(self._tile, rows // stride * stride)
        return cpu.plan(height, width, self._tile, self._model.halo, stride, tall)

    def _fill(
        self,
        lane: Lane,
        limits: Any,
        image: Array | Resized,
        band: cpu.Band,
        maps: Array,
    ) -> None:
        """Run the network on one row of tiles and write what they keep of their maps."""
        all_sources, targets, cores = band.sources, band.targets, band.cores
        for first in range(0, len(all_sources), self._batch):
            some = slice(first, first + self._batch)
            # Only what these tiles see is resized and stretched at once, to save memory.
            sources = all_sources[some]
            left, right = sources[0, 1], sources[-1, 1] + band.size[1]
            picture = lane.normalize(image[slice(*band.rows), int(left) : int(right)], limits)
            tiles = lane.gather(picture, sources - [0, left], *band.size)
            cells = lane.infer(tiles)
            lane.assemble(cells, targets[some], cores[some], maps)
