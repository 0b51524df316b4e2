"""The CPU: native kernels and OpenVINO, on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu as kernels
from nucleiseg.engines.openvino import Engine
from nucleiseg.model import Model


class CpuBackend:
    """Kernels of ``_native.cpu`` and the OpenVINO engine, with the model's settings bound.

    See `nucleiseg.backends.Backend` for the steps.
    """

    name = "cpu"

    def __init__(self, model: Model, threads: int) -> None:
        self.threads = threads
        self._model = model
        self.infer = Engine(model, threads).infer

    def percentiles(self, image: NDArray[Any]) -> tuple[float, float]:
        """Give the intensities at the model's two percentiles."""
        low, high = self._model.percentiles
        return kernels.percentiles(image, low=low, high=high, threads=self.threads)

    def normalize(self, image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
        """Stretch low..high to 0..255: (H, W, 3) uint8."""
        return kernels.normalize(image, low=low, high=high, threads=self.threads)

    def gather(
        self, image: NDArray[np.uint8], origins: NDArray[np.int64], height: int, width: int
    ) -> NDArray[np.uint8]:
        """Cut tiles, (N, height, width, 3) uint8, mirrored beyond the image."""
        return kernels.gather(image, origins, height, width, threads=self.threads)

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

    def label(self, maps: NDArray[np.uint8], scale: float = 1.0) -> NDArray[np.int32]:
        """Give one id a nucleus; ``scale`` says how far the maps were magnified."""
        labels, _ = kernels.label(
            maps,
            nucleus_threshold=self._model.nucleus_threshold,
            core_threshold=self._model.core_threshold,
            min_core=max(1, round(self._model.min_core * scale**2)),
            min_area=max(1, round(self._model.min_area * scale**2)),
            threads=self.threads,
        )
        return labels
