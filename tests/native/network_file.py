"""Writes pictures for tests/cpp/network_digests.cpp, which needs no Python."""

import struct
from pathlib import Path

import numpy as np

from nucleiseg import Model, images
from nucleiseg._native import cpu
from nucleiseg.engines import native

EXAMPLES = Path(__file__).parents[1] / "data" / "images"

PRIME = 0x100000001B3
"""Of the digests, which are those of Fowler, Noll and Vo."""


def tiles(model: Model, side: int) -> list[np.ndarray]:
    """Return the middle of each example image, stretched."""
    made = []
    for path in sorted(EXAMPLES.iterdir()):
        picture = images.read(path)
        picture = cpu.normalize(picture, *cpu.limits(picture, *model.percentiles)[:3])
        row, column = ((length - side) // 2 for length in picture.shape[:2])
        made.append(np.ascontiguousarray(picture[row : row + side, column : column + side]))
    return made


def write(path: Path, pictures: list[np.ndarray]) -> None:
    tiles = (struct.pack("=2i", *one.shape[:2]) + one.tobytes() for one in pictures)
    path.write_bytes(b"".join(tiles))


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
