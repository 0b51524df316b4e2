"""The CPU: native kernels and an engine, on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nucleiseg._native import cpu as kernels
from nucleiseg.backends.arrays import on_host
from nucleiseg.backends.shares import Shares
from nucleiseg.engines.native import Engine
from nucleiseg.limits import Limits
from nucleiseg.model import Model

Array = NDArray[Any]

TILE = 3072
"""Largest side of a tile in pixels. The network takes about 150 MB for one of this size; smaller
tiles spend more of their area on the halo."""

BATCH = 1
"""Tiles given to the network at once. On a CPU a batch gains nothing once a tile is large."""


class CpuSteps:
    """Kernels of ``_native.cpu`` and an engine of the CPU, on some threads.

    See `nucleiseg.backends.Steps` for the steps.

    Parameters
    ----------
    model : Model
        Whose settings are bound.
    engine : Engine
    threads : int
    """

    def __init__(self, model: Model, engine: Engine, threads: int) -> None:
        self.threads = threads
        self.engine = engine
        self._model = model

    def array(self, value: Any, name: str) -> Array:
        """Check what a caller gave."""
        return on_host(value, name)

    def host(self, *arrays: Array) -> list[Array]:
        """Give the arrays as they are."""
        return list(arrays)

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Give new memory."""
        return np.empty(shape, dtype)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Give new memory, filled with 0."""
        return np.zeros(shape, dtype)

    def limits(self, image: Array) -> Limits:
        """Find the two intensities that become 0 and 255."""
        return Limits(*kernels.limits(image, *self._model.percentiles, threads=self.threads))

    def known(self, limits: Limits) -> Limits:
        """Return the limits."""
        return limits

    def is_blank(self, limits: Limits) -> bool:
        """Return whether nothing in the image stands out from its noise."""
        return limits.is_blank

    def normalize(self, image: Array, limits: Limits) -> NDArray[np.uint8]:
        """Stretch the range between the limits to 0..255: (H, W, 3) uint8."""
        return kernels.normalize(
            image, limits.low, limits.high, limits.ceiling, threads=self.threads
        )

    def gather(
        self, image: NDArray[np.uint8], origins: NDArray[np.int64], height: int, width: int
    ) -> NDArray[np.uint8]:
        """Cut tiles, (N, height, width, 3) uint8, mirrored beyond the image."""
        return kernels.gather(image, origins, height, width, threads=self.threads)

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run the network: cells, (N, h / 2, w / 2, 8) uint8."""
        return self.engine.infer(tiles, self.threads)

    def assemble(
        self,
        cells: NDArray[np.uint8],
        origins: NDArray[np.int64],
        cores: NDArray[np.int64],
        out: NDArray[np.uint8],
    ) -> None:
        """Spread each tile's cells over pixels and write its core into ``out``."""
        kernels.assemble(cells, origins, cores, out, threads=self.threads)

    def mask(self, maps: NDArray[np.uint8], out: NDArray[np.bool_]) -> None:
        """Threshold the nucleus map into ``out``."""
        kernels.mask(maps, self._model.nucleus_threshold, threads=self.threads, out=out)

    def label(
        self,
        maps: NDArray[np.uint8],
        scale: float = 1.0,
    ) -> NDArray[np.int32]:
        """Give one id a nucleus; ``scale`` says how far the maps were magnified."""
        dense = np.ascontiguousarray(maps)
        rule = self._model.label_rule(scale)
        labels, _ = kernels.label(dense, *rule, threads=self.threads)
        return labels

    def repeat(self, key: tuple[Any, ...], image: Array, work: Callable[[Array], Any]) -> Any:
        """Do the work."""
        return work(image)

    def finish(self, limits: Limits | None, results: tuple[Array, ...]) -> tuple[Array, ...]:
        """Give the results as they are."""
        return results


class CpuBackend(CpuSteps):
    """The steps on all threads, and sessions that share the threads out.

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
        super().__init__(model, Engine(model, threads), threads)
        self._shares = Shares(threads)

    @contextmanager
    def session(self, to_host: bool) -> Iterator[CpuSteps]:
        """Give the steps on a share of the threads, as soon as one is free."""
        if not to_host:
            raise ValueError(
                "to_host: got False, but this Segmenter runs on the CPU, so results are on the "
                "host; accepted is True, or use device='cuda'"
            )
        with self._shares.take() as threads:
            yield CpuSteps(self._model, self.engine, threads)
