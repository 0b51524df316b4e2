"""Label images as 16-bit PNG, which every viewer opens: a number for each nucleus, 0 elsewhere."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from nucleiseg import images
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "labels", "labels"
ABOUT = "16-bit PNG, one number per nucleus; 32-bit TIFF beyond 65,535"
ENDING = "_labels.png"

MOST = int(np.iinfo(np.uint16).max)
"""Nuclei that 16 bits can number."""


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the labels of at most `MOST` nuclei."""
    file.write(images.png(result.labels.astype(np.uint16)))
