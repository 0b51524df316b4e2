"""ImageJ's regions of interest: a zip file that its ROI Manager opens.

A nucleus is one ROI, named by its label. One in a single piece is a polygon of whole numbers, as
ImageJ's wand makes it, or of fractions where outlines are smooth. ImageJ keeps no holes, no second
piece and no corner beyond 60,535 in such a polygon: those are composite ROIs, which lose nothing.
"""

from __future__ import annotations

import zipfile
from typing import Any, BinaryIO

import numpy as np

from nucleiseg.outputs import extras
from nucleiseg.outputs.outlines import Outline, Ring
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "rois", "ImageJ ROIs"
ABOUT = "zip for ImageJ"
ENDING = "_rois.zip"

NEEDS = "roifile"

# What ImageJ reads of its 16-bit coordinates: those below -5,000 count from 65,536 down.
_LARGEST = 60_535

# Java's PathIterator: SEG_MOVETO, SEG_LINETO, SEG_CLOSE.
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the archive; ModuleNotFoundError without the package roifile."""
    roifile = extras.load(NEEDS)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for outline in result.outlines:
            # An entry without a time is the same in every run.
            entry = zipfile.ZipInfo(f"{outline.label}.roi")
            archive.writestr(entry, _roi(roifile, outline).tobytes(), zipfile.ZIP_DEFLATED)


def _roi(roifile: Any, outline: Outline) -> Any:
    rings = [ring for part in outline.parts for ring in part]
    corners = np.concatenate(rings)
    (top, left), (bottom, right) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    roi = roifile.ImagejRoi(
        name=str(outline.label), top=int(top), left=int(left), bottom=int(bottom), right=int(right)
    )
    if len(rings) == 1 and corners.max() <= _LARGEST:
        roi.roitype = roifile.ROI_TYPE.TRACED
        roi.integer_coordinates = (rings[0][:, ::-1] - (left, top)).astype(np.int32)
        roi.n_coordinates = len(rings[0])
        if rings[0].dtype.kind == "f":
            roi.roitype = roifile.ROI_TYPE.POLYGON
            roi.options |= roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
            roi.subpixel_coordinates = rings[0][:, ::-1].astype("f4")
    else:
        roi.roitype = roifile.ROI_TYPE.RECT
        roi.multi_coordinates = np.array([word for ring in rings for word in _path(ring)], "f4")
        roi.shape_roi_size = len(roi.multi_coordinates)
    return roi


def _path(ring: Ring) -> list[float]:
    """Return a ring as Java's path: an operation, then its x and y."""
    words: list[float] = []
    for row, column in ring.tolist():
        words += (_LINE if words else _MOVE, column, row)
    return [*words, _CLOSE]
