"""Zeiss's CZI, through the package pylibCZIrw: scenes are images, put together of their tiles."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np

from nucleiseg.readers import tiff_streams
from nucleiseg.readers.stack import (
    Image,
    Stack,
    UnacceptedError,
    by_plane,
    check_promise,
    check_size,
    package,
    truncated,
    unique_names,
)
from nucleiseg.readers.units import pixel_size

SIGNATURES = (b"ZISRAWFI",)

_TYPES: dict[str, tuple[str, int]] = {
    "Gray8": ("uint8", 1),
    "Gray16": ("uint16", 1),
    "Gray32Float": ("float32", 1),
    "Bgr24": ("uint8", 3),
    "Bgr48": ("uint16", 3),
    "Bgr96Float": ("float32", 3),
}
"""The dtype of a type of pixels, and how many colours it has."""

_COMPRESSIONS = ("UnCompressed", "JpgXr", "Zstd0", "Zstd1")
_JPEG_XR = 4
"""The number of this compression. libCZI leaves what such a tile does not fill as it finds it."""
_JPEG_XR_KINDS = {0: 0x01, 1: 0x02, 2: 0x07, 3: 0x71, 4: 0x72}
"""The byte of colours and values of a JPEG XR by the number of a type of pixels."""

_SEGMENT = 32
"""Bytes of the header of a segment."""

_PIXELS_A_BYTE = 4096
"""No bound of the format, in which a plane may be nearly empty: about what zstd makes of blank
tiles of 8 and 16 bits."""

_MOST_DIMENSIONS = 40
_KNOWN, _AXES = "TZC", "TZCRIHVB"

Place = tuple[tuple[int, ...], int]
"""Numbers on all axes but S, and the scene."""


@contextmanager
def opened(path: Path) -> Iterator[list[Stack]]:
    """Open a CZI file at its full resolution: axes TZCYX, or S where its pixels are RGB.

    Where no tile lies a plane is 0. Axes of other kinds (rotation, illumination, phase, view,
    block) have to be told.

    Raises
    ------
    UnacceptedError
        The file is truncated, damaged or too large, its compression or type of pixels is another
        one, a plane has no tile, or the package pylibCZIrw is missing.
    """
    czi = package("CZI", "pylibCZIrw.czi", "czi")
    with path.open("rb") as stream:
        count = _check_segments(stream)
    with czi.open_czi(str(path)) as file:
        yield _stacks(file, count, path.stat().st_size)


def _check_segments(stream: BinaryIO) -> int:
    """Return the number of tiles; refuse sizes and counts that libCZI takes without checking them.

    A segment begins with a name of 16 bytes and two sizes (ZEISS, "CZI file format"). The first one
    names the directory and the metadata, and an entry of the directory the segment of its tile,
    which has an entry of its own behind its sizes.
    """
    size = stream.seek(0, 2)

    def unpacked(form: str, place: int) -> tuple[Any, ...]:
        needed = struct.calcsize(form)
        if not 0 <= place <= size - needed:
            raise truncated(size, place + needed)
        stream.seek(place)
        return struct.unpack(form, stream.read(needed))

    def check(place: int, *sizes: int) -> None:
        if min(sizes) < 0 or place + sum(sizes) > size:
            raise truncated(size, place + sum(sizes))

    def checked_entry(place: int) -> tuple[int, int]:
        """Return the place of a tile's segment, and the number of its dimensions."""
        kind, segment, dimensions = unpacked("<2s4xQ14xi", place)
        if kind != b"DV" or not 0 <= dimensions <= _MOST_DIMENSIONS:
            raise UnacceptedError("is damaged: the directory entry of a tile is invalid")
        return segment, dimensions

    directory, metadata = unpacked("<QQ", _SEGMENT + 52)
    check(metadata, *unpacked("<ii", metadata + _SEGMENT))
    (count,) = unpacked("<i", directory + _SEGMENT)
    entry = directory + _SEGMENT + 128
    check(entry, 32 * count)
    for _ in range(count):
        place, dimensions = checked_entry(entry)
        described, attached, held = unpacked("<iiq", place + _SEGMENT)
        check(place, described, attached, held)
        own = place + _SEGMENT + 16
        _, dimensions_here = checked_entry(own)
        if unpacked("<i", own + 18) == (_JPEG_XR,):
            axes = [unpacked("<4s2i4xi", own + 32 + 20 * at) for at in range(dimensions_here)]
            sides = {name[:1]: stored or length for name, _, length, stored in axes}
            stream.seek(place + _SEGMENT + max(256, 48 + 20 * dimensions_here) + described)
            *found, kind = tiff_streams.jpegxr_header(stream.read(held))
            (pixels,) = unpacked("<i", own + 2)
            if found != [sides.get(b"Y"), sides.get(b"X")] or _JPEG_XR_KINDS.get(pixels) != kind:
                raise UnacceptedError("is damaged: a tile in JPEG XR has another size or type")
        entry += 32 + 20 * dimensions
    return int(count)


def _stacks(file: Any, count: int, bytes_there: int) -> list[Stack]:
    box = file.total_bounding_box_no_pyramid
    longest = max(box[axis][1] for axis in box if axis not in "XY")
    if longest > max(count, 1):
        raise UnacceptedError(f"is damaged: an axis has the length {longest:,} for {count:,} tiles")
    kinds = [_TYPES.get(kind) for _, kind in sorted(file.pixel_types.items())]
    colours = {kind[1] for kind in kinds if kind}
    if None in kinds or len(colours) != 1:
        found = ", ".join(map(str, file.pixel_types.values()))
        raise UnacceptedError(
            f"has pixels of {found or 'no type'}; accepted are {', '.join(_TYPES)}, grey or RGB"
        )
    dtype = np.result_type(*(kind[0] for kind in kinds if kind))
    axes = [axis for axis in box if axis not in "XY" and (axis in _KNOWN or box[axis][1] > 1)]
    lengths = tuple(box[axis][1] for axis in axes)
    tiles = _tiles(file)
    scenes = file.scenes_bounding_rectangle_no_pyramid or {
        None: file.total_bounding_rectangle_no_pyramid
    }
    root = ElementTree.fromstring(file.raw_metadata)
    letters = "".join(axis if axis in _KNOWN else "Q" for axis in axes) + "YX"

    def stack(scene: int | None, name: str) -> Stack:
        roi = scenes[scene]

        def read(place: tuple[int, ...]) -> Image:
            plane = dict(zip(axes, place, strict=True))
            check_promise(roi.h * roi.w, bytes_there, _PIXELS_A_BYTE)
            check_size(roi.h, roi.w, dtype.itemsize * max(colours))
            if _place(plane, scene or 0) not in tiles:
                raise UnacceptedError(f"is truncated: it has no pixels of {plane}")
            pixels: Image = file.read(roi=roi, plane=plane, scene=scene).reshape(roi.h, roi.w, -1)
            return pixels[..., ::-1] if max(colours) > 1 else pixels[..., 0]

        shape = (*lengths, roi.h, roi.w, *colours - {1})
        axes_here = letters + "S" * (max(colours) > 1)
        about = _channels(root), _mpp(root), name
        return by_plane(read, len(lengths), axes_here, shape, dtype, *about)

    named = _names(root, list(scenes)) if len(scenes) > 1 else [""]
    return [stack(*each) for each in zip(scenes, named, strict=True)]


def _tiles(file: Any) -> set[Place]:
    """Return the planes of which there are tiles, and refuse tiles that are not read exactly."""
    found: set[Place] = set()
    problems: list[UnacceptedError] = []

    def add(number: int, tile: Any) -> bool:
        try:
            compression = tile.get_compression_mode().name
            if compression not in _COMPRESSIONS:
                raise UnacceptedError(
                    f"is compressed as {compression}, number {tile.compressionModeRaw}; accepted "
                    f"are {', '.join(_COMPRESSIONS)}"
                )
            size = tile.physicalSize
            check_size(size.h, size.w, 12)  # of the largest type of pixels
        except UnacceptedError as error:
            problems.append(error)
            return False
        if tile.get_zoom() == 1:
            place = tile.coordinate.to_dict()
            found.add(_place(place, place.get("S", 0)))
        return True

    file.enumerate_subblocks(add)
    if problems:
        raise problems[0]
    return found


def _place(plane: Mapping[str, int], scene: int) -> Place:
    return tuple(plane.get(axis, 0) for axis in _AXES), scene


def _names(root: ElementTree.Element, scenes: list[int]) -> list[str]:
    found = {
        int(scene.get("Index", -1)): scene.get("Name", "")
        for scene in root.iterfind("./Metadata/Information/Image/Dimensions/S/Scenes/Scene")
    }
    return unique_names(found.get(scene) or f"scene{scene:03}" for scene in scenes)


def _channels(root: ElementTree.Element) -> tuple[str, ...]:
    found = root.iterfind("./Metadata/Information/Image/Dimensions/Channels/Channel")
    return tuple(channel.get("Name", "") for channel in found)


def _mpp(root: ElementTree.Element) -> float | None:
    metres = {
        distance.get("Id"): float(distance.findtext("Value") or 0)
        for distance in root.iterfind("./Metadata/Scaling/Items/Distance")
    }
    return pixel_size(*(1e6 * metres.get(axis, 0.0) for axis in "XY"))
