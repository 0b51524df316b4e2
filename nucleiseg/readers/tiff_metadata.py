"""Names of channels and the size of pixels, from the description in a TIFF file."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import tifffile

from nucleiseg.readers.units import MICROMETRES, pixel_size

Metadata = tuple[tuple[str, ...], float | None]


def read(file: tifffile.TiffFile, page: tifffile.TiffPage) -> Metadata:
    """Give the channels' names, and micrometres a pixel, as far as the file says them.

    The resolution of a TIFF file without ImageJ's unit is left aside: most programs write that of
    a printer there.
    """
    if file.is_ome and file.ome_metadata:
        return _ome(file.ome_metadata, page)
    if file.is_imagej:
        return (), _imagej(file, page)
    if file.is_svs:
        return (), _aperio(page)
    return (), None


def _aperio(page: tifffile.TiffPage) -> float | None:
    found = re.search(r"\|MPP = ([\d.]+)", page.description)
    try:
        mpp = float(found[1]) if found else 0.0
    except ValueError:
        return None
    return pixel_size(mpp, mpp)


def _ome(xml: str, page: tifffile.TiffPage) -> Metadata:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return (), None
    size = (str(page.imagewidth), str(page.imagelength))
    for pixels in root.iterfind("{*}Image/{*}Pixels"):
        if (pixels.get("SizeX"), pixels.get("SizeY")) == size:
            names = tuple(channel.get("Name", "") for channel in pixels.iterfind("{*}Channel"))
            return names, pixel_size(_ome_length(pixels, "X"), _ome_length(pixels, "Y"))
    return (), None


def _ome_length(pixels: ElementTree.Element, axis: str) -> float:
    """Micrometres a pixel along an axis, 0 where unknown."""
    unit = MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), 0.0)
    try:
        return float(pixels.get(f"PhysicalSize{axis}", "0")) * unit
    except ValueError:
        return 0.0


def _imagej(file: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    # ImageJ's resolution tags count pixels in one of the unit that its description names.
    unit = str((file.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    lengths = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        pixels, units = tag.value if tag is not None else (0, 1)
        lengths.append(units / pixels * MICROMETRES.get(unit, 0.0) if pixels else 0.0)
    return pixel_size(*lengths)
