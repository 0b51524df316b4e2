"""The parameters of decoding, and the choice of nuclei, against what NumPy makes of the maps."""

import math
from dataclasses import replace

import numpy as np
import pytest

import nucleiseg
from nucleiseg import data
from nucleiseg._native import cpu
from nucleiseg.parameters import Decoding

NAMES = ("stained", "fluorescence")


@pytest.fixture(scope="module")
def segmenter():
    return nucleiseg.Segmenter("nuclei-fast", device="cpu")


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def plain(segmenter, name):
    """What is found without any parameter, at the scale that is found: 1 and 0.47."""
    return segmenter.analyze(data.example(name))


def numbered(labels, kept):
    """Labels of the nuclei for which ``kept`` is true, in their order from 1."""
    found = np.zeros_like(labels)
    for number, label in enumerate(np.flatnonzero(kept) + 1, 1):
        found[labels == label] = number
    return found


def areas_of(labels):
    return np.bincount(labels.ravel())[1:]


def test_the_models_own_values_change_nothing(segmenter, name, plain):
    model = segmenter.model
    found = segmenter.analyze(
        data.example(name),
        nucleus_threshold=model.nucleus_threshold / 255,
        exclude_border=False,
    )
    np.testing.assert_array_equal(found.labels, plain.labels)
    np.testing.assert_array_equal(found.mask, plain.mask)


def test_a_separation_takes_the_place_of_the_models_decision(segmenter, name, plain):
    assert segmenter.model.merging
    found = segmenter.analyze(data.example(name), separation=segmenter.model.prominence / 255)
    np.testing.assert_array_equal(found.mask, plain.mask)
    assert (found.labels != plain.labels).any()
    assert 0.9 < found.labels.max() / plain.labels.max() < 1.1


@pytest.mark.parametrize("threshold", [0, 0.2, 0.5, 0.9, 1])
def test_a_pixel_is_nucleus_from_the_threshold_on(segmenter, name, threshold):
    image = data.example(name)
    maps = segmenter.segment(image, "maps", scale=1)
    mask = segmenter.segment(image, scale=1, nucleus_threshold=threshold)
    np.testing.assert_array_equal(mask, maps[..., 0] / 255 >= threshold - 1e-9)


def test_the_least_probability_keeps_its_place_between_the_threshold_and_one(segmenter):
    model = replace(segmenter.model, nucleus_threshold=155, min_probability=195)
    for threshold, least in ((0, 102), (155, 195), (205, 225), (255, 255)):
        changed = Decoding(nucleus_threshold=threshold / 255).model(model)
        assert (changed.nucleus_threshold, changed.min_probability) == (threshold, least)
    without = Decoding(nucleus_threshold=0.2).model(replace(model, min_probability=0))
    assert without.min_probability == 0


def test_a_lower_threshold_gives_larger_nuclei(segmenter, name):
    areas = [
        int(segmenter.segment(data.example(name), nucleus_threshold=threshold).sum())
        for threshold in (0.2, 0.5, 0.8)
    ]
    assert areas[0] > 1.05 * areas[1] > 1.1 * areas[2]


def test_separation_is_the_prominence_of_the_watershed(segmenter, name):
    image, counts = data.example(name), []
    maps = segmenter.segment(image, "maps", scale=1)
    threshold, marker, _, area, peak, probability, _ = segmenter.model.label_rule()
    for separation in (0, 0.02, 0.1, 0.3, 1):
        expected, count = cpu.label(
            maps, threshold, marker, round(255 * separation), area, peak, probability
        )
        found = segmenter.segment(image, "labels", scale=1, separation=separation)
        np.testing.assert_array_equal(found, expected)
        counts.append(count)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


CHOICES = {
    "min_area": ({"min_area": 150}, lambda areas: areas >= 150),
    "min_diameter": ({"min_diameter": 13.5}, lambda areas: areas >= math.pi * 13.5**2 / 4),
    "max_diameter": ({"max_diameter": 14}, lambda areas: areas <= math.pi * 14**2 / 4),
    "both diameters": (
        {"min_diameter": 10, "max_diameter": 20},
        lambda areas: (areas >= 25 * math.pi) & (areas <= 100 * math.pi),
    ),
    "none is left": ({"min_area": 10**6}, lambda areas: areas < 0),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_chosen_nuclei_are_left_as_they_were(segmenter, name, plain, choice):
    parameters, rule = CHOICES[choice]
    kept = rule(areas_of(plain.labels))
    assert not kept.all()
    found = segmenter.analyze(data.example(name), **parameters)
    np.testing.assert_array_equal(found.labels, numbered(plain.labels, kept))
    np.testing.assert_array_equal(found.mask, found.labels > 0)
    assert len(found) == kept.sum()
    np.testing.assert_array_equal(found.maps, plain.maps)


def test_nuclei_at_the_border_are_dropped(segmenter, name, plain):
    cut = plain.table["border"]
    assert 0 < cut.sum() < len(cut)
    found = segmenter.analyze(data.example(name), exclude_border=True)
    np.testing.assert_array_equal(found.labels, numbered(plain.labels, ~cut))
    np.testing.assert_array_equal(found.mask, found.labels > 0)


def test_an_area_below_the_models_keeps_what_the_model_drops(segmenter):
    """One of 20 pixels at another size than the model's, too."""
    image = data.example("fluorescence")
    found = {
        least: segmenter.segment(image, "labels", scale=2, min_area=least)
        for least in (0, 20, 4 * segmenter.model.min_area)
    }
    maps = segmenter.segment(image, "maps", scale=2)
    threshold, marker, prominence, _, *others = segmenter.model.label_rule(2)
    every, _ = cpu.label(maps, threshold, marker, prominence, 0, *others)
    np.testing.assert_array_equal(found[0], every)
    np.testing.assert_array_equal(found[20], numbered(every, areas_of(every) >= 20))
    np.testing.assert_array_equal(
        found[4 * segmenter.model.min_area], segmenter.segment(image, "labels", scale=2)
    )
    assert found[20].max() > found[4 * segmenter.model.min_area].max()


PARAMETERS = {
    "nucleus_threshold": 0.4,
    "separation": 0.02,
    "min_area": 60,
    "min_diameter": 9.0,
    "max_diameter": 30,
    "exclude_border": True,
}


def test_every_call_takes_the_same_parameters(segmenter, name):
    image = data.example(name)
    result = segmenter.analyze(image, **PARAMETERS)
    assert 3 <= len(result) < len(segmenter.analyze(image))
    expected = {"mask": result.mask, "labels": result.labels, "maps": result.maps}
    for output, array in expected.items():
        np.testing.assert_array_equal(segmenter.segment(image, output, **PARAMETERS), array)
        for found in segmenter.map([image] * 3, output, **PARAMETERS):
            np.testing.assert_array_equal(found, array)


def test_the_function_takes_them_too(name):
    image = data.example(name)
    found = nucleiseg.segment(image, "labels", **PARAMETERS)
    expected = nucleiseg.Segmenter().segment(image, "labels", **PARAMETERS)
    np.testing.assert_array_equal(found, expected)
    assert found.max() < nucleiseg.segment(image, "labels").max()


def test_maps_are_decoded_again_without_the_network(segmenter):
    image = data.example("stained")
    maps = segmenter.segment(image, "maps", scale=1)
    for output in ("mask", "labels"):
        np.testing.assert_array_equal(
            segmenter.decode(maps, output, **PARAMETERS),
            segmenter.segment(image, output, scale=1, **PARAMETERS),
        )


def test_the_scale_does_not_depend_on_the_parameters(segmenter, name, plain):
    for parameters in (PARAMETERS, {"nucleus_threshold": 0.95}, {"min_diameter": 25}):
        assert segmenter.analyze(data.example(name), **parameters).scale == plain.scale


def test_many_ways_of_decoding_do_not_pile_up(segmenter):
    maps = segmenter.segment(data.example("stained"), "maps", scale=1)
    steps = [step / 100 for step in range(40)]
    first = [segmenter.decode(maps, "labels", separation=step).max() for step in steps]
    assert [segmenter.decode(maps, "labels", separation=step).max() for step in steps] == first
    assert len(segmenter._decoders) <= 8


WRONG = {
    "threshold above 1": ({"nucleus_threshold": 1.5}, "nucleus_threshold: got 1.5; accepted are"),
    "threshold of a byte": ({"nucleus_threshold": 144}, "nucleus_threshold: got 144; accepted"),
    "threshold as text": ({"nucleus_threshold": "low"}, "nucleus_threshold: got 'low'; accepted"),
    "threshold as truth": ({"nucleus_threshold": True}, "nucleus_threshold: got True; accepted"),
    "separation below 0": ({"separation": -0.1}, "separation: got -0.1; accepted are numbers from"),
    "separation unknown": ({"separation": math.nan}, "separation: got nan; accepted are numbers"),
    "area below 0": ({"min_area": -1}, "min_area: got -1; accepted are numbers of pixels from 0"),
    "endless diameter": ({"max_diameter": math.inf}, "max_diameter: got inf; accepted are numbers"),
    "diameters": (
        {"min_diameter": 20, "max_diameter": 10},
        "min_diameter: got 20, above the max_diameter of 10; accepted are numbers up to it",
    ),
    "border": ({"exclude_border": "no"}, "exclude_border: got 'no'; accepted are True and False"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_bad_value_is_named(segmenter, wrong):
    parameters, message = WRONG[wrong]
    image, maps = np.zeros((8, 8), np.uint8), np.zeros((8, 8, 2), np.uint8)
    calls = (
        lambda: segmenter.segment(image, **parameters),
        lambda: segmenter.analyze(image, **parameters),
        lambda: segmenter.map([image], **parameters),  # before any image is taken
        lambda: segmenter.decode(maps, **parameters),
        lambda: nucleiseg.segment(image, **parameters),
    )
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_parameter_that_there_is_not_is_a_type_error(segmenter):
    with pytest.raises(TypeError, match="prominence"):
        segmenter.segment(np.zeros((8, 8), np.uint8), prominence=20)


def test_what_is_given_is_what_json_can_hold():
    assert Decoding().given == {}
    assert Decoding(min_area=np.int64(3), exclude_border=np.bool_(True)).given == {
        "min_area": 3.0,
        "exclude_border": True,
    }
