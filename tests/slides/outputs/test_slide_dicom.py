"""DICOM annotations of a slide, read by highdicom and pydicom."""

import dataclasses

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from nucleiseg.slides.outputs import dicom
from nucleiseg.slides.outputs.dicom import DicomAnnotations
from nucleiseg.slides.outputs.one_file import NO_NUCLEI


def group_of(path):
    return highdicom.ann.annread(path).get_annotation_group(number=1)


def test_highdicom_reads_every_outline(nuclei, write):
    group = group_of(write(DicomAnnotations(), nuclei))
    found = group.get_graphic_data(coordinate_type="2D")
    assert len(found) == len(nuclei) == group.NumberOfAnnotations
    for i in (0, 1, 1999, 2000, len(nuclei) - 1):
        first, last = nuclei.outline_offsets[i : i + 2]
        np.testing.assert_array_equal(found[i], nuclei.outline_points[first:last, ::-1])


def test_highdicom_reads_the_measurements(nuclei, info, write):
    names, values, units = group_of(write(DicomAnnotations(), nuclei)).get_measurements()
    assert [name.meaning for name in names] == ["Area", "Diameter", "Certainty of Finding"]
    assert [unit.value for unit in units] == ["um2", "um", "%"]
    mpp = info.mpp[0]
    expected = [nuclei.area * mpp**2, nuclei.diameter * mpp, nuclei.confidence * 100]
    np.testing.assert_allclose(values, np.stack(expected, axis=1), rtol=1e-6)


def test_the_group_says_what_it_is_and_what_found_it(nuclei, info, write):
    path = write(DicomAnnotations(), nuclei)
    group = group_of(path)
    assert group.annotated_property_type.meaning == "Nucleus"
    assert group.graphic_type.value == "POLYGON"
    assert group.algorithm_type.value == "AUTOMATIC"
    assert group.algorithm_identification.name == info.model["name"]
    annotations = pydicom.dcmread(path)
    assert annotations.SOPClassUID.name == "Microscopy Bulk Simple Annotations Storage"
    assert annotations.PixelOriginInterpretation == "VOLUME"


def test_identifiers_are_those_of_the_nuclei(nuclei, info, write, tmp_path):
    def uid(where, nuclei, info=info):
        path = write(DicomAnnotations(), nuclei, folder=tmp_path / where, info=info)
        return pydicom.dcmread(path).SOPInstanceUID

    one = uid("one", nuclei)
    moved = dataclasses.replace(nuclei, outline_points=nuclei.outline_points + np.float32(1))
    assert uid("again", nuclei) == one
    assert uid("moved", moved) != one
    assert uid("other", nuclei, dataclasses.replace(info, settings={"region": 1})) != one


def test_a_slide_without_nuclei_has_no_annotations(write):
    annotations = pydicom.dcmread(write(DicomAnnotations(), NO_NUCLEI))
    assert annotations.AnnotationGroupSequence[0].NumberOfAnnotations == 0


def level(series, rows, columns):
    """A level of a slide in DICOM, without its pixels."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = dicom.WHOLE_SLIDE_IMAGE
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.SeriesInstanceUID = series
    image.StudyInstanceUID = generate_uid(entropy_srcs=["a study"])
    image.FrameOfReferenceUID = generate_uid(entropy_srcs=["a frame"])
    image.Modality = "SM"
    image.PatientID, image.PatientName = "p1", "Doe^Jo"
    image.PatientBirthDate = image.PatientSex = image.AccessionNumber = image.StudyID = ""
    image.StudyDate, image.StudyTime = "20240131", "101500"
    image.TotalPixelMatrixRows, image.TotalPixelMatrixColumns = rows, columns
    return image


def test_a_slide_in_dicom_is_referred_to_by_its_level_0(nuclei, info, write, tmp_path):
    slide = tmp_path / "slide"
    slide.mkdir()
    series = generate_uid()
    levels = [level(series, info.height >> i, info.width >> i) for i in range(3)]
    others = [level(generate_uid(), info.height, info.width)]
    for i, image in enumerate([*others, *levels[::-1]]):
        image.save_as(slide / f"{i}.dcm", enforce_file_format=True)
    named = dataclasses.replace(info, path=slide / "1.dcm")  # its smallest level
    annotations = pydicom.dcmread(write(DicomAnnotations(), nuclei, info=named))
    (reference,) = annotations.ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == levels[0].SOPInstanceUID
    assert annotations.StudyInstanceUID == levels[0].StudyInstanceUID
    assert (annotations.PatientID, annotations.ContentDate) == ("p1", "20240131")


def test_a_slide_in_another_format_is_given_identifiers(nuclei, info, write):
    annotations = pydicom.dcmread(write(DicomAnnotations(), nuclei))
    assert annotations.StudyInstanceUID.startswith("2.25.")
    assert annotations.ContentDate == dicom.NO_DATE


def test_more_points_than_a_file_holds_are_refused(nuclei, info, tmp_path, monkeypatch):
    monkeypatch.setattr(dicom, "LARGEST", 10**6)
    output = DicomAnnotations()
    output.begin(info, tmp_path)
    with pytest.raises(ValueError, match="outlines: got more than 1,000,000 bytes of points"):
        output.add(nuclei)
    output.discard()
