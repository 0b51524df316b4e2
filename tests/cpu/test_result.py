import base64
import html
import re
from pathlib import Path

import cv2
import numpy as np
import pandas
import pytest
import tifffile

import nucleiseg
from nucleiseg import images
from nucleiseg.outputs import FORMATS, overlays
from nucleiseg.result import SHOWN, Result

EXAMPLES = Path(__file__).parents[1] / "data" / "images"
GREY = EXAMPLES / "fluorescence_small.png"


@pytest.fixture(scope="module")
def segmenter():
    return nucleiseg.Segmenter()


@pytest.fixture(scope="module")
def result(segmenter):
    return segmenter.analyze(GREY, mpp=0.5)


def test_mask_and_labels_are_those_of_segment(segmenter, result):
    np.testing.assert_array_equal(result.mask, segmenter.segment(GREY, mpp=0.5))
    np.testing.assert_array_equal(result.labels, segmenter.segment(GREY, "labels", mpp=0.5))


def test_the_table_has_a_row_for_each_label(result):
    present, pixels = np.unique(result.labels, return_counts=True)
    np.testing.assert_array_equal(result.table["label"], present[1:])
    np.testing.assert_array_equal(result.table["area"], pixels[1:])
    assert len(result) == len(present) - 1
    image = images.read(GREY)
    means = [image[result.labels == label].mean() for label in present[1:]]
    np.testing.assert_allclose(result.table["intensity_mean-0"], means, rtol=1e-6)
    # Nuclei are where the network says so.
    assert result.table["probability_mean"].min() > 0.3


def test_the_table_becomes_a_data_frame(result):
    frame = result.table.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.shape == (len(result), len(result.table))


def test_every_nucleus_has_an_outline(result):
    assert [outline.label for outline in result.outlines] == list(range(1, len(result) + 1))
    assert len(result.outlines) == len(result)


def test_it_says_how_many_nuclei_and_how_large(segmenter, result):
    diameter = np.median(np.sqrt(4 / np.pi * np.bincount(result.labels.ravel())[1:]))
    assert repr(result) == (
        f"Result({len(result)} nuclei, median diameter {diameter:.1f} pixels "
        f"({diameter / 2:.1f} µm))"
    )
    assert repr(segmenter.analyze(np.zeros((40, 50), np.uint8))) == "Result(0 nuclei)"


def test_a_notebook_shows_the_image_with_outlines(segmenter, result):
    shown = result._repr_html_()
    (uri,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(uri), np.uint8), cv2.IMREAD_COLOR_RGB)
    drawn = overlays.draw(result.image, result.labels)
    np.testing.assert_array_equal(picture, drawn)
    assert html.escape(repr(result)) in shown
    named = Result(result.image, result.mask, result.labels, name="<b>.png")
    assert "<b>" not in named._repr_html_()
    large = segmenter.analyze(np.tile(images.read(GREY), (3, 4)), scale=1)
    (uri,) = re.findall(r'src="data:image/png;base64,([^"]+)"', large._repr_html_())
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(uri), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (SHOWN * 3 // 4, SHOWN, 3)


@pytest.mark.parametrize("scale", ["auto", 0.5, 1.0, 1.7])
@pytest.mark.parametrize("name", ["fluorescence_small.png", "hematoxylin_eosin.png"])
def test_all_at_once_is_what_each_output_is_by_itself(segmenter, name, scale):
    image = images.read(EXAMPLES / name)
    found = segmenter.analyze(image, scale=scale)
    for output in ("mask", "labels", "maps"):
        expected = segmenter.segment(image, output, scale=scale)
        np.testing.assert_array_equal(getattr(found, output), expected)
    assert found.scale == (segmenter.find_scale(image) if scale == "auto" else scale)
    without = segmenter.analyze(image, scale=scale, maps=False)
    assert without.maps is None
    assert "probability_mean" not in without.table
    np.testing.assert_array_equal(without.labels, found.labels)


@pytest.mark.parametrize(
    ("image", "labels", "maps", "words"),
    [
        ((5, 5), (5, 6), None, r"labels: got 5 x 6 pixels; accepted are the image's 5 x 5"),
        ((5, 5), (5, 5), (4, 5, 2), r"maps: got 4 x 5 pixels; accepted are the image's 5 x 5"),
        ((0, 5), (0, 5), None, r"image: got shape \(0, 5\); accepted are"),
    ],
)
def test_what_does_not_fit_together_is_refused(image, labels, maps, words):
    with pytest.raises(ValueError, match=words):
        Result(
            np.zeros(image, np.uint8),
            np.zeros(image[:2], np.bool_),
            np.zeros(labels, np.int32),
            maps and np.zeros(maps, np.uint8),
        )


def test_it_is_saved_in_every_format_with_the_folders_made(result, tmp_path):
    stem = tmp_path / "new" / "out.v1"
    written = result.save(stem, list(FORMATS))
    assert written == result.save(str(stem), ",".join(FORMATS))
    assert sorted(written) == sorted((tmp_path / "new").iterdir())
    assert all(path.name.startswith("out.v1_") for path in written)


def test_an_array_is_taken_like_its_file_but_for_the_name(segmenter, result):
    same = segmenter.analyze(images.read(GREY), mpp=0.5)
    np.testing.assert_array_equal(same.labels, result.labels)
    assert (same.name, result.name) == ("", GREY.name)
    pandas.testing.assert_frame_equal(same.table.to_pandas(), result.table.to_pandas())


def test_every_image_that_is_segmented_is_measured(segmenter):
    image = images.read(GREY)
    wide = np.repeat(image, 2, axis=1)[:, ::2]
    result = segmenter.analyze(image, scale=1)
    for same in (image[..., None], image.astype(">u2"), image.astype(np.float64), wide):
        found = segmenter.analyze(same, scale=1)
        np.testing.assert_array_equal(found.labels, result.labels)
        for name, values in result.table.items():
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
