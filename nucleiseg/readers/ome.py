"""OME-XML in a TIFF file: what it says of the planes, held against what the file holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

from nucleiseg.readers.stack import UnacceptedError
from nucleiseg.readers.tiff_structure import Directories
from nucleiseg.readers.units import MICROMETRES, pixel_size

_PLACES = ("IFD", "FirstZ", "FirstC", "FirstT")

_MOST_LISTS = 4
"""Times that all pages of a file may be listed by TiffData elements."""


@dataclass(frozen=True)
class Description:
    """OME-XML of a file, which describes its first page.

    Parameters
    ----------
    channels
        Names of the channels.
    mpp
        Micrometres per pixel, if the file says it.
    of_set
        Whether some of the planes are in other files.
    """

    channels: tuple[str, ...]
    mpp: float | None
    of_set: bool


def read(
    xml: str, name: str, size: tuple[int, int], directories: Directories
) -> Description | None:
    """Return what OME-XML says, None if it is none or does not describe a page of this size.

    Parameters
    ----------
    xml
        The description of the first page.
    name
        Of the file.
    size
        Rows and columns of the first page.
    directories
        What the file holds.

    Raises
    ------
    UnacceptedError
        It promises more planes than there are, or its numbers are none.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    try:
        found = next((one for one in _pixels(root) if _size(one) == size), None)
        if found is None:
            return None
        of_set = _is_set(root, name)
        if not of_set:
            _check_planes(root, directories)
        names = tuple(channel.get("Name", "") for channel in found.iterfind("{*}Channel"))
    except (KeyError, ValueError, OverflowError) as error:
        if isinstance(error, UnacceptedError):
            raise
        raise UnacceptedError(f"is damaged: its OME-XML lacks a number: {error}") from None
    return Description(names, pixel_size(_length(found, "X"), _length(found, "Y")), of_set)


def _pixels(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    return root.iterfind("{*}Image/{*}Pixels")


def _size(pixels: ElementTree.Element) -> tuple[int, int]:
    return int(pixels.attrib["SizeY"]), int(pixels.attrib["SizeX"])


def _is_set(root: ElementTree.Element, name: str) -> bool:
    """Tell whether a TiffData element names another file than this one."""
    own = root.get("UUID")
    for uuid in root.iterfind("{*}Image/{*}Pixels/{*}TiffData/{*}UUID"):
        named = own is None and uuid.get("FileName", "").lower() == name.lower()
        if uuid.text != own and not named:
            return True
    return False


def _check_planes(root: ElementTree.Element, directories: Directories) -> None:
    promised = listed = lists = 0
    for pixels in _pixels(root):
        data = pixels.findall("{*}TiffData")
        if data:
            sizes = [int(pixels.attrib[f"Size{axis}"]) for axis in "ZCT"]
            if min(sizes) < 1:
                raise UnacceptedError("is damaged: its OME-XML gives an axis no length")
            promised += math.prod(sizes)
        for one in data:
            # Without a number it is one page where the page is named, else all of them.
            default = one.get("NumPlanes", "1" if "IFD" in one.attrib else "0")
            count = int(one.get("PlaneCount", default)) or directories.pages
            listed, lists = listed + count, lists + 1
            if count > directories.pages:
                raise _too_many(count, directories.pages)
            if min(int(one.get(name, 0)) for name in _PLACES) < 0 or count < 0:
                raise UnacceptedError("is damaged: its OME-XML counts planes from below 0")
    if promised > directories.samples:
        raise _too_many(promised, directories.samples)
    if listed > _MOST_LISTS * (directories.pages + lists):
        raise _too_many(listed, directories.pages)
    for along in root.iter():
        if along.tag[:-1].endswith("Along") and "Start" in along.attrib:
            _check_modulo(along, directories.samples)


def _check_modulo(along: ElementTree.Element, samples: int) -> None:
    start, end = float(along.attrib["Start"]), float(along.attrib["End"])
    steps = np.float64(end - start) / float(along.get("Step", 1))
    if not -1 <= steps <= samples:
        raise _too_many(steps, samples)


def _too_many(promised: float, found: int) -> UnacceptedError:
    return UnacceptedError(
        f"is truncated: its OME-XML promises {promised:,} planes, and it holds {found:,}"
    )


def _length(pixels: ElementTree.Element, axis: str) -> float:
    """Micrometres per pixel along an axis, 0 where unknown."""
    unit = MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), 0.0)
    try:
        return float(pixels.get(f"PhysicalSize{axis}", "0")) * unit
    except ValueError:
        return 0.0
