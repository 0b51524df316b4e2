"""A model in one file for C++ programs, which `csrc/pipeline/packed.h` reads without Python.

``python -m nucleiseg.engines.packed nuclei-fast`` writes ``nuclei-fast.nuc``.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg.engines import native
from nucleiseg.model import DEFAULT, Model

MAGIC = b"NUCLEI03"
_STEM, _CONVOLUTION, _GROW, _POOL, _CELLS, _SETTINGS = range(1, 7)

_Floats = NDArray[np.float32]
_Kernel = NDArray[np.int8]


class _Writer:
    """Takes a network's layers as `_native.cpu.Network` does, and keeps them as records."""

    def __init__(self) -> None:
        self.content = bytearray(MAGIC)
        self._tensors = 0

    def numbers(self, *values: int) -> None:
        self.content += struct.pack(f"<{len(values)}i", *values)

    def stem(self, kernel: _Kernel, factors: _Floats, offsets: _Floats) -> int:
        self.numbers(_STEM)
        return self._layer([kernel], kernel.shape[1::-1], factors, offsets)

    def convolution(
        self, sources: list[int], kernels: list[_Kernel], factors: _Floats, offsets: _Floats
    ) -> int:
        self.numbers(_CONVOLUTION, len(sources), *sources)
        return self._layer(kernels, kernels[0].shape[1::-1], factors, offsets)

    def grow(self, source: int, kernel: _Kernel, factors: _Floats, offsets: _Floats) -> int:
        self.numbers(_GROW, 1, source)
        return self._layer([kernel], kernel.shape[:2], factors, offsets)

    def pool(self, source: int) -> int:
        self.numbers(_POOL, source)
        return self._made()

    def cells(self, source: int, kernel: _Kernel, factors: _Floats, offsets: _Floats) -> None:
        self.numbers(_CELLS, 1, source)
        self._layer([kernel], kernel.shape[1::-1], factors, offsets)

    def _layer(
        self, kernels: Sequence[_Kernel], widths: Any, factors: _Floats, offsets: _Floats
    ) -> int:
        self.numbers(*widths, kernels[0].shape[2])
        for kernel in kernels:
            self.content += kernel.tobytes()
        self.content += factors.astype("<f4").tobytes() + offsets.astype("<f4").tobytes()
        return self._made()

    def _made(self) -> int:
        self._tensors += 1
        return self._tensors - 1


def write(model: Model, path: str | Path) -> Path:
    """Write a packed model.

    Parameters
    ----------
    model : Model
    path : str or Path

    Returns
    -------
    Path

    Raises
    ------
    ModelError
        The file holds another network than the int8 U-Net of `training.export`.
    OSError
        The file cannot be written.
    """
    writer = _Writer()
    native.add_layers(model, writer)
    *rule, merging = model.label_rule()
    writer.numbers(_SETTINGS, model.stride, model.halo, *rule)
    writer.numbers(*(merging[1:2] + merging[2] if merging else (0,)))
    writer.content += struct.pack("<3d", *model.percentiles, model.mpp)
    path = Path(path)
    path.write_bytes(writer.content)
    return path


def main() -> None:
    """Write what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m nucleiseg.engines.packed", description="Pack a model for C++ programs."
    )
    parser.add_argument(
        "model", nargs="?", default=DEFAULT, help="a shipped model, or an ONNX file"
    )
    parser.add_argument("-o", "--output", type=Path, help="the file; MODEL.nuc when left out")
    options = parser.parse_args()
    output = options.output or Path(Path(options.model).stem + ".nuc")
    print(write(Model.load(options.model), output))


if __name__ == "__main__":
    main()
