"""Which planes of a stack to take, and those planes one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from nucleiseg.readers.stack import LETTERS, Image, Stack, UnacceptedError, check_size, damage

Which = int | Literal["all"] | None

MEANINGS = "T frame, Z plane, C channel, Y row, X column, S colour"

_LISTED = 12
"""Images of a file that an error names."""

_COLOURS = ("red", "green", "blue", "alpha")


@dataclass(frozen=True)
class Plane:
    """One two-dimensional image of a file, whose pixels are read when asked for.

    Parameters
    ----------
    suffix
        Which plane of the file it is, such as ``"_z003_t001"``, counted from 0, behind the name of
        its image where the file holds several, ``"_B03_0_z003"``; empty where the file holds one.
    load
        Returns the pixels, (H, W) grey or (H, W, C) in RGB or RGBA order.
    mpp
        Micrometres per pixel, if the file says it.
    """

    suffix: str
    load: Callable[[], Image]
    mpp: float | None = None

    @property
    def array(self) -> Image:
        """The pixels, from ``load``."""
        return self.load()


@dataclass(frozen=True)
class Selection:
    """What to take of a file; see `nucleiseg.images.open`."""

    channel: int | str | None = None
    z: Which = None
    frame: Which = None
    axes: str | None = None
    series: int | str | None = None


def selection(
    channel: int | str | None = None,
    z: int | str | None = None,
    frame: int | str | None = None,
    axes: str | None = None,
    series: int | str | None = None,
) -> Selection:
    """Check a selection before any file is opened; numbers may come as text.

    Raises
    ------
    ValueError
        An argument is out of its range.
    """
    return Selection(
        _chosen("channel", channel),
        _chosen("z", z, named=False),
        _chosen("frame", frame, named=False),
        _letters(axes),
        _chosen("series", series),
    )


def _chosen(option: str, value: int | str | None, named: bool = True) -> Any:
    # Digits are a number, also as text, so that the command line and Python mean the same.
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if value is None or value == "all" or (named and isinstance(value, str) and value):
        return value
    number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not number or int(value) < 0:
        accepted = "a name and numbers from 0 up" if named else "numbers from 0 up and 'all'"
        raise ValueError(f"{option}: got {value!r}; accepted are {accepted}")
    return int(value)


def _letters(axes: str | None) -> str | None:
    if axes is None:
        return None
    letters = axes.upper()
    if len(set(letters)) < len(letters) or not {"Y", "X"} <= set(letters) <= set(LETTERS):
        raise ValueError(
            f"axes: got {axes!r}; accepted is one letter an axis, each once, Y and X among them: "
            f"{MEANINGS}"
        )
    return letters


def planes(stacks: Iterable[Stack], wanted: Selection) -> Iterator[Plane]:
    """Yield the planes wanted of a file, image by image and frame by frame.

    Yields
    ------
    Plane
        Its pixels are read when its ``load`` is called: contiguous, in the machine's byte order, of
        the dtype stored.

    Raises
    ------
    UnacceptedError
        The selection does not fit the file, or leaves open which plane is meant.
    """
    for stack in _series(stacks, wanted.series):
        try:
            yield from _planes(stack, wanted)
        except UnacceptedError as error:
            raise UnacceptedError(f"{stack.name}: {error}" if stack.name else str(error)) from None


def _series(stacks: Iterable[Stack], wanted: int | str | None) -> Iterator[Stack]:
    """Yield the images of a file that are wanted: the only one, all, or one of them."""
    if wanted == "all":
        yield from stacks
    elif wanted is None:
        yield _only(stacks)
    else:
        yield _one(stacks, wanted)


def _only(stacks: Iterable[Stack]) -> Stack:
    first, *others = itertools.islice(stacks, 2)
    if others:
        raise UnacceptedError(
            f"holds several images (0 {first.name!r}, 1 {others[0].name!r}, ...); choose one with "
            "--series NAME or INDEX, or all with --series all"
        )
    return first


def _one(stacks: Iterable[Stack], wanted: int | str) -> Stack:
    names = []
    for number, stack in enumerate(stacks):
        if wanted in (number, stack.name):
            return stack
        names.append(stack.name)
    listed = ", ".join(f"{number} {name!r}" for number, name in enumerate(names[:_LISTED]))
    more = ", ..." if len(names) > _LISTED else ""
    found = f"{len(names)} images ({listed}{more})" if len(names) > 1 else "one image (0)"
    raise UnacceptedError(f"has no --series {wanted!r}: it has {found}")


def _planes(stack: Stack, wanted: Selection) -> Iterator[Plane]:
    stack = replace(stack, axes=_axes(stack, wanted.axes))
    channel = _channel(stack, wanted.channel)
    _check(stack, whole="S" not in channel)
    frames = _numbers(stack, "T", "frame", wanted.frame)
    depths = _numbers(stack, "Z", "z", wanted.z)
    for frame in frames:
        for depth in depths:
            at = {"T": frame, "Z": depth}
            load = partial(_load, stack, {**at, **channel})
            yield Plane(_suffix(stack, at), load, stack.mpp)


def _axes(stack: Stack, wanted: str | None) -> str:
    if wanted is not None:
        if len(wanted) != len(stack.shape):
            raise UnacceptedError(
                f"has the shape {_shown(stack.shape)}, to which the axes {wanted!r} do not fit; "
                f"accepted is one letter an axis: {MEANINGS}"
            )
        return wanted
    unknown = [place for place, letter in enumerate(stack.axes) if letter not in LETTERS]
    if unknown or not {"Y", "X"} <= set(stack.axes):
        which = " and ".join(map(str, unknown))
        raise UnacceptedError(
            f"has the shape {_shown(stack.shape)} and does not say what axis {which} is; say it "
            f"for all of them, such as --axes {_example(stack.axes)} ({MEANINGS})"
        )
    return stack.axes


def _example(axes: str) -> str:
    free = iter([letter for letter in "ZTCS" if letter not in axes])
    return "".join(letter if letter in LETTERS else next(free, "?") for letter in axes)


def _check(stack: Stack, whole: bool) -> None:
    if stack.dtype.kind not in "buif":
        raise UnacceptedError(f"holds values of {stack.dtype}; accepted are numbers and booleans")
    if 0 in stack.shape:
        raise UnacceptedError(f"is empty: it has the shape {_shown(stack.shape)}")
    colours = stack.size("S")
    if whole and colours not in (1, 3, 4):
        raise UnacceptedError(
            f"has {colours} colours; accepted are 3 (RGB) and 4 (RGBA), or one of them with "
            "--channel INDEX"
        )
    check_size(stack.size("Y"), stack.size("X"), stack.dtype.itemsize * (colours if whole else 1))


def _channel(stack: Stack, wanted: int | str | None) -> dict[str, int]:
    """Find the axis that holds the channels, if there is one, and the number on it."""
    axis = "C" if "C" in stack.axes else "S" if "S" in stack.axes else ""
    count = stack.size(axis) if axis else 1
    names: Sequence[str] = _COLOURS[:count] if axis == "S" else stack.channels
    names = names if len(names) == count else ()
    if wanted is not None:
        number = _number(wanted, names, count)
        return {axis: number} if axis else {}
    if axis == "C" and count > 1:
        raise UnacceptedError(
            f"has {_listed(names, count)}; choose the one with the nuclei: --channel NAME or INDEX"
        )
    return {"C": 0} if axis == "C" else {}


def _number(wanted: int | str, names: Sequence[str], count: int) -> int:
    if not isinstance(wanted, str):
        places = [wanted] if wanted < count else []
    else:
        folded = wanted.casefold()
        places = [place for place, name in enumerate(names) if name == wanted] or [
            place for place, name in enumerate(names) if name.casefold() == folded
        ]
    if not places:
        raise UnacceptedError(f"has no channel {wanted!r}: it has {_listed(names, count)}")
    if len(places) > 1:
        raise UnacceptedError(
            f"has {len(places)} channels of the name {wanted!r} among its {_listed(names, count)}; "
            f"choose one by its number, such as --channel {places[0]}"
        )
    return places[0]


def _listed(names: Sequence[str], count: int) -> str:
    if count == 1:
        return f"one channel ({names[0]!r} or 0)" if names and names[0] else "one channel (0)"
    known = [f"{number} {name!r}" for number, name in enumerate(names) if name]
    return f"{count} channels ({', '.join(known) or f'0 to {count - 1}'})"


def _numbers(stack: Stack, axis: str, option: str, wanted: Which) -> Sequence[int]:
    count = stack.size(axis)
    what = {"T": "frame", "Z": "plane"}[axis] + ("s" if count > 1 else "")
    if wanted == "all":
        return range(count)
    if wanted is None and count > 1:
        raise UnacceptedError(
            f"has {count} {what}; choose one with --{option} INDEX, or all with --{option} all"
        )
    number = int(wanted or 0)
    if number >= count:
        raise UnacceptedError(f"has no --{option} {number}: it has {count} {what}, counted from 0")
    return [number]


def _suffix(stack: Stack, at: dict[str, int]) -> str:
    parts = [f"_{stack.name}"] if stack.name else []
    for axis in "ZT":
        count = stack.size(axis)
        if count > 1:
            parts.append(f"_{axis.lower()}{at[axis]:0{max(3, len(str(count - 1)))}}")
    return "".join(parts)


def _load(stack: Stack, at: dict[str, int]) -> Image:
    index = tuple(at.get(letter, slice(None)) for letter in stack.axes)
    with damage():
        array = stack.load(index)
    left = [letter for letter in stack.axes if letter not in at]
    array = array.transpose([left.index(letter) for letter in "YXS" if letter in left])
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _shown(shape: Sequence[int]) -> str:
    return " x ".join(f"{length:,}" for length in shape)
