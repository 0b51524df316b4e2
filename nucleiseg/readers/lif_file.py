"""Leica's LIF, through the package liffile: each image of the file is one of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg.readers.stack import (
    LETTERS,
    Image,
    Stack,
    UnacceptedError,
    by_plane,
    package,
    truncated,
    unique_names,
)
from nucleiseg.readers.units import MICROMETRES, pixel_size

SIGNATURES = (b"\x70\0\0\0",)

_DESCRIPTION = "./Data/Image/ImageDescription"
_MOST_XML = 2**26
"""Bytes of the description of a file."""

_MOSAIC = "M"


@contextmanager
def opened(path: Path) -> Iterator[list[Stack]]:
    """Open a LIF file: axes TZCYX, or S where its pixels are RGB; a tile of a mosaic is an image.

    Raises
    ------
    UnacceptedError
        The file is truncated, damaged or too large, refers to others, or the package liffile is
        missing.
    """
    liffile = package("LIF", "liffile", "lif")
    with path.open("rb") as stream:
        _check_xml(stream.read(13))
        stream.seek(0)
        yield _stacks(liffile.LifFile(stream, squeeze=False), path.stat().st_size)


def _check_xml(head: bytes) -> None:
    length = 2 * int.from_bytes(head[9:13], "little")
    if length > _MOST_XML:
        raise UnacceptedError(f"has {length:,} bytes of metadata; accepted are {_MOST_XML:,}")


def _stacks(file: Any, size: int) -> list[Stack]:
    # What refers to other files would be read from wherever they are.
    if file.type.name != "LIF" or file.xml_element.find(".//Reference") is not None:
        raise UnacceptedError("refers to other files; accepted is LIF that holds its images")
    images = [image for image in file.images if not image.is_flim]
    if not images:
        raise UnacceptedError("is empty: it names no images")
    tiles = [(image, tile) for image in images for tile in range(_tiles(image))]
    names = unique_names(starmap(_name, tiles)) if len(tiles) > 1 else [""]
    return [_stack(*each, name, size) for each, name in zip(tiles, names, strict=True)]


def _tiles(image: Any) -> int:
    """Return how many tiles a mosaic has; 1 where its block cannot hold them, as reading says."""
    tiles: int = image.sizes.get(_MOSAIC, 1)
    return tiles if image.memory_block.size >= _needed(image) else 1


def _needed(image: Any) -> int:
    needed: int = math.prod(image.sizes.values()) * np.dtype(image.dtype).itemsize
    return needed


def _name(image: Any, tile: int) -> str:
    return f"{image.path}_m{tile:03}" if image.sizes.get(_MOSAIC, 1) > 1 else str(image.path)


def _stack(image: Any, tile: int, name: str, size: int) -> Stack:
    sizes, dtype = dict(image.sizes), np.dtype(image.dtype)
    plane = list(image.frames.frame_dims)
    outer = [axis for axis in sizes if axis not in (*plane, _MOSAIC)]
    shape = tuple(sizes[axis] for axis in (*outer, *plane))
    mosaic = {_MOSAIC: tile} if _MOSAIC in sizes else {}

    def read(place: tuple[int, ...]) -> Image:
        _check_block(image.memory_block, _needed(image), size)
        where = {**dict(zip(outer, place, strict=True)), **mosaic}
        frames = image.frames(**where) if where else image.frames
        found: Image = frames[(0,) * len(where)] if where else frames[0]
        return found

    axes = "".join(axis if axis in LETTERS else "Q" for axis in (*outer, *plane))
    if "Y" not in axes:
        axes = axes.translate({ord(axis): "Q" for axis in "TZ"})
    channels = () if "S" in plane else tuple(_channels(image))
    return by_plane(read, len(outer), axes, shape, dtype, channels, _mpp(image), name)


def _check_block(block: Any, needed: int, size: int) -> None:
    """Refuse an image that ends behind the block of its pixels, or a block behind the file."""
    if block.size < needed:
        raise truncated(block.size, needed)
    if block.offset + block.size > size:
        raise truncated(size, block.offset + block.size)


def _channels(image: Any) -> Sequence[str]:
    """Return the names of the channels' colours, in the order in which they are stored."""
    found = image.xml_element.findall(f"{_DESCRIPTION}/Channels/ChannelDescription")
    found.sort(key=lambda channel: int(channel.attrib["BytesInc"]))
    return [channel.get("LUTName", "") for channel in found]


def _mpp(image: Any) -> float | None:
    lengths = {}
    for axis in image.xml_element.iterfind(f"{_DESCRIPTION}/Dimensions/DimensionDescription"):
        # From the middle of the first pixel to that of the last.
        steps = int(axis.attrib["NumberOfElements"]) - 1
        unit = MICROMETRES.get(axis.get("Unit", ""), 0.0)
        lengths[axis.attrib["DimID"]] = float(axis.get("Length", 0)) / max(steps, 1) * unit
    return pixel_size(abs(lengths.get("1", 0.0)), abs(lengths.get("2", 0.0)))
