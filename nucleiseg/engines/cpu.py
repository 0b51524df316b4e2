"""Which engine runs a model on the CPU."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nucleiseg.engines import native
from nucleiseg.model import Model


class CpuEngine(Protocol):
    """What runs the network on arrays in the host's memory."""

    @property
    def name(self) -> str:
        """Say what it is."""
        ...

    def infer(self, tiles: NDArray[np.uint8], threads: int | None = None) -> NDArray[np.uint8]:
        """Give the cells of tiles, as `nucleiseg.engines.native.Engine.infer`."""
        ...


def engine(model: Model, threads: int) -> CpuEngine:
    """Make the fastest engine that this CPU has for a model.

    The package's own kernels are about twice as fast as OpenVINO where the CPU has
    AVX-512 VNNI (``docs/performance.md``), start in a tenth of its time, and give the same bytes
    everywhere. Elsewhere it is OpenVINO, which is given only what these kernels can run: its
    reader of ONNX does not survive every damaged file.

    Parameters
    ----------
    model : Model
    threads : int

    Raises
    ------
    ModelError
        The file is damaged, or holds another network than the int8 U-Net of `training.export`.
    """
    own = native.Engine(model, threads)
    if native.level():
        return own
    from nucleiseg.engines import openvino

    return openvino.Engine(model, threads)
