"""Writes a model and pictures for tests/cpp/network_digests.cpp, which needs no Python."""

import struct
from pathlib import Path

import numpy as np

from nucleiseg import Model, images
from nucleiseg._native import cpu
from nucleiseg.engines import native

EXAMPLES = Path(__file__).parents[1] / "data" / "images"
STEM, CONVOLUTION, GROW, POOL, CELLS, RULE, TILE = range(1, 8)

PRIME = 0x100000001B3
"""Of the digests, which are those of Fowler, Noll and Vo."""


class Writer:
    """Takes a network's layers as `cpu.Network` does, and writes them."""

    def __init__(self) -> None:
        self.content = b""
        self.tensors = 0

    def numbers(self, *values: int) -> None:
        self.content += struct.pack(f"={len(values)}i", *values)

    def stem(self, kernel, factors, offsets) -> int:
        self.numbers(STEM)
        return self._weights([], [kernel], kernel.shape[1::-1], factors, offsets)

    def convolution(self, sources, kernels, factors, offsets) -> int:
        self.numbers(CONVOLUTION)
        return self._weights(sources, kernels, kernels[0].shape[1::-1], factors, offsets)

    def grow(self, source, kernel, factors, offsets) -> int:
        self.numbers(GROW)
        return self._weights([source], [kernel], kernel.shape[:2], factors, offsets)

    def pool(self, source) -> int:
        self.numbers(POOL, source)
        return self._made()

    def cells(self, source, kernel, factors, offsets) -> None:
        self.numbers(CELLS)
        self._weights([source], [kernel], kernel.shape[1::-1], factors, offsets)

    def _weights(self, sources, kernels, widths, factors, offsets) -> int:
        if sources:
            self.numbers(len(sources), *sources)
        self.numbers(*widths, kernels[0].shape[2])
        self.content += b"".join(kernel.tobytes() for kernel in kernels)
        self.content += factors.tobytes() + offsets.tobytes()
        return self._made()

    def _made(self) -> int:
        self.tensors += 1
        return self.tensors - 1


def tiles(model: Model, side: int) -> list[np.ndarray]:
    """Return the middle of each example image, stretched."""
    made = []
    for path in sorted(EXAMPLES.iterdir()):
        picture = images.read(path)
        picture = cpu.normalize(picture, *cpu.limits(picture, *model.percentiles)[:3])
        row, column = ((length - side) // 2 for length in picture.shape[:2])
        made.append(np.ascontiguousarray(picture[row : row + side, column : column + side]))
    return made


def write(path: Path, model: Model, pictures: list[np.ndarray]) -> None:
    writer = Writer()
    native.add_layers(model, writer)
    writer.numbers(RULE, *model.label_rule())
    for picture in pictures:
        writer.numbers(TILE, *picture.shape[:2])
        writer.content += picture.tobytes()
    path.write_bytes(writer.content)


def digests(model: Model, pictures: list[np.ndarray]) -> str:
    """Return what the program prints of maps and labels, computed by the module."""
    engine = native.Engine(model, 2)
    found = {"maps": 0xCBF29CE484222325, "labels": 0xCBF29CE484222325}
    for picture in pictures:
        height, width = picture.shape[:2]
        maps = np.empty((height, width, 2), np.uint8)
        core = np.array([[0, height, 0, width]])
        cpu.assemble(engine.infer(picture[None]), np.array([[0, 0]]), core, maps)
        labels, _ = cpu.label(maps, *model.label_rule())
        for name, values in (("maps", maps), ("labels", labels)):
            for byte in values.tobytes():
                found[name] = (found[name] ^ byte) * PRIME & 0xFFFFFFFFFFFFFFFF
    return " ".join(f"{name}={value:016x}" for name, value in found.items())
