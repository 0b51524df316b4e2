"""A whole-slide image in DICOM: one level, tiles in JPEG, made by pydicom."""

from __future__ import annotations

from pathlib import Path

import aperio
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

SIDE = 512


def write(path: Path, pixels: np.ndarray, mpp: float) -> None:
    """Write pixels, (H, W, 3) uint8, whose sides are whole tiles."""
    height, width = pixels.shape[:2]
    tiles = [
        aperio.encoded(pixels[row : row + SIDE, column : column + SIDE])
        for row in range(0, height, SIDE)
        for column in range(0, width, SIDE)
    ]
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    image.file_meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    image.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(image, name, generate_uid())
    image.Modality, image.ImageType = "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    image.Rows = image.Columns = SIDE
    image.TotalPixelMatrixRows, image.TotalPixelMatrixColumns = height, width
    image.TotalPixelMatrixFocalPlanes = image.NumberOfOpticalPaths = 1
    image.NumberOfFrames, image.DimensionOrganizationType = len(tiles), "TILED_FULL"
    image.SamplesPerPixel, image.PlanarConfiguration = 3, 0
    image.PhotometricInterpretation = "YBR_FULL_422"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.ImagedVolumeWidth, image.ImagedVolumeHeight = width * mpp / 1e3, height * mpp / 1e3
    spacing, shared = Dataset(), Dataset()
    spacing.PixelSpacing = [mpp / 1e3, mpp / 1e3]
    shared.PixelMeasuresSequence = Sequence([spacing])
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    image.PixelData = encapsulate(tiles)
    image["PixelData"].is_undefined_length = True
    image.save_as(path, enforce_file_format=True)
