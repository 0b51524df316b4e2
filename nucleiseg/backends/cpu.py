"""The CPU: native kernels and an engine, on NumPy arrays."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

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


_P = ParamSpec("_P")
_R = TypeVar("_R")


class Times:
    """Seconds spent on each part of all calls so far, and the pixels that the network was given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums = dict.fromkeys(("prepare", "infer", "assemble", "decode", "pixels"), 0.0)

    def add(self, part: str, value: float) -> None:
        """Add to a sum."""
        with self._lock:
            self._sums[part] += value

    def copy(self) -> dict[str, float]:
        """Return the sums."""
        with self._lock:
            return dict(self._sums)


def _counted(
    part: str,
) -> Callable[[Callable[Concatenate[CpuSteps, _P], _R]], Callable[Concatenate[CpuSteps, _P], _R]]:
    """Add the seconds of a step to the sum of its part."""

    def decorate(
        step: Callable[Concatenate[CpuSteps, _P], _R],
    ) -> Callable[Concatenate[CpuSteps, _P], _R]:
        @functools.wraps(step)
        def run(self: CpuSteps, /, *arguments: _P.args, **options: _P.kwargs) -> _R:
            begin = time.perf_counter()
            result = step(self, *arguments, **options)
            self.sums.add(part, time.perf_counter() - begin)
            return result

        return run

    return decorate


class CpuSteps:
    """Kernels of ``_native.cpu`` and an engine of the CPU, on some threads.

    See `nucleiseg.backends.Steps` for the steps.

    Parameters
    ----------
    model : Model
        Whose settings are bound.
    engine : Engine
    threads : int
    sums : Times
        To which each step adds the time it takes.
    """

    def __init__(self, model: Model, engine: Engine, threads: int, sums: Times) -> None:
        self.sums = sums
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

    @_counted("prepare")
    def limits(self, image: Array) -> Limits:
        """Find the two intensities that become 0 and 255."""
        return Limits(*kernels.limits(image, *self._model.percentiles, threads=self.threads))

    def known(self, limits: Limits) -> Limits:
        """Return the limits."""
        return limits

    def is_blank(self, limits: Limits) -> bool:
        """Return whether nothing in the image stands out from its noise."""
        return limits.is_blank

    @_counted("prepare")
    def normalize(self, image: Array, limits: Limits) -> NDArray[np.uint8]:
        """Stretch the range between the limits to 0..255: (H, W, 3) uint8."""
        return kernels.normalize(
            image, limits.low, limits.high, limits.ceiling, threads=self.threads
        )

    @_counted("prepare")
    def gather(
        self, image: NDArray[np.uint8], origins: NDArray[np.int64], height: int, width: int
    ) -> NDArray[np.uint8]:
        """Cut tiles, (N, height, width, 3) uint8, mirrored beyond the image."""
        return kernels.gather(image, origins, height, width, threads=self.threads)

    @_counted("infer")
    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run the network: cells, (N, h / 2, w / 2, 8) uint8."""
        self.sums.add("pixels", tiles.size // 3)
        return self.engine.infer(tiles, self.threads)

    @_counted("assemble")
    def assemble(
        self,
        cells: NDArray[np.uint8],
        origins: NDArray[np.int64],
        cores: NDArray[np.int64],
        out: NDArray[np.uint8],
    ) -> None:
        """Spread each tile's cells over pixels and write its core into ``out``."""
        kernels.assemble(cells, origins, cores, out, threads=self.threads)

    @_counted("decode")
    def mask(self, maps: NDArray[np.uint8], out: NDArray[np.bool_]) -> None:
        """Threshold the nucleus map into ``out``."""
        kernels.mask(maps, self._model.nucleus_threshold, threads=self.threads, out=out)

    @_counted("decode")
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
        super().__init__(model, Engine(model, threads), threads, Times())
        self._shares = Shares(threads)

    def times(self) -> dict[str, float]:
        """Return the seconds of each part of all calls so far, and the network's pixels."""
        return self.sums.copy()

    @contextmanager
    def session(self, to_host: bool) -> Iterator[CpuSteps]:
        """Give the steps on a share of the threads, as soon as one is free."""
        if not to_host:
            raise ValueError(
                "to_host: got False, but this Segmenter runs on the CPU, so results are on the "
                "host; accepted is True, or use device='cuda'"
            )
        with self._shares.take() as threads:
            yield CpuSteps(self._model, self.engine, threads, self.sums)
