from pathlib import Path

import numpy as np
import pandas
import pytest
import tifffile

import nucleiseg
from nucleiseg import images
from nucleiseg.outputs import FORMATS

EXAMPLES = Path(__file__).parents[1] / "data" / "images"
GREY = EXAMPLES / "fluorescence_small.png"


@pytest.fixture(scope="module")
def segmenter():
    return nucleiseg.Segmenter()


@pytest.fixture(scope="module")
def analysis(segmenter):
    return segmenter.analyze(GREY, mpp=0.5)


def test_mask_and_labels_are_those_of_segment(segmenter, analysis):
    np.testing.assert_array_equal(analysis.mask, segmenter.segment(GREY, mpp=0.5))
    np.testing.assert_array_equal(analysis.labels, segmenter.segment(GREY, "labels", mpp=0.5))


def test_the_table_has_a_row_for_each_label(analysis):
    present, pixels = np.unique(analysis.labels, return_counts=True)
    np.testing.assert_array_equal(analysis.table["label"], present[1:])
    np.testing.assert_array_equal(analysis.table["area"], pixels[1:])
    assert len(analysis) == len(present) - 1
    image = images.read(GREY)
    means = [image[analysis.labels == label].mean() for label in present[1:]]
    np.testing.assert_allclose(analysis.table["intensity_mean-0"], means, rtol=1e-6)
    # Nuclei are where the network says so.
    assert analysis.table["probability_mean"].min() > 0.3


def test_the_table_becomes_a_data_frame(analysis):
    frame = analysis.table.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.shape == (len(analysis), len(analysis.table))


def test_every_nucleus_has_an_outline(analysis):
    assert [outline.label for outline in analysis.outlines] == list(range(1, len(analysis) + 1))
    assert len(analysis.outlines) == len(analysis)


def test_it_says_how_many_nuclei_and_how_large(segmenter, analysis):
    diameter = np.median(np.sqrt(4 / np.pi * np.bincount(analysis.labels.ravel())[1:]))
    assert repr(analysis) == (
        f"Analysis({len(analysis)} nuclei, median diameter {diameter:.1f} pixels "
        f"({diameter / 2:.1f} µm))"
    )
    assert repr(segmenter.analyze(np.zeros((40, 50), np.uint8))) == "Analysis(0 nuclei)"


def test_it_is_saved_in_every_format_with_the_folders_made(analysis, tmp_path):
    stem = tmp_path / "new" / "out.v1"
    written = analysis.save(stem, list(FORMATS))
    assert written == analysis.save(str(stem), ",".join(FORMATS))
    assert sorted(written) == sorted((tmp_path / "new").iterdir())
    assert all(path.name.startswith("out.v1_") for path in written)


def test_an_array_is_taken_like_its_file_but_for_the_name(segmenter, analysis):
    same = segmenter.analyze(images.read(GREY), mpp=0.5)
    np.testing.assert_array_equal(same.labels, analysis.labels)
    assert (same.result.name, analysis.result.name) == ("", GREY.name)
    pandas.testing.assert_frame_equal(same.table.to_pandas(), analysis.table.to_pandas())


def test_every_image_that_is_segmented_is_measured(segmenter):
    image = images.read(GREY)
    wide = np.repeat(image, 2, axis=1)[:, ::2]
    analysis = segmenter.analyze(image, scale=1)
    for same in (image[..., None], image.astype(">u2"), image.astype(np.float64), wide):
        found = segmenter.analyze(same, scale=1)
        np.testing.assert_array_equal(found.labels, analysis.labels)
        for name, values in analysis.table.items():
            np.testing.assert_allclose(found.table[name], values, rtol=1e-12, err_msg=name)


def test_the_pixel_size_of_a_file_is_used_for_measures_and_not_for_scale(segmenter, tmp_path):
    path = tmp_path / "a.tif"
    image = images.read(GREY)
    tifffile.imwrite(path, image, imagej=True, resolution=(4, 4), metadata={"unit": "um"})
    found = segmenter.analyze(path)
    assert found.mpp == pytest.approx(0.25)
    np.testing.assert_array_equal(found.labels, segmenter.segment(image, "labels"))
    np.testing.assert_allclose(found.table["area_um2"], found.table["area"] / 16)


@pytest.mark.parametrize("ring", [-1, 2.5, "5", True])
def test_a_ring_that_is_no_number_of_pixels_is_refused(segmenter, ring):
    with pytest.raises(ValueError, match=r"ring: got .* accepted are whole numbers"):
        segmenter.analyze(GREY, ring=ring)
