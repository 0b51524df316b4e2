"""The size of nuclei: found, said by the user, and resized to."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from nucleiseg import Segmenter, images, scaling
from training import metrics

DATA = Path(__file__).parents[1] / "data"
FACTORS = [1 / 3, 1 / 2, 2, 3, 4]


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter()


def example(name: str) -> tuple[np.ndarray, np.ndarray]:
    return images.read(DATA / "images" / name), images.read(DATA / "labels" / name)


def magnified(image: np.ndarray, factor: float) -> np.ndarray:
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=method)


def ap50(truth: np.ndarray, found: np.ndarray) -> float:
    return float(metrics.score(truth.astype(np.int32), found).ap[0])


@pytest.mark.parametrize("scale", [0.5, 2])
def test_the_order_of_bytes_does_not_matter(segmenter, scale):
    image = example("fluorescence_small.png")[0].astype("<u2")
    expected = segmenter.segment(image, "labels", scale=scale)
    assert expected.any()
    found = segmenter.segment(image.astype(">u2"), "labels", scale=scale)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", ["fluorescence_wide.png", "purple_on_violet.png"])
def test_resizing_an_image_costs_little_where_the_size_is_found(segmenter, name, factor):
    image, truth = example(name)
    seen = magnified(image, factor)
    larger = cv2.resize(truth, seen.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    before = ap50(truth, segmenter.segment(image, "labels"))
    after = ap50(larger, segmenter.segment(seen, "labels"))
    # These images have 29 and 67 nuclei: four of 29 split or missed cost 0.25.
    assert after > before - 0.3
    if factor == 4:
        assert after > ap50(larger, segmenter.segment(seen, "labels", scale=1)) + 0.1


@pytest.mark.parametrize(
    ("name", "noise", "factor", "least"),
    [
        # At first the smallest look like few larger nuclei, as several run into one...
        ("fluorescence_crowded.png", 0, 0.5, 0.6),
        # ...and noise that was magnified looks like many nuclei.
        ("fluorescence_crowded.png", 10, 5, 0.55),
        ("fluorescence_small.png", 10, 8, 0.75),
        ("purple_on_white.png", 50, 6, 0.4),
    ],
)
def test_a_doubtful_look_leads_to_other_scales(segmenter, name, noise, factor, least):
    image, truth = example(name)
    noisy = image + np.random.default_rng(0).normal(0, noise, image.shape)
    seen = magnified(np.clip(noisy, 0, 255).astype(np.uint8), factor)
    larger = cv2.resize(truth, seen.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    assert ap50(larger, segmenter.segment(seen, "labels")) > least


def look(small: int, sure: int) -> scaling.Seen:
    """Give a look at nuclei of 20 pixels."""
    return scaling.Seen(np.full(small, 20.0), np.full(sure, 20.0), 320 * 320)


def test_a_look_is_doubtful_if_much_was_seen_and_hardly_any_surely():
    assert look(40, 4).is_doubtful
    assert not look(40, 20).is_doubtful
    assert not look(0, 0).is_doubtful
    assert not look(scaling.FEWEST - 1, 0).is_doubtful
    assert look(40, 20).cover == pytest.approx(20 * np.pi * 100 / 320**2)
    assert look(40, 20).certainty == pytest.approx(0.5)
    assert look(0, 0).certainty == 0


def test_another_scale_is_taken_where_more_is_sure(segmenter):
    def taken(elsewhere: dict[float, scaling.Seen]) -> float:
        return scaling.surest(1.0, look(40, 4), elsewhere, segmenter.model)

    assert taken({1 / 3: look(40, 30), 4.0: look(40, 20)}) == 1 / 3
    assert taken({1 / 3: look(40, 20), 4.0: look(40, 30)}) == 4
    assert taken({4.0: look(40, 7)}) == 1  # no more than by chance
    assert taken({1 / 3: look(79, 20)}) == 1  # unsure as well
    assert taken({1 / 3: look(79, 40), 4.0: look(100, 20)}) == 1 / 3
    assert taken({1 / 3: look(81, 40)}) == 1  # texture
    assert taken({4.0: look(81, 40)}) == 4
    assert taken({2.0: look(scaling.MANY - 1, scaling.MANY - 1)}) == 1  # too few to say
    assert taken({}) == 1


def test_scales_that_are_tried_are_far_from_the_one_in_doubt():
    assert scaling.others(1.0) == [1 / 3, 2, 4, 8]
    assert scaling.others(1 / 3) == [2, 4, 8]
    assert scaling.others(3.0) == [1 / 3, 8]


def plate(diameter: float) -> np.ndarray:
    """Draw 81 bright discs."""
    fine = np.zeros((1024, 1024), np.float32)
    for row in range(80, 900, 96):
        for column in range(80, 900, 96):
            cv2.circle(fine, (column, row), round(2 * diameter), 180, -1)
    fine = cv2.resize(cv2.GaussianBlur(fine, (0, 0), 2), (256, 256), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).normal(20, 2, fine.shape)
    return np.clip(fine + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("diameter", [4, 4.5, 6])
def test_nuclei_below_the_models_least_area_are_magnified_and_found(segmenter, diameter):
    image = plate(diameter)
    assert segmenter.find_scale(image) == pytest.approx(scaling.SMALLEST_FOUND)
    assert segmenter.segment(image, "labels").max() == 81


@pytest.mark.parametrize("factor", [0.25, 0.3])
def test_a_small_image_of_small_nuclei_is_magnified(segmenter, factor):
    image = magnified(example("fluorescence_small.png")[0], factor)
    assert segmenter.find_scale(image) == pytest.approx(scaling.SMALLEST_FOUND)


def test_few_small_nuclei_are_magnified_in_a_small_image_alone(segmenter):
    few = np.full(2, 8.0)
    assert scaling.found(1.0, few, 90 * 90, segmenter.model) < 1
    assert scaling.found(1.0, few, 256 * 256, segmenter.model) == 1
    many = np.full(scaling.FEWEST, 8.0)
    assert scaling.found(1.0, many, 256 * 256, segmenter.model) < 1
    assert scaling.found(1.0, many, 4000 * 4000, segmenter.model) < 1


def test_an_image_in_the_good_range_is_taken_as_it_is(segmenter):
    image, _ = example("fluorescence_crowded.png")
    assert segmenter.find_scale(image) == 1
    for output in ("mask", "labels", "maps"):
        np.testing.assert_array_equal(
            segmenter.segment(image, output), segmenter.segment(image, output, scale=1)
        )


@pytest.mark.parametrize("scale", [0.5, 0.77, 1.6, 3, 7.3])
def test_results_have_the_images_own_size(segmenter, scale):
    image, _ = example("purple_on_violet.png")
    image = image[:203, :177]
    found = segmenter.analyze(image, scale=scale)
    mask, labels, maps = found.mask, found.labels, found.maps
    assert (mask.shape, mask.dtype) == (image.shape[:2], np.bool_)
    assert (labels.shape, labels.dtype) == (image.shape[:2], np.int32)
    assert (maps.shape, maps.dtype) == ((*image.shape[:2], 2), np.uint8)
    np.testing.assert_array_equal(mask, segmenter.segment(image, scale=scale))
    np.testing.assert_array_equal(labels, segmenter.segment(image, "labels", scale=scale))
    np.testing.assert_array_equal(maps, segmenter.segment(image, "maps", scale=scale))
    assert not (labels[~mask]).any()
    ids, first = np.unique(labels[labels > 0], return_index=True)
    assert ids.tolist() == list(range(1, int(labels.max()) + 1))
    assert (np.diff(first) > 0).all()


def test_micrometres_and_diameters_say_what_scale_says(segmenter):
    image, _ = example("fluorescence_wide.png")
    model = segmenter.model
    expected = segmenter.segment(image, "labels", scale=2)
    for size in ({"mpp": model.mpp / 2}, {"diameter": 2 * model.diameter}):
        np.testing.assert_array_equal(segmenter.segment(image, "labels", **size), expected)


def test_nearly_right_sizes_are_taken_as_right(segmenter):
    assert scaling.requested("auto", segmenter.model.mpp * 1.2, None, segmenter.model) == 1
    assert scaling.requested(1.2, None, None, segmenter.model) == 1.2


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"scale": "large"}, "scale: got 'large'; accepted are 'auto' and numbers above 0"),
        ({"scale": 0}, "scale: got 0; accepted are numbers above 0"),
        ({"scale": 100}, "scale: got one that needs a scale of 100; accepted are scales of"),
        ({"mpp": -1}, "mpp: got -1; accepted are numbers above 0"),
        ({"mpp": 1e-6}, "mpp: got one that needs a scale of 3e"),
        ({"diameter": float("nan")}, "diameter: got nan; accepted"),
        ({"diameter": "big"}, "diameter: got 'big'; accepted"),
        ({"mpp": 0.5, "diameter": 20}, "mpp and diameter: got both; accepted is one"),
        ({"mpp": 0.5, "scale": 2}, "mpp and scale: got both"),
    ],
)
def test_a_wrong_size_is_refused_by_name(segmenter, size, message):
    with pytest.raises(ValueError, match=message):
        segmenter.segment(np.zeros((8, 8), np.uint8), **size)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("depth", [(), (1,), (3,), (4,)])
def test_any_accepted_type_can_be_resized(segmenter, dtype, depth):
    image = np.random.default_rng(0).integers(0, 256, (90, 70, *depth)).astype(dtype)
    for scale in (0.5, 2.3):
        assert segmenter.segment(image, scale=scale).shape == (90, 70)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (3, 2)])
def test_tiny_images_can_be_shrunk(segmenter, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert segmenter.segment(image, "labels", scale=9).shape == shape


def test_a_large_image_is_looked_at_in_few_windows(segmenter, monkeypatch):
    image, _ = example("fluorescence_wide.png")
    wide = np.tile(magnified(image, 3), (3, 3))
    monkeypatch.setattr("nucleiseg.driver.WHOLE", 1_000_000)
    parts = scaling.parts(wide, 1.0)
    assert sum(part.size for part in parts) <= scaling.WINDOWS * scaling.WINDOW**2
    whole, few = segmenter.find_scale(magnified(image, 3)), segmenter.find_scale(wide)
    assert 0.6 < few / whole < 1.6
    assert segmenter.segment(wide).shape == wide.shape


def test_an_empty_image_keeps_its_scale(segmenter):
    assert segmenter.find_scale(np.zeros((100, 100), np.uint8)) == 1
