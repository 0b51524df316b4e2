"""The CPU: `_native.cpu.Pipeline`, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.backends.arrays import on_host
from nucleiseg.engines.native import Engine
from nucleiseg.limits import Limits
from nucleiseg.model import Model

Array = NDArray[Any]

TILE = 3072
"""Largest side of a tile in pixels. The network takes about 150 MB for one of this size; smaller
tiles spend more of their area on the halo."""

BATCH = 1
"""Tiles given to the network at once. On a CPU a batch gains nothing once a tile is large."""


class CpuBackend:
    """The model on the processor's threads, which calls share.

    Parameters
    ----------
    model : Model
    threads : int
    """

    name = "cpu"
    tile = TILE
    batch = BATCH
    largest_tile: int | None = None
    largest_batch: int | None = None

    def __init__(self, model: Model, threads: int) -> None:
        self.threads = threads
        self.engine = Engine(model, threads)
        self._model = model
        self._device = cpu.Device(self.engine.network, threads)

    def pipeline(self, tile: int, batch: int, model: Model | None = None) -> CpuPipeline:
        """Return a pipeline with tiles of this size, so many at once."""
        return CpuPipeline(self._device, model or self._model, tile, batch)


class CpuPipeline:
    """See `nucleiseg.backends.Pipeline`.

    Parameters
    ----------
    device : _native.cpu.Device
    model : Model
    tile, batch : int
    """

    def __init__(self, device: cpu.Device, model: Model, tile: int, batch: int) -> None:
        self._device = device
        self._model = model
        self._native = cpu.Pipeline(
            device,
            stride=model.stride,
            halo=model.halo,
            tile=tile,
            batch=batch,
            percentiles=model.percentiles,
            rule=model.label_rule(),
        )

    @property
    def whole(self) -> int:
        """Pixels of the maps of a magnified image that are made in one piece."""
        return self._native.whole

    @whole.setter
    def whole(self, pixels: int) -> None:
        self._native.whole = pixels

    def check_place(self, to_host: bool) -> None:
        """Raise ValueError unless outputs are wanted on the host."""
        if not to_host:
            raise ValueError(
                "to_host: got False, but this Segmenter runs on the CPU, so results are on the "
                "host; accepted is True, or use device='cuda'"
            )

    def image(self, value: Any) -> Array:
        """Return an image on the host, checked."""
        if not isinstance(value, np.ndarray):
            return on_host(value, "image")
        cpu.check_image(value)
        return value

    def host(self, array: Array) -> Array:
        """Return the array."""
        return array

    def times(self) -> dict[str, float]:
        """Return the seconds that calls so far have spent on each part, and "pixels"."""
        return self._device.times()

    def limits(self, image: Array) -> Limits:
        """Return the limits of an image."""
        threads = self._device.threads
        return Limits(*cpu.limits(image, *self._model.percentiles, threads=threads))

    def maps(
        self, image: Array, scale: float = 1.0, limits: Limits | None = None
    ) -> tuple[NDArray[np.uint8], Limits]:
        """Return the maps as the network sees an image, and its limits."""
        maps, found = self._native.maps(image, scale, limits)
        return maps, Limits(*found)

    def run(
        self,
        image: Array,
        outputs: Sequence[str],
        scale: float,
        limits: Limits | None = None,
        to_host: bool = True,
    ) -> tuple[tuple[Array, ...], Limits]:
        """Return outputs of an image, and its limits."""
        results, found = self._native.run(image, outputs, scale, limits)
        return results, Limits(*found)

    def decode(
        self,
        maps: Any,
        outputs: Sequence[str],
        scale: float = 1.0,
        shape: Sequence[int] | None = None,
        to_host: bool = True,
    ) -> tuple[Array, ...]:
        """Return outputs of maps."""
        return self._native.decode(on_host(maps, "maps"), outputs, scale, shape)
