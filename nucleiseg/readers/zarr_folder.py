"""Zarr folders: an array, or OME-Zarr's images and plates, of which the finest level is taken."""

from __future__ import annotations

import functools
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import floordiv
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg.readers import zarr_bounds
from nucleiseg.readers.stack import (
    Image,
    Index,
    Stack,
    UnacceptedError,
    axes_of_array,
    check_bytes,
    damage,
    package,
    unique_names,
)
from nucleiseg.readers.units import MICROMETRES, pixel_size

_ARRAYS = (".zarray", "zarr.json")
_MARKS = (*_ARRAYS, ".zgroup")
_FEW_CHUNKS = 4096
"""Chunks of a plane that are always accepted: each takes about 0.1 ms even if it is not there."""
_CHUNKS_A_FILE = 256
_MOST_FIELDS = 2**17
"""Of a plate: 85 of each well of the largest, which have 1,536."""
_CODECS = ("compressor", "filters", "codecs")
_LETTERS = {"t": "T", "time": "T", "z": "Z", "c": "C", "channel": "C", "y": "Y", "x": "X"}


def is_zarr(folder: Path) -> bool:
    """Whether a folder is the root of a Zarr array or group."""
    return any((folder / name).is_file() for name in _MARKS)


@contextmanager
def opened(path: Path) -> Iterator[Iterable[Stack]]:
    """Open a Zarr array (format 2 or 3), or an OME-Zarr image (0.1 to 0.5); chunks are read singly.

    The images of a plate are its fields, named after well and field, as in ``B03_0``; those of a
    well are its fields. Each is opened when its turn comes.

    Axes come from OME-Zarr's metadata, an array's dimension names, or are those of a plain array:
    (H, W), (H, W, 3 or 4), else they have to be told. Chunks that are not there are the array's
    fill value, as Zarr defines it.

    Raises
    ------
    UnacceptedError
        The folder is a group without an image, its metadata are damaged, its chunks are too large
        or pickled, or the package zarr is missing.
    """
    attributes = read_attributes(path)
    if "plate" not in attributes and "well" not in attributes:
        yield [_image(path, attributes)]
        return
    fields = list(itertools.islice(_fields(path, attributes), _MOST_FIELDS + 1))
    if len(fields) > _MOST_FIELDS:
        raise UnacceptedError(f"names more fields than the {_MOST_FIELDS:,} accepted")
    yield _stacks(path, fields)


def _image(path: Path, attributes: dict[str, Any]) -> Stack:
    images = attributes.get("multiscales")
    if not images:
        named = attributes.get("_ARRAY_DIMENSIONS")
        named = named or _json(path / "zarr.json").get("dimension_names")
        return _stack(path, letters(named) if named and all(named) else "")
    level, axes = images[0]["datasets"][0], axes_of(images[0])
    names = tuple(
        str(channel.get("label", "")) for channel in attributes.get("omero", {}).get("channels", ())
    )
    return _stack(
        array_folder(path, level["path"]),
        letters([axis["name"] for axis in axes]),
        names,
        mpp_of(axes, images[0], level),
    )


def _fields(path: Path, attributes: dict[str, Any]) -> Iterator[str]:
    """Yield the folders of a plate's or well's fields, relative to its own."""
    of_well = "well" in attributes
    named = attributes["well"]["images"] if of_well else attributes["plate"]["wells"]
    found = [str(one["path"]) for one in named]
    if not found:
        raise UnacceptedError("is empty: its plate or well names no images")
    for folder in found:
        if of_well:
            yield folder
        else:
            inside = {"well": read_attributes(_inside(path, folder))["well"]}
            yield from (f"{folder}/{field}" for field in _fields(path, inside))


def _stacks(path: Path, fields: Sequence[str]) -> Iterator[Stack]:
    # "B/03/0" is B03_0.
    names = unique_names(
        "_".join(("".join(parts[:-1]), parts[-1])).strip("_")
        for parts in (field.split("/") for field in fields)
    )
    for name, field in zip(names, fields, strict=True):
        with damage():
            folder = _inside(path, field)
            yield replace(_image(folder, read_attributes(folder)), name=name)


def _inside(path: Path, name: str) -> Path:
    """Return a folder that a plate or well names, which must be there."""
    folder = array_folder(path, name)
    if not folder.is_dir():
        raise UnacceptedError(f"is truncated: it names {name!r}, which is not there")
    return folder


def _stack(
    folder: Path, axes: str, channels: tuple[str, ...] = (), mpp: float | None = None
) -> Stack:
    array = open_array(folder)
    axes = axes or axes_of_array(array.shape)
    if len(axes) != len(array.shape):
        raise UnacceptedError(f"is damaged: it names {len(axes)} axes for {len(array.shape)}")
    files = functools.cache(functools.partial(_files, folder))

    def load(index: Index) -> Image:
        _check_chunks(array, index, files)
        return np.asarray(array[index])

    return Stack(axes, tuple(array.shape), array.dtype, load, channels, mpp)


def _check_chunks(array: Any, index: Index, files: Callable[[int], int]) -> None:
    """Refuse a plane of many chunks of which hardly any are there: each takes time all the same."""
    sizes = getattr(array, "shards", None) or array.chunks
    chunks = math.prod(
        -(-length // size)
        for length, size, place in zip(array.shape, sizes, index, strict=True)
        if isinstance(place, slice)
    )
    needed = chunks // _CHUNKS_A_FILE
    if chunks > _FEW_CHUNKS and needed > files(needed):
        raise UnacceptedError(
            f"is damaged or nearly empty: a plane has {chunks:,} chunks, and there are fewer than "
            f"{needed:,} files; accepted are up to {_CHUNKS_A_FILE} chunks a file"
        )


def _files(folder: Path, most: int) -> int:
    """Count the files of a folder, up to as many as matter."""
    names = (name for _, _, inside in os.walk(folder) for name in inside)
    return sum(1 for _ in itertools.islice(names, most))


def array_folder(path: Path, name: str) -> Path:
    """Return an array's folder below its image's; UnacceptedError for one that leads out of it."""
    folder = (path / name).resolve()
    if not folder.is_relative_to(path.resolve()):
        raise UnacceptedError(f"names an array outside of its folder: {name!r}")
    return folder


def axes_of(image: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the axes of one of OME-Zarr's multiscales, each with its name."""
    axes = image.get("axes", ["t", "c", "z", "y", "x"])  # fixed before version 0.3
    return [axis if isinstance(axis, dict) else {"name": axis} for axis in axes]


def letters(names: Sequence[str]) -> str:
    """Return the letters of a stack's axes, "Q" for those that are unknown."""
    return "".join(_LETTERS.get(str(name).lower(), "Q") for name in names)


def mpp_of(
    axes: Sequence[dict[str, Any]], image: dict[str, Any], level: dict[str, Any]
) -> float | None:
    """Return micrometres per pixel: the unit of Y and X, times the scales of level and image."""
    lengths = []
    for letter in "yx":
        place = [axis["name"] for axis in axes].index(letter)
        length = MICROMETRES.get(str(axes[place].get("unit", "")), 0.0)
        for one in (level, image):
            for step in one.get("coordinateTransformations", ()):
                length *= float(step["scale"][place]) if step["type"] == "scale" else 1.0
        lengths.append(length)
    return pixel_size(*lengths)


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a group or an array, of either format and of OME-Zarr."""
    new = _json(path / "zarr.json").get("attributes", {})
    return {**_json(path / ".zattrs"), **new, **new.get("ome", {})}


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if not isinstance(found, dict):
        raise UnacceptedError(f"is damaged: its {path.name} holds no names and values")
    return found


def open_array(folder: Path) -> Any:
    """Open an array, of which each chunk is checked before it is decompressed.

    Raises
    ------
    UnacceptedError
        It is a group, its chunks are too large or pickled, or the package zarr is missing or too
        old.
    """
    metadata = [_json(folder / name) for name in _ARRAYS]
    if not any(metadata) or any(one.get("node_type") == "group" for one in metadata):
        inside = sorted(child.name for child in folder.glob("*") if is_zarr(child))
        raise UnacceptedError(
            f"is a Zarr group without an image of its own; name one of its arrays or images: "
            f"{', '.join(inside[:9]) or 'it holds none'}"
        )
    # A codec that is found by the name in a file must not be one that runs code from that file.
    if any("pickle" in json.dumps(one.get(key)) for one in metadata for key in _CODECS):
        raise UnacceptedError("holds pickled chunks, which are not read")
    zarr = package("Zarr", "zarr", "zarr")
    if metadata[1] and zarr.__version__.startswith("2."):
        raise UnacceptedError(
            "is of Zarr format 3, which needs version 3 of the package zarr, and that Python 3.11"
        )
    plain = zarr.open_array(str(folder), mode="r")
    # More than the memory of the machine may be in a chunk of some megabytes.
    chunk_bytes = math.prod(plain.chunks) * plain.dtype.itemsize
    check_bytes(chunk_bytes)
    shards = getattr(plain, "shards", None)
    inner = math.prod(map(floordiv, shards, plain.chunks)) if shards else 0
    bound = zarr_bounds.Bound.of({**metadata[0], **metadata[1]}, chunk_bytes, inner)
    return zarr.open_array(_bounded(zarr, folder, bound), mode="r")


def _bounded(zarr: Any, folder: Path, bound: zarr_bounds.Bound) -> Any:
    """Return the store of a folder that checks each chunk before it is decompressed."""
    metadata = (*_MARKS, ".zattrs", ".zmetadata")
    if zarr.__version__.startswith("2."):

        class Files(zarr.storage.DirectoryStore):  # type: ignore[misc]
            def __getitem__(self, key: str) -> Any:
                found = super().__getitem__(key)
                if key.rpartition("/")[2] not in metadata:
                    bound.check(found)
                return found

        return Files(str(folder))

    class LocalFiles(zarr.storage.LocalStore):  # type: ignore[misc]
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            found = await super().get(key, prototype, byte_range)
            # The end of a shard is its index.
            is_index = isinstance(byte_range, zarr.abc.store.SuffixByteRequest)
            if found is not None and not is_index and key.rpartition("/")[2] not in metadata:
                bound.check(found.to_bytes(), is_part=byte_range is not None)
            return found

    return LocalFiles(folder, read_only=True)
