"""What every reader gives: the header of a file, and a way to load parts of its pixels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import memory

Image = NDArray[Any]
Index = tuple[int | slice, ...]

LETTERS = "TZCYXS"
"""Of the axes: frame, plane, channel, row, column, colour."""

LARGEST_PIXELS = 2**30
"""Pixels of one plane that are accepted: OpenCV's own limit, and 4 GiB of labels."""

LARGEST_BYTES = 2**33
"""Bytes that may have to be in memory for one plane: the above, of eight bytes each."""

_LONGEST_NAME = 60

CHECKED_BYTES = 2**26
"""From here on it is asked how much memory is free, which takes 0.1 ms."""


class UnacceptedError(ValueError):
    """The file is no image that this package takes; the message completes "the file ..."."""


@dataclass(frozen=True)
class Stack:
    """An image of a file, of which the header is known.

    Parameters
    ----------
    axes
        One letter an axis: T frame, Z plane, C channel, Y row, X column, S colour; any other where
        the file does not say what the axis is.
    shape
        As long as ``axes``.
    dtype
        Of the values as stored.
    load
        Takes one integer or ``slice(None)`` an axis, and gives an array of the axes left.
    channels
        Names of the channels, or nothing.
    mpp
        Micrometres per pixel, if the file says it.
    name
        Which image of the file it is, as `unique_names` gives it; empty where a file of this kind
        holds only one.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[Index], Image]
    channels: tuple[str, ...] = ()
    mpp: float | None = None
    name: str = ""

    def size(self, axis: str) -> int:
        """Return the length of an axis, 1 where there is none of that letter."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


def by_plane(
    read: Callable[[tuple[int, ...]], Image],
    depth: int,
    axes: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    channels: tuple[str, ...] = (),
    mpp: float | None = None,
    name: str = "",
) -> Stack:
    """Return the stack of a file that is read plane by plane.

    Parameters
    ----------
    read
        Takes the place on each axis before those of a plane, and returns an array of the latter.
    depth
        How many axes stand before those of a plane.
    axes, shape, dtype, channels, mpp, name
        See `Stack`. All planes together are checked before they are read at once.
    """

    def load(index: Index) -> Image:
        first, rest = index[:depth], index[depth:]
        if not any(isinstance(place, slice) for place in first):
            return read(first)[rest]  # type: ignore[arg-type]
        check_bytes(math.prod(shape) * dtype.itemsize)
        whole = np.stack([read(place) for place in np.ndindex(shape[:depth])])
        return whole.reshape(*shape[:depth], *whole.shape[1:])[index]

    return Stack(axes, shape, dtype, load, channels, mpp, name)


def unique_names(names: Iterable[str]) -> list[str]:
    """Return the names of a file's images as parts of file names, each another one.

    Letters, digits, dots and dashes are kept, up to 60 of them, and all others are underscores.
    """
    found: dict[str, None] = {}
    for number, name in enumerate(names):
        plain = re.sub(r"[^\w.-]+", "_", name).strip("._")[:_LONGEST_NAME] or "image"
        while plain in found:
            plain = f"{plain}_{number}"
        found[plain] = None
    return list(found)


def check_size(height: int, width: int, bytes_a_pixel: int = 1) -> None:
    """Refuse what is empty, or too large to be held, before memory is taken for it."""
    if height < 1 or width < 1:
        raise UnacceptedError(f"is empty: it has {height} x {width} pixels")
    if height * width > LARGEST_PIXELS:
        raise UnacceptedError(
            f"has {height:,} x {width:,} pixels; accepted are up to {LARGEST_PIXELS:,} in all"
        )
    check_bytes(height * width * bytes_a_pixel)


def check_bytes(size: int) -> None:
    """Refuse what takes more memory than a plane may, or than the machine has free."""
    if size > LARGEST_BYTES:
        raise UnacceptedError(f"needs {size:,} bytes of memory; accepted are {LARGEST_BYTES:,}")
    there = memory.free() if size >= CHECKED_BYTES else None
    if there is not None and size > there:
        raise UnacceptedError(f"needs {size:,} bytes of memory, and {there:,} are free")


def check_promise(pixels: int, size: int, most: int) -> None:
    """Refuse more pixels than a file of so many bytes can hold, before memory is taken for them.

    Parameters
    ----------
    pixels
        As the header says, times the passes over them that decoding takes.
    size
        Bytes of the file.
    most
        Pixels that a byte of this format holds at most; up to 2**24 in all are always accepted.
    """
    if pixels > max(2**24, size * most):
        raise UnacceptedError(
            f"is damaged or truncated: it promises {pixels:,} pixels in {size:,} bytes; accepted "
            f"are {most:,} a byte"
        )


def axes_of_array(shape: Sequence[int]) -> str:
    """Return the axes of an array without metadata, as `nucleiseg.segment` reads arrays."""
    if len(shape) < 2:
        raise UnacceptedError(f"has the shape {tuple(shape)}; accepted are two axes and more")
    if len(shape) == 3 and shape[-1] in (1, 3, 4):
        return "YXS"
    return "Q" * (len(shape) - 2) + "YX"


def truncated(size: int, needed: int) -> UnacceptedError:
    """Raise the error of a file that ends too early."""
    return UnacceptedError(f"is truncated: {size:,} bytes of at least {needed:,}")


def package(kind: str, name: str, extra: str) -> Any:
    """Import the package that reads a kind of file, which an extra of this one installs."""
    try:
        return import_module(name)
    except ImportError:
        raise UnacceptedError(
            f"is {kind}, which needs the package {name.partition('.')[0]}: "
            f"pip install 'nucleiseg[{extra}]'"
        ) from None


@contextmanager
def damage() -> Iterator[None]:
    """Turn whatever damaged bytes provoke in a library into one kind of error.

    An error of the machine, which has a number, and too little memory pass.
    """
    try:
        yield
    except (UnacceptedError, MemoryError):
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnacceptedError(f"is truncated or damaged: {error}") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnacceptedError(f"is truncated or damaged: {reason}") from None
