"""Labels as Cellpose's ``_seg.npy``, which its window opens to correct them.

The file is a dict that NumPy has pickled. It is the only format with a pickle, because Cellpose
reads no other; this package never loads one.

Fields: https://cellpose.readthedocs.io/en/latest/outputs.html
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from nucleiseg.names import printable
from nucleiseg.outputs import overlays
from nucleiseg.outputs.labels import MOST
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "cellpose", "Cellpose masks"
ABOUT = "_seg.npy to correct"
ENDING = "_seg.npy"

_GREY = [0, 0]
"""Cellpose's choice of two channels: the first is grey, there is no second."""


def write(result: Segmented, file: BinaryIO) -> None:
    """Write masks, outlines and a picture of the image, (H, W, 3) uint8.

    The picture is what is shown where the image's file does not lie beside this one.
    """
    masks = result.labels.astype(np.uint16 if len(result) < MOST else np.uint32)
    known: dict[str, Any] = {}
    if len(result):
        diameter = float(np.median(result.table["equivalent_diameter_area"]))
        # Version 4 and those before it have two names for it.
        known = {"diameter": diameter, "est_diam": diameter}
    fields = {
        "masks": masks,
        # An outline runs along the edge of the image too.
        "outlines": masks * overlays.outline(np.pad(result.labels, 1))[1:-1, 1:-1],
        "filename": printable(result.name),
        "img": overlays.rgb(result.image),
        "chan_choose": _GREY,
        "ismanual": np.zeros(len(result), np.bool_),
        "manual_changes": [],
        **known,
    }
    np.save(file, fields, allow_pickle=True)  # type: ignore[arg-type]
