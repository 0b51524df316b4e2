"""Brown nuclei are found as blue ones are, and images of other stains are left alone."""

from pathlib import Path

import numpy as np
import pytest

import nucleiseg
from nucleiseg import data, images, stains

IMAGES = Path(__file__).parents[1] / "data" / "images"
COLOURED = ("hematoxylin_eosin", "purple_on_violet", "purple_on_white")

HAEMATOXYLIN, DAB = np.array([0.65, 0.70, 0.29]), np.array([0.27, 0.57, 0.78])
"""Optical density of the stains, of Ruifrok and Johnston."""


def is_brown(image):
    return stains.shown(image, "auto") is not image


@pytest.fixture(scope="module")
def segmenter():
    return nucleiseg.Segmenter(device="cpu")


@pytest.fixture(scope="module")
def nuclei():
    """An H&E image's labels, and its density of haematoxylin."""
    image = images.read(IMAGES / "hematoxylin_eosin.png")
    labels = nucleiseg.segment(image, "labels")
    return labels, -np.log((image[..., 0] + 1.0) / 256) / HAEMATOXYLIN[0]


@pytest.fixture(scope="module", params=["all", "two of three"])
def brown(request, nuclei):
    """The image as if its nuclei, or two of three, were stained with DAB."""
    labels, density = nuclei
    positive = (labels > 0) & ((labels % 3 > 0) | (request.param == "all"))
    stain = np.where(positive[..., None], DAB, 0.5 * HAEMATOXYLIN)
    return np.clip(256 * np.exp(-density[..., None] * stain) - 1, 0, 255).astype(np.uint8)


def test_brown_nuclei_are_shown_in_blue(segmenter, brown):
    blue = stains.shown(brown, "auto")
    expected = segmenter.segment(blue, "labels", stain="he")
    assert not np.array_equal(segmenter.segment(brown, "labels", stain="he"), expected)
    for stain in ("auto", "dab"):
        np.testing.assert_array_equal(segmenter.segment(brown, "labels", stain=stain), expected)


@pytest.mark.parametrize("name", COLOURED)
def test_other_stains_are_not_brown(name):
    image = images.read(IMAGES / f"{name}.png")
    assert not is_brown(image)
    assert stains.shown(image, "auto") is image


@pytest.mark.parametrize("name", COLOURED)
@pytest.mark.parametrize("glass", [1, 5, 9])
def test_glass_around_tissue_does_not_matter(name, glass):
    image = images.read(IMAGES / f"{name}.png")
    height, width = image.shape[:2]
    white = np.percentile(image, 99.5, axis=(0, 1)).astype(np.uint8)
    assert not is_brown(np.vstack([image, np.full((height * glass, width, 3), white)]))


def test_glass_around_brown_nuclei_does_not_matter(brown):
    white = np.full_like(brown, 245)
    assert is_brown(np.vstack([brown, white, white, white]))


@pytest.mark.parametrize("name", data.EXAMPLES)
def test_the_examples_are_left_alone(name):
    image = data.example(name)
    assert stains.shown(image, "auto") is image


@pytest.mark.parametrize(
    ("dtype", "factor"), [("uint16", 257), ("uint16", 4), ("int16", 100), ("float32", 1 / 255)]
)
def test_the_range_of_intensities_does_not_matter(brown, dtype, factor):
    other = (brown * float(factor)).astype(dtype)
    assert is_brown(other)
    changed = stains.shown(other, "auto")
    assert changed.dtype == other.dtype
    np.testing.assert_array_equal(changed[..., 0], other[..., [0, 2]].min(-1))
    np.testing.assert_array_equal(changed[..., 1], other[..., 1])
    np.testing.assert_array_equal(changed[..., 2], other[..., [0, 2]].max(-1))


def test_alpha_does_not_matter(segmenter, brown):
    opaque = np.dstack([brown, np.full(brown.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(
        segmenter.segment(opaque, "labels"), segmenter.segment(brown, "labels")
    )


def test_grey_images_have_no_stain():
    grey = np.random.default_rng(0).integers(0, 255, (80, 90), dtype=np.uint8)
    for image in (grey, grey[..., None]):
        assert stains.shown(image, "dab") is image
    assert not is_brown(np.dstack([grey] * 3))


@pytest.mark.parametrize("value", [0, 1, 200, 255])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (64, 64), (300, 2)])
def test_an_even_image_is_not_brown(shape, value):
    assert not is_brown(np.full((*shape, 3), value, np.uint8))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_that_is_not_finite_is_refused_as_ever(segmenter, brown, value):
    image = brown.astype(np.float32)
    image[::2, ::2] = value
    for stain in stains.STAINS:
        with pytest.raises(ValueError, match="not finite"):
            segmenter.segment(image, stain=stain)


def test_brown_on_a_dark_background_is_fluorescence():
    grey = images.read(IMAGES / "fluorescence_small.png")
    image = (grey[..., None] * np.array([0.9, 0.6, 0.4])).astype(np.uint8)
    assert not is_brown(image)
    assert stains.shown(image, "dab") is not image


def test_a_result_has_the_colours_of_the_image(segmenter, brown):
    result = segmenter.analyze(brown)
    np.testing.assert_array_equal(result.image, brown)
    np.testing.assert_array_equal(result.labels, segmenter.segment(brown, "labels"))


def test_it_is_the_same_in_one_call_in_map_and_at_a_scale(segmenter, brown):
    expected = segmenter.segment(stains.shown(brown, "dab"), "labels", stain="he", scale=1)
    options = {"stain": "dab", "scale": 1}
    np.testing.assert_array_equal(nucleiseg.segment(brown, "labels", **options), expected)
    (other,) = segmenter.map([brown], "labels", **options)
    np.testing.assert_array_equal(other, expected)


def test_the_scale_is_that_of_the_colours_that_the_model_sees(segmenter, brown):
    blue = stains.shown(brown, "dab")
    assert segmenter.find_scale(brown) == segmenter.find_scale(blue)


@pytest.mark.parametrize("stain", ["DAB", "", None, 1])
def test_a_stain_that_there_is_not(segmenter, stain):
    image = np.zeros((40, 40, 3), np.uint8)
    for call in (
        segmenter.segment,
        segmenter.analyze,
        lambda x, stain: segmenter.map([x], stain=stain),
    ):
        with pytest.raises(ValueError, match=r"stain: got .*; accepted are 'auto', 'he', 'dab'"):
            call(image, stain=stain)


def test_merged_fluorescence_is_still_refused(segmenter):
    image = np.zeros((128, 128, 3), np.uint8)
    image[10:50, 10:50, 0] = 200
    image[70:110, 70:110, 2] = 200
    assert stains.are_stains(image)
    with pytest.raises(ValueError, match="merged fluorescence"):
        segmenter.segment(image, stain="dab")
