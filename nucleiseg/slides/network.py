"""The network on a part of a slide, with less at once where memory runs out."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nucleiseg.limits import Limits
from nucleiseg.segmenter import Segmenter

_NO_MEMORY = ("memoryallocation", "outofmemory", "bad_alloc")
"""In the messages of CUDA, TensorRT and C++, without their spaces."""


class Network:
    """Makes maps of pictures. Several threads may call it at once.

    Where the device has too little memory it halves the batch, then the tile, and then takes the
    CPU, for the picture at hand; the maps are the same.

    Parameters
    ----------
    model : str or Path
    device : str
    threads : int or None
    tile : int or None
        Side of the largest tile; the device's own when left out.

    Attributes
    ----------
    model : Model
    threads : int
        Processor threads in use.
    arithmetic : str
        See `nucleiseg.Segmenter.arithmetic`.
    """

    def __init__(
        self, model: str | Path, device: str, threads: int | None, tile: int | None
    ) -> None:
        self._first = first = Segmenter(model, device=device, threads=threads)
        self.model, self.threads, self.arithmetic = first.model, first.threads, first.arithmetic
        self._cpu: Segmenter | None = None
        self._lock = threading.Lock()
        on_cpu = first.backend_name == "cpu"
        self._tile = tile if on_cpu and tile is not None else first.tile
        self._batch = first.batch

    def maps(self, picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], list[str]]:
        """Return the maps of a normalized picture, and what was done for lack of memory.

        Parameters
        ----------
        picture : ndarray, (H, W, 3) uint8

        Returns
        -------
        maps : ndarray, (H, W, 2) uint8
        notes : list of str

        Raises
        ------
        MemoryError
            The CPU lacks memory, too.
        """
        tile, batch, notes = self._tile, self._batch, list[str]()
        smallest = 2 * self.model.halo + self.model.stride
        while True:
            try:
                return _maps(self._first, picture, tile, batch), notes
            except (MemoryError, RuntimeError) as error:
                if not _is_memory(error):
                    raise
            if batch > 1:
                batch //= 2
                notes.append(f"out of memory: {batch} tiles at once")
            elif tile > smallest:
                tile = max(smallest, tile // 2 // self.model.stride * self.model.stride)
                notes.append(f"out of memory: tiles of {tile} pixels")
            elif self._first.backend_name == "cpu":
                raise MemoryError("too little memory for the smallest tile")
            else:
                notes.append("out of memory: on the CPU")
                return _maps(self._on_cpu(), picture, self._on_cpu().tile, 1), notes

    def _on_cpu(self) -> Segmenter:
        with self._lock:
            if self._cpu is None:
                self._cpu = Segmenter(self.model, device="cpu", threads=self.threads)
            return self._cpu


def _is_memory(error: Exception) -> bool:
    words = str(error).lower().replace(" ", "")
    return isinstance(error, MemoryError) or any(one in words for one in _NO_MEMORY)


def _maps(
    segmenter: Segmenter, picture: NDArray[np.uint8], tile: int, batch: int
) -> NDArray[np.uint8]:
    pipeline = segmenter._backend.pipeline(tile, batch)
    as_it_is = Limits(0, 255, math.inf, 0)  # 0 and 255 of a picture stay so
    maps, _ = pipeline.maps(pipeline.image(picture), 1.0, as_it_is)
    return pipeline.host(maps)
