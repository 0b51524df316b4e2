"""Crops that data sets lack: other stains of the same tissue, empty fields, crowds."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from training import augment, data, scenes, stains
from training.targets import make_targets

DATA = Path(__file__).parents[1] / "data"

SIDE = 128


@pytest.fixture(scope="module")
def samples():
    return {Path(sample.name).name: sample for sample in data.load([DATA])}


def discs(*circles: tuple[int, int, int], light: int = 200) -> scenes.Crop:
    """Bright discs (x, y, radius) on black, and their maps."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    for number, (x, y, radius) in enumerate(circles, start=1):
        disc = cv2.circle(np.zeros(labels.shape, np.uint8), (x, y), radius, 1, -1)
        labels[disc > 0] = number
    image = np.where(labels > 0, light, 0).astype(np.uint8)
    return np.repeat(image[..., None], 3, -1), np.dstack(make_targets(labels))


def test_positive_nuclei_turn_brown_where_they_are(samples):
    sample = samples["hematoxylin_eosin"]
    nucleus = sample.targets().nucleus
    inside = nucleus > 0
    for seed in range(10):
        brown = stains.browned(sample.image, nucleus, np.random.default_rng(seed)).astype(int)
        redness = brown[..., 0] - brown[..., 2]
        assert redness[inside].mean() > redness[~inside].mean() + 5
        # Nuclei stay darker than what is around them.
        assert brown[inside].mean() < brown[~inside].mean() - 5


def test_a_grey_camera_sees_dark_nuclei(samples):
    sample = samples["hematoxylin_eosin"]
    inside = sample.labels > 0
    for seed in range(10):
        grey = stains.greyed(sample.image, np.random.default_rng(seed))
        assert (grey == grey[..., :1]).all()
        assert grey[inside].mean() < grey[~inside].mean() - 10


def test_other_densities_keep_a_white_field_light(samples):
    white = np.full((8, 8, 3), 255, np.uint8)
    changed = [stains.jittered(white, np.random.default_rng(seed)) for seed in range(20)]
    assert min(one.min() for one in changed) > 200
    assert len({one.tobytes() for one in changed}) > 10


def test_an_empty_field_has_no_nuclei_and_looks_different_each_time():
    rng = np.random.default_rng(0)
    fields = [scenes.blank(rng, SIDE) for _ in range(40)]
    assert not any(maps.any() for _, maps in fields)
    spreads = [image.std(axis=(0, 1)).max() for image, _ in fields]
    assert min(spreads) == 0
    assert max(spreads) > 20


def test_crossing_nuclei_are_parted_along_the_line_between_them():
    first, second = discs((50, 64, 20)), discs((80, 64, 20))
    image, maps = scenes.crowded(first, second, np.random.default_rng(0))
    row = maps[64, :, 1].astype(int)
    assert maps[64, 31:99, 0].min() == 255
    assert row[65] < 10  # between them
    assert row[50] > 230  # in the middle of each
    assert row[80] > 230
    assert maps[64, 65, 2] >= 0.6 * 255
    # Light adds up where they cross.
    assert image[64, 65, 0] > image[64, 50, 0]


def test_fields_that_would_be_a_heap_are_left_alone():
    first, second = discs((50, 64, 20)), discs((54, 64, 20))
    image, maps = scenes.crowded(first, second, np.random.default_rng(0))
    np.testing.assert_array_equal(image, first[0])
    np.testing.assert_array_equal(maps, first[1])


def test_only_fluorescence_is_crowded_and_only_tissue_turns_brown(samples):
    rng = np.random.default_rng(0)
    styles = np.empty((0, 2, 3), np.float32)
    rare = dict.fromkeys(("restyle", "stain", "swap_channels", "tint", "lighting"), 0.0)
    rare |= dict.fromkeys(("shading", "invert", "coarse", "blur", "noise", "jpeg"), 0.0)
    plain = augment.Settings(**rare, blank=0, greyed=0, brown=0, crowd=0)
    changed = dataclasses.replace(plain, brown=1, crowd=1)
    kinds = set()
    for sample in samples.values():
        material = augment.prepare(sample)
        for _ in range(5):
            seed = int(rng.integers(1000))
            (before, *_), (after, *_) = (
                augment.crop(material, styles, np.random.default_rng(seed), settings)
                for settings in (plain, changed)
            )
            if (before != after).any():
                kinds.add(sample.modality)
    assert kinds == {"fluorescence", "H&E"}
