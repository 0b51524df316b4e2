"""The scale of an image: found, requested, and resized to."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from nucleiseg import Model, Segmenter, autoscale, images, resizing
from nucleiseg._native import cpu
from nucleiseg.autoscale import SETTINGS, Probe
from training import metrics

DATA = Path(__file__).parents[1] / "data"
FACTORS = [1 / 3, 1 / 2, 2, 3, 4]


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("nuclei-fast")


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
def test_nuclei_that_are_hard_to_see_are_measured(segmenter, name, noise, factor, least):
    image, truth = example(name)
    noisy = image + np.random.default_rng(0).normal(0, noise, image.shape)
    seen = magnified(np.clip(noisy, 0, 255).astype(np.uint8), factor)
    larger = cv2.resize(truth, seen.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    assert ap50(larger, segmenter.segment(seen, "labels")) > least


def probe(count: int, peak: float, diameter: float = 29, confident: int = 0) -> Probe:
    """Return a probe of equal nuclei in a field of 640 x 640 pixels."""
    sizes = np.full(count, float(diameter))
    return Probe(sizes, np.full(count, peak), sizes[:confident], 640 * 640)


def test_a_probe_is_doubtful_if_little_was_detected_or_little_with_confidence():
    assert probe(40, 0.7, confident=9).is_doubtful
    assert not probe(40, 0.7, confident=10).is_doubtful
    few = SETTINGS.least_nuclei - 1
    assert probe(few, 0.9, confident=few).is_doubtful
    assert probe(0, 0).is_doubtful


def test_evidence_is_the_area_of_nuclei_of_a_good_size_with_high_peaks(segmenter):
    model = segmenter.model
    area = 40 * np.pi * 14.5**2 / 640**2
    assert probe(40, 1).evidence(model) == pytest.approx(area)
    assert probe(40, 1).cover == pytest.approx(area)
    assert probe(40, 0.5).evidence(model) == pytest.approx(area / 8)
    for diameter in (11, 46):
        assert probe(40, 1, diameter).evidence(model) == 0
    assert probe(40, 1, confident=10).confident_share == pytest.approx(0.25)
    assert probe(0, 0).confident_share == 0


def scale_of(model: Model, *seen: Probe, measured: tuple[float, ...] = ()) -> float:
    """Return the scale that is found where these are seen and measured, one after the other."""
    probes, diameters = iter(seen), iter(measured)
    found = autoscale.find(lambda _: next(probes), lambda _: next(diameters), model)
    assert not [*probes, *diameters]
    return found


def test_confident_nuclei_of_a_good_size_are_taken_as_they_are(segmenter):
    for diameter in segmenter.model.good_diameters:
        assert scale_of(segmenter.model, probe(40, 0.7, diameter, confident=40)) == 1


def test_confident_nuclei_that_are_too_large_are_shrunk(segmenter):
    large, good = probe(40, 0.7, 60, confident=40), probe(40, 0.7, 22, confident=40)
    still = Probe(good.diameters, good.peaks, large.diameters, good.pixels)
    less = probe(39, 0.7, 22, confident=39)
    assert scale_of(segmenter.model, large, good) == 2
    assert scale_of(segmenter.model, large, still, good) == 4
    assert scale_of(segmenter.model, large, still, less) == 2


@pytest.mark.parametrize(
    "first", [probe(0, 0), probe(40, 0.7, 60), probe(40, 0.7, 15, confident=40)]
)
def test_all_others_are_measured_until_the_diameter_is_the_models(segmenter, first):
    model = segmenter.model
    low, usual = model.good_diameters[0], model.diameter
    aim = SETTINGS.magnified * usual

    def found(*measured: float) -> float:
        return scale_of(model, first, measured=measured)

    assert found(0) == 1
    assert found(low) == 1
    assert found(2 * usual, usual) == pytest.approx(2)
    assert found(2 * usual, 0) == pytest.approx(2)
    assert found(aim / 2, 1.2 * aim) == pytest.approx(0.6)  # as that is close
    assert found(aim / 2, 1.4 * aim, low) == 1
    assert found(*[2 * usual] * SETTINGS.measurements) == pytest.approx(16)
    swinging = [0.4, 0.6, 0.45, 0.58]  # times the aim, each measured at the scale of the one before
    measured = [aim * now / before for before, now in pairwise([1, *swinging])]
    assert found(*measured) == pytest.approx(np.prod(swinging) ** (1 / 4))
    assert found(aim / 9, aim) == SETTINGS.smallest_found


def test_the_measured_diameter_is_the_mean_over_pixels_of_nuclei():
    maps = np.zeros((20, 10, 2), np.uint8)
    maps[:, :, 1] = 7  # which does not count where there is no nucleus
    maps[:10, :5] = 255, 0
    assert autoscale.measured_diameter([maps], (4, 64)) == 4
    other = maps.copy()
    other[:10, :5] = 128, 255
    assert autoscale.measured_diameter([maps, other], (4, 64)) == pytest.approx(34)
    other[0, :5] = 127, 255
    assert autoscale.measured_diameter([other], (4, 64)) == 0  # of too few pixels


def test_an_image_that_was_shrunk_is_shrunk_further_while_the_evidence_remains(segmenter):
    def found(*further: Probe) -> float:
        """Return the scale of nuclei seen at 1, 2 and then in steps of `resizing.TOLERANCE`."""
        large = probe(40, 0.7, 60, confident=40), probe(40, 0.7, 36)
        return scale_of(segmenter.model, *large, *further)

    smaller = 36 / resizing.TOLERANCE
    as_much = 40 * resizing.TOLERANCE**2
    kept = as_much * SETTINGS.kept_shrinking
    few = probe(40, 0.7, smaller)
    assert found(few) == 2
    assert found(probe(0, 0)) == 2
    assert found(probe(round(kept - 2), 0.7, smaller)) == 2
    assert found(probe(round(kept + 1), 0.7, smaller), few) == 2.5
    assert found(probe(round(as_much), 0.7, smaller), probe(200, 0.7, 22)) == 3.125  # small enough


@pytest.mark.parametrize("name", ["fluorescence_crowded.png", "purple_on_violet.png"])
def test_one_decoding_selects_what_watersheds_of_both_prominences_would(segmenter, name):
    maps = segmenter.segment(magnified(example(name)[0], 2), "maps", scale=1)
    model = replace(segmenter.model, merging=None)
    threshold, marker, prominence, min_area, *_ = model.label_rule(1 / 2)
    found = autoscale.decode([maps], model, threads=2)
    expected = [
        cpu.label(
            maps, threshold, marker, prominence, min_area, round(255 * SETTINGS.detected_peak)
        )[0],
        cpu.label(
            maps,
            threshold,
            marker,
            SETTINGS.confident_prominence,
            min_area,
            round(255 * SETTINGS.confident_peak),
        )[0],
    ]
    assert 10 < expected[1].max() < expected[0].max()
    for diameters, labels in zip((found.diameters, found.confident), expected, strict=True):
        areas = np.bincount(labels.ravel())[1:]
        np.testing.assert_allclose(np.sort(diameters), np.sort(2 * np.sqrt(areas / np.pi)))
    assert found.pixels == maps.shape[0] * maps.shape[1]


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
    assert segmenter.find_scale(image) == pytest.approx(SETTINGS.smallest_found)
    assert segmenter.segment(image, "labels").max() == 81


@pytest.mark.parametrize("factor", [0.25, 0.3])
def test_a_small_image_of_small_nuclei_is_magnified(segmenter, factor):
    image = magnified(example("fluorescence_small.png")[0], factor)
    assert segmenter.find_scale(image) == pytest.approx(SETTINGS.smallest_found)


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
    assert resizing.requested("auto", segmenter.model.mpp * 1.2, None, segmenter.model) == 1
    assert resizing.requested(1.2, None, None, segmenter.model) == 1.2


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


def test_a_large_image_is_probed_in_few_windows(segmenter, monkeypatch):
    image, _ = example("fluorescence_wide.png")
    wide = np.tile(magnified(image, 3), (3, 3))
    monkeypatch.setattr("nucleiseg.driver.WHOLE", 1_000_000)
    windows = autoscale.windows_of_image(wide, 1.0)
    assert sum(window.size for window in windows) <= SETTINGS.windows * SETTINGS.window**2
    whole, few = segmenter.find_scale(magnified(image, 3)), segmenter.find_scale(wide)
    assert 0.6 < few / whole < 1.6
    assert segmenter.segment(wide).shape == wide.shape


def test_an_empty_image_keeps_its_scale(segmenter):
    assert segmenter.find_scale(np.zeros((100, 100), np.uint8)) == 1
