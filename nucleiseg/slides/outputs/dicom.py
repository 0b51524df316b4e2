"""Outlines as DICOM Microscopy Bulk Simple Annotations, for archives and viewers of hospitals.

One group of polygons in pixels of the slide's total pixel matrix, with area, diameter and
confidence, as in DICOM PS3.3 A.87. Annotation i is the nucleus with id i. Where the slide is a
DICOM image, the file belongs to its study and refers to its level 0. Where it is not, it refers to
an image that does not exist, whose identifiers are made from the slide's name.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs import extras
from nucleiseg.slides.nuclei import Nuclei, SlideInfo
from nucleiseg.slides.outputs.one_file import OneFile

LARGEST = 2**32 - 2
"""Bytes of a value, DICOM's own limit: some 16 million nuclei."""

NO_DATE, NO_TIME = "19700101", "000000"
"""For slides that have no date: the time of writing would make each run's file another."""

_PENDING = "2.25.0"
"""Identifiers, until the nuclei are known."""

WHOLE_SLIDE_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"


class _Spool(NamedTuple):
    """A long value, in a temporary file until the file around it is written."""

    header: bytes
    file: IO[bytes]


_POINTS = b"\x66\x00\x16\x00OF\x00\x00"
_FIRST_INDEX = b"\x66\x00\x40\x00OL\x00\x00"
_VALUES = b"\x66\x00\x25\x01OF\x00\x00"
"""Tag, representation and two reserved bytes of the long values; four bytes of length follow."""


class DicomAnnotations(OneFile):
    """Writes ``annotations.dcm``.

    Raises
    ------
    ModuleNotFoundError
        When constructed: the package highdicom is not installed.
    """

    about = "outlines as DICOM annotations"
    name = "annotations.dcm"

    def __init__(self) -> None:
        extras.load("highdicom")

    def _open(self) -> None:
        self._count = self._numbers = 0
        # Before other outputs hold anything: highdicom reads the whole standard, 100 MB.
        self._annotations = self._without_values()
        self._digest = hashlib.sha256(repr((self.info.path.name, self.info.settings)).encode())
        self._spools = [
            _Spool(header, tempfile.TemporaryFile(dir=self._path.parent))  # noqa: SIM115
            for header in (_POINTS, _FIRST_INDEX, _VALUES, _VALUES, _VALUES)
        ]

    def _write(self, nuclei: Nuclei) -> None:
        points = nuclei.outline_points[:, ::-1].astype("<f4")
        # From 1, in numbers, of which a point has two.
        first = nuclei.outline_offsets[:-1] * 2 + 1 + self._numbers
        mpp_x, mpp_y = self.info.mpp
        measured = (
            nuclei.area * (mpp_x * mpp_y),
            nuclei.diameter * self.info.mean_mpp,
            nuclei.confidence * 100,
        )
        self._count += len(nuclei)
        self._numbers += points.size
        if self._numbers * points.itemsize > LARGEST:
            raise ValueError(
                f"outlines: got more than {LARGEST:,} bytes of points by nucleus {self._count:,}, "
                "which is as much as a DICOM file holds; write another format"
            )
        columns = (points, first.astype("<u4"), *(values.astype("<f4") for values in measured))
        for spool, values in zip(self._spools, columns, strict=True):
            data: NDArray[Any] = np.ascontiguousarray(values)
            spool.file.write(data.data)
            self._digest.update(data.data)

    def _complete(self) -> None:
        outside, annotations = io.BytesIO(), self._annotations
        group = annotations.AnnotationGroupSequence[0]
        annotations.SeriesInstanceUID = self._uid("series")
        annotations.SOPInstanceUID = self._uid("instance")
        annotations.file_meta.MediaStorageSOPInstanceUID = annotations.SOPInstanceUID
        group.AnnotationGroupUID = self._uid("group")
        group.NumberOfAnnotations = self._count
        annotations.save_as(outside, enforce_file_format=True)
        _splice(outside.getvalue(), self._spools, self._file)

    def _close(self) -> None:
        for spool in self._spools:
            spool.file.close()
        super()._close()

    def _without_values(self) -> Any:
        """Return the file without what depends on nuclei: long values are empty."""
        from highdicom import ann

        source = source_image(self.info)
        date = str(source.get("ContentDate") or source.get("StudyDate") or NO_DATE)
        time = str(source.get("ContentTime") or source.get("StudyTime") or NO_TIME)
        annotations = ann.MicroscopyBulkSimpleAnnotations(
            source_images=[source],
            annotation_coordinate_type=ann.AnnotationCoordinateTypeValues.SCOORD,
            annotation_groups=[self._group()],
            series_instance_uid=_PENDING,
            series_number=1,
            sop_instance_uid=_PENDING,
            instance_number=1,
            manufacturer="nucleiseg",
            manufacturer_model_name=self.info.model["name"],
            software_versions=self.info.model["version"],
            device_serial_number=self.info.model["sha256"],
            content_description="Nuclei",
            content_label="NUCLEI",
            content_date=date,
            content_time=time,
        )
        # All that says when the file was written.
        del annotations.InstanceCreationDate, annotations.InstanceCreationTime
        for equipment in annotations.get("ContributingEquipmentSequence", []):
            equipment.pop("ContributionDateTime", None)
        # Values that are put in later change no lengths around them.
        _leave_out_lengths(annotations)
        return annotations

    def _group(self) -> Any:
        import highdicom
        from highdicom import ann
        from pydicom.sr.codedict import codes

        kinds = (
            (codes.SCT.Area, codes.UCUM.SquareMicrometer),
            (codes.SCT.Diameter, codes.UCUM.Micrometer),
            (codes.DCM.CertaintyOfFinding, codes.UCUM.Percent),
        )
        group = ann.AnnotationGroup(
            number=1,
            uid=_PENDING,
            label="Nuclei",
            annotated_property_category=codes.SCT.AnatomicalStructure,
            annotated_property_type=codes.SCT.Nucleus,
            graphic_type=ann.GraphicTypeValues.POLYGON,
            graphic_data=[np.array([[0, 0], [1, 0], [1, 1]], np.float32)],
            algorithm_type=ann.AnnotationGroupGenerationTypeValues.AUTOMATIC,
            algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                name=self.info.model["name"],
                family=codes.DCM.ArtificialIntelligence,
                version=self.info.model["version"],
                source="nucleiseg",
            ),
            measurements=[
                ann.Measurements(name=name, values=np.zeros(1, np.float32), unit=unit)
                for name, unit in kinds
            ],
        )
        group.PointCoordinatesData = group.LongPrimitivePointIndexList = b""
        for item in group.MeasurementsSequence:
            item.MeasurementValuesSequence[0].FloatingPointValues = b""
        return group

    def _uid(self, what: str) -> str:
        """Return an identifier that the same nuclei have in every run, and no others."""
        return _uid_of(self._digest.hexdigest(), what)


def source_image(info: SlideInfo) -> Any:
    """Return the DICOM image that a slide's level 0 is, without its pixels, or a stand-in.

    A slide's levels are files of one series beside each other.
    """
    here = info.path if info.path.is_dir() else info.path.parent
    series = None if info.path.is_dir() else _header(info.path)
    if series is None and not info.path.is_dir():
        return _stand_in(info)
    for image in filter(None, map(_header, sorted(here.glob("*.dcm")))):
        series = series or image
        size = image.get("TotalPixelMatrixColumns"), image.get("TotalPixelMatrixRows")
        same = image.get("SeriesInstanceUID") == series.get("SeriesInstanceUID")
        if same and size == (info.width, info.height):
            return image
    return _stand_in(info)


def _header(path: Path) -> Any:
    """Return what a DICOM file holds before its pixels, None of other files."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError):
        return None


def _stand_in(info: SlideInfo) -> Any:
    from pydicom.dataset import Dataset

    origin = f"{info.path.name} {info.width} {info.height}"
    image = Dataset()
    image.SOPClassUID = WHOLE_SLIDE_IMAGE
    image.Modality = "SM"
    image.SpecificCharacterSet = "ISO_IR 192"
    for name in ("StudyInstance", "SeriesInstance", "SOPInstance", "FrameOfReference"):
        setattr(image, f"{name}UID", _uid_of(origin, name))
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(image, name, None)
    for name in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
        setattr(image, name, None)
    return image


def _uid_of(origin: str, what: str) -> str:
    data = hashlib.sha256(f"{what} {origin}".encode("utf-8", "surrogateescape")).digest()
    return f"2.25.{uuid.UUID(bytes=data[:16], version=5).int}"


def _leave_out_lengths(dataset: Any) -> None:
    """Let all sequences of a dataset, and their items, end with delimiters."""
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _leave_out_lengths(item)


def _splice(outside: bytes, spools: list[_Spool], file: IO[bytes]) -> None:
    """Write a file with its long values, which are empty in ``outside``, in their places."""
    done = 0
    for header, value in spools:
        start = outside.index(header + bytes(4), done) + len(header)
        file.write(outside[done:start])
        file.write(value.tell().to_bytes(4, "little"))
        value.seek(0)
        shutil.copyfileobj(value, file, 2**20)
        done = start + 4
    file.write(outside[done:])
