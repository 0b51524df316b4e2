"""Small DICOM images, written by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate


def write(
    path: Path,
    pixels: np.ndarray,
    *,
    encoded: list[bytes] | None = None,
    syntax: str = "1.2.840.10008.1.2.1",
    **changes: Any,
) -> None:
    """Write a frame, (H, W) or (H, W, 3), or several.

    Parameters
    ----------
    encoded
        The frames as the transfer syntax compresses them.
    changes
        Values of elements by their keywords, which replace those that fit the pixels.
    """
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    colours = pixels.shape[-1] == 3
    frames = pixels.shape[0] if pixels.ndim - colours == 3 else 1
    image.Rows, image.Columns = pixels.shape[-2 - colours : len(pixels.shape) - colours]
    image.SamplesPerPixel = 3 if colours else 1
    if colours:
        image.PlanarConfiguration = 0
    if frames > 1:
        image.NumberOfFrames = frames
    image.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 8 * pixels.itemsize
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in changes.items():
        setattr(image, name, value)
    image.PixelData = encapsulate(encoded) if encoded else pixels.tobytes()
    image.save_as(path, enforce_file_format=True)
