"""Brown nuclei are found as blue ones are, and images of other stains are left alone."""

from pathlib import Path

import numpy as np
import pytest
import skimage.color
import skimage.data

import nucleiseg
from nucleiseg import data, images, stains

IMAGES = Path(__file__).parents[1] / "data" / "images"
COLOURED = ("hematoxylin_eosin", "purple_on_violet", "purple_on_white")

HAEMATOXYLIN, DAB = np.array([0.65, 0.70, 0.29]), np.array([0.27, 0.57, 0.78])
"""Optical density of the stains, of Ruifrok and Johnston."""


def unit(stain):
    return stain / np.linalg.norm(stain)


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


def test_blue_nuclei_are_found_among_brown_membranes(segmenter):
    image = skimage.data.immunohistochemistry()  # of some 350 nuclei
    found = {one: segmenter.segment(image, "labels", stain=one) for one in stains.STAINS}
    assert 250 < found["hematoxylin"].max() < 450
    assert all(found[one].max() < 50 for one in ("auto", "he", "dab"))
    haematoxylin = skimage.color.rgb2hed(image)[..., 0]
    inside = found["hematoxylin"] > 0
    assert haematoxylin[inside].mean() > 2 * haematoxylin[~inside].mean()


def test_haematoxylin_is_unmixed():
    amounts = np.random.default_rng(0).uniform(0, 1.5, (2, 60, 70, 1))
    both = amounts[0] * unit(HAEMATOXYLIN) + amounts[1] * unit(DAB)
    image = np.clip(256 * np.exp(-both) - 0.5, 0, 255).astype(np.uint8)
    expected = 256 * np.exp(-amounts[0] * unit(HAEMATOXYLIN)) - 1
    difference = np.abs(stains.shown(image, "hematoxylin") - expected)
    assert np.percentile(difference, 95) < 6  # what is rounded of dark colours counts for more
    assert np.median(difference) < 1.5


def test_the_tables_do_not_depend_on_the_last_bit_of_a_logarithm():
    unmixed = unit(HAEMATOXYLIN) - unit(HAEMATOXYLIN) @ unit(DAB) * unit(DAB)
    unmixed /= unmixed @ unit(HAEMATOXYLIN)
    parts = stains.STEPS * unmixed[:, None] * -np.log(np.arange(1, 257) / 256)
    steps = np.arange(stains.DENSEST)[:, None] / stains.STEPS
    colours = 256 * np.exp(-steps * unit(HAEMATOXYLIN)) - 1
    for exact, table in zip((parts, colours), stains._unmixing(), strict=True):
        assert np.abs(np.abs(exact - np.floor(exact)) - 0.5).min() > 1e-6
        np.testing.assert_array_equal(np.rint(exact).clip(-32768 if exact is parts else 0), table)


def test_the_darkest_and_the_brightest_colours_have_a_haematoxylin():
    corners = np.array(np.meshgrid(*[[0, 255]] * 3)).reshape(3, 1, -1).T.astype(np.uint8)
    found = stains.shown(corners, "hematoxylin")
    assert found.shape == corners.shape
    assert (found[(corners == 255).all(-1)] == 255).all()
    assert found[(corners == [0, 0, 255]).all(-1)].max() < 30
    assert (found[(corners == [255, 255, 0]).all(-1)] == 255).all()


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_haematoxylin_is_that_of_bytes(segmenter, brown, dtype):
    with pytest.raises(ValueError, match=f"stain: got 'hematoxylin' for {dtype}; it accepts"):
        segmenter.segment(brown.astype(dtype), stain="hematoxylin")


def test_grey_images_have_no_stain():
    grey = np.random.default_rng(0).integers(0, 255, (80, 90), dtype=np.uint8)
    for image in (grey, grey[..., None], grey.astype(np.float32)):
        for stain in stains.STAINS:
            assert stains.shown(image, stain) is image
    assert not is_brown(np.dstack([grey] * 3))


@pytest.mark.parametrize("value", [0, 1, 200, 255])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (64, 64), (300, 2)])
def test_an_even_image_is_not_brown(shape, value):
    assert not is_brown(np.full((*shape, 3), value, np.uint8))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_that_is_not_finite_is_refused_as_ever(segmenter, brown, value):
    image = brown.astype(np.float32)
    image[::2, ::2] = value
    for stain in ("auto", "he", "dab"):
        with pytest.raises(ValueError, match="not finite"):
            segmenter.segment(image, stain=stain)


def test_brown_on_a_dark_background_is_fluorescence():
    grey = images.read(IMAGES / "fluorescence_small.png")
    image = (grey[..., None] * np.array([0.9, 0.6, 0.4])).astype(np.uint8)
    assert not is_brown(image)
    assert stains.shown(image, "dab") is not image
    assert stains.shown(image, "hematoxylin") is image


def test_a_result_has_the_colours_of_the_image(segmenter, brown):
    result = segmenter.analyze(brown)
    np.testing.assert_array_equal(result.image, brown)
    np.testing.assert_array_equal(result.labels, segmenter.segment(brown, "labels"))


@pytest.mark.parametrize("stain", ["dab", "hematoxylin"])
def test_it_is_the_same_in_one_call_in_map_and_at_a_scale(segmenter, brown, stain):
    expected = segmenter.segment(stains.shown(brown, stain), "labels", stain="he", scale=1)
    options = {"stain": stain, "scale": 1}
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
        with pytest.raises(
            ValueError, match=r"stain: got .*; accepted are 'auto', 'he', 'dab', 'hem"
        ):
            call(image, stain=stain)


def test_merged_fluorescence_is_still_refused(segmenter):
    image = np.zeros((128, 128, 3), np.uint8)
    image[10:50, 10:50, 0] = 200
    image[70:110, 70:110, 2] = 200
    assert stains.are_stains(image)
    with pytest.raises(ValueError, match="merged fluorescence"):
        segmenter.segment(image, stain="dab")
