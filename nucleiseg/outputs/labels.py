"""Label images as 16-bit PNG, which every viewer opens: one number a nucleus, 0 the background."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from nucleiseg import images
from nucleiseg.outputs.segmented import Segmented

ENDING = "_labels.png"

MOST = int(np.iinfo(np.uint16).max)
"""Nuclei that 16 bits can number."""


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the labels of at most `MOST` nuclei."""
    file.write(images.png(result.labels.astype(np.uint16)))
