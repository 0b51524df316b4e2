"""An Aperio slide of any size, made in seconds from a few hundred tiles of real tissue.

Tiles are compressed once and written many times: 60,000 x 40,000 pixels take a second to write.
The tissue of each lies within glass, so that no nucleus crosses a tile's border and the nuclei of
the slide are those of its tiles.

    python tests/slides/aperio.py slide.svs --width 60000 --height 40000 --images FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile

TILE = 512
SEAM = 24
"""Pixels of glass at each side of a tile, half of them on the way from tissue to glass."""

SHRUNK = 16
"""Of the slide's second level."""

GLASS = np.array([243, 241, 244], np.uint8)
QUALITY = 80


@dataclass(frozen=True)
class Layout:
    """Which tile lies where: (rows, columns) int, -1 for glass."""

    tiles: np.ndarray
    places: np.ndarray


def tissue_tiles(pictures: Sequence[np.ndarray], count: int, seed: int = 0) -> np.ndarray:
    """Cut tiles, (count, 512, 512, 3), from pictures, turned and mirrored, that fade into glass."""
    rng = np.random.default_rng(seed)
    ramp = np.clip((np.arange(TILE) - SEAM / 2) / (SEAM / 2), 0, 1)
    ramp = np.minimum(ramp, ramp[::-1])
    share = np.minimum(ramp[:, None], ramp)[..., None]
    tiles = []
    for _ in range(count):
        picture = pictures[rng.integers(len(pictures))]
        reach = [max(0, TILE - side) for side in picture.shape[:2]]
        picture = np.pad(picture, ((0, reach[0]), (0, reach[1]), (0, 0)), "reflect")
        top, left = (rng.integers(side - TILE + 1) for side in picture.shape[:2])
        tile = np.rot90(picture[top : top + TILE, left : left + TILE], rng.integers(4))
        tile = tile[:, ::-1] if rng.integers(2) else tile
        tiles.append(np.rint(tile * share + GLASS * (1 - share)).astype(np.uint8))
    return np.stack(tiles)


def layout(tiles: np.ndarray, width: int, height: int, part: float, seed: int = 1) -> Layout:
    """Put tiles into an ellipse that covers a part of the slide."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    y, x = np.mgrid[:rows, :columns]
    radius = ((y + 0.5) / rows * 2 - 1) ** 2 + ((x + 0.5) / columns * 2 - 1) ** 2
    whole = (y < height // TILE) & (x < width // TILE)
    places = np.where((radius < part * 4 / np.pi) & whole, 0, -1)
    inside = places >= 0
    places[inside] = np.random.default_rng(seed).integers(0, len(tiles), inside.sum())
    return Layout(tiles, places)


def write(path: Path, layout: Layout, width: int, height: int, mpp: float | None = 0.25) -> None:
    """Write a slide of two levels, the second 16 times smaller."""
    pixel = "" if mpp is None else f"|MPP = {mpp:.4f}"
    words = (
        f"Aperio Image Library v11.2.1 \r\n{width}x{height} (512x512) JPEG/RGB Q={QUALITY}"
        f"|AppMag = 40{pixel}"
    )
    tissue = [encoded(tile) for tile in layout.tiles]
    glass = encoded(np.broadcast_to(GLASS, (TILE, TILE, 3)))
    small = _shrunk(layout, width, height)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        first = (tissue[index] if index >= 0 else glass for index in layout.places.ravel())
        _write_level(file, first, (height, width), words)
        _write_level(file, _cut(small), small.shape[:2], words)


def _write_level(
    file: tifffile.TiffWriter, tiles: Iterator[bytes], size: tuple[int, int], words: str
) -> None:
    file.write(
        tiles,
        shape=(*size, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="ycbcr",
        compression="jpeg",
        subsampling=(1, 1),
        description=words,
        metadata=None,
        software=False,
    )


def encoded(tile: np.ndarray) -> bytes:
    """Return a tile as JPEG."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
    settings.append(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return cv2.imencode(".jpg", np.ascontiguousarray(tile[..., ::-1]), settings)[1].tobytes()


def decoded(data: bytes) -> np.ndarray:
    """Return the tile of a JPEG, RGB."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def _shrunk(layout: Layout, width: int, height: int) -> np.ndarray:
    side = TILE // SHRUNK
    glass = np.broadcast_to(GLASS, (1, side, side, 3))
    small = [cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA) for tile in layout.tiles]
    pictures = np.concatenate([np.stack(small), glass])[layout.places]
    rows, columns = layout.places.shape
    whole = pictures.transpose(0, 2, 1, 3, 4).reshape(rows * side, columns * side, 3)
    return whole[: -(-height // SHRUNK), : -(-width // SHRUNK)]


def _cut(picture: np.ndarray) -> Iterator[bytes]:
    for row in range(0, picture.shape[0], TILE):
        for column in range(0, picture.shape[1], TILE):
            tile = np.full((TILE, TILE, 3), GLASS)
            part = picture[row : row + TILE, column : column + TILE]
            tile[: part.shape[0], : part.shape[1]] = part
            yield encoded(tile)


def pictures(folder: Path, *names: str) -> list[np.ndarray]:
    """Read colour pictures of a folder, RGB; all that are PNG where none is named."""
    paths = [folder / name for name in names] or sorted(folder.glob("*.png"))
    found = [cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1] for path in paths]
    return [np.ascontiguousarray(one) for one in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder of H&E pictures, PNG")
    parser.add_argument("--width", type=int, default=60_000)
    parser.add_argument("--height", type=int, default=40_000)
    parser.add_argument("--tissue", type=float, default=0.4, help="part of the slide")
    parser.add_argument("--tiles", type=int, default=300, help="different ones")
    options = parser.parse_args()
    tiles = tissue_tiles(pictures(options.images), options.tiles)
    placed = layout(tiles, options.width, options.height, options.tissue)
    write(options.path, placed, options.width, options.height)


if __name__ == "__main__":
    main()
