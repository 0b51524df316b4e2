"""Masks: 8-bit PNG, 255 where nucleus and 0 elsewhere."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from nucleiseg import images
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "mask", "masks"
ABOUT = "8-bit PNG, 0 and 255"
ENDING = "_mask.png"


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the mask."""
    file.write(images.png(result.mask.view(np.uint8) * np.uint8(255)))
