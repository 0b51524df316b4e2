"""The size of pixels, as ImageJ and Aperio describe it; `nucleiseg.readers.ome` reads OME-XML."""

from __future__ import annotations

import re

import tifffile

from nucleiseg.readers.units import MICROMETRES, pixel_size


def mpp(file: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """Return micrometres per pixel as ImageJ or Aperio give them, None where they do not.

    The resolution of a TIFF file without ImageJ's unit is left aside: most programs write that of
    a printer there.
    """
    if file.is_imagej:
        return _imagej(file, page)
    return _aperio(page) if file.is_svs else None


def _aperio(page: tifffile.TiffPage) -> float | None:
    found = re.search(r"\|MPP = ([\d.]+)", page.description)
    try:
        size = float(found[1]) if found else 0.0
    except ValueError:
        return None
    return pixel_size(size, size)


def _imagej(file: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    # ImageJ's resolution tags count pixels in the unit that its description names.
    unit = str((file.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    lengths = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        pixels, units = tag.value if tag is not None else (0, 1)
        lengths.append(units / pixels * MICROMETRES.get(unit, 0.0) if pixels else 0.0)
    return pixel_size(*lengths)
