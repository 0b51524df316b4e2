"""Nuclei pasted into another crop: where they go, and what becomes of the maps."""

import numpy as np
import pytest
from scipy import ndimage

from training import targets
from training.paste import LARGEST_OVERLAP, paste

SIDE = 96


def crop_of(*discs: tuple[int, int, int], level: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Image and maps of discs (row, column, radius) on a dark field."""
    rows, columns = np.indices((SIDE, SIDE))
    labels = np.zeros((SIDE, SIDE), np.int32)
    for number, (row, column, radius) in enumerate(discs, start=1):
        labels[np.hypot(rows - row, columns - column) <= radius] = number
    image = np.where(labels[..., None] > 0, level, 20).astype(np.uint8).repeat(3, axis=-1)
    return image, np.dstack(targets.make_targets(labels))


@pytest.fixture(params=[True, False], ids=["glowing", "stained"])
def glowing(request):
    return request.param


def pasted(base, donor, glowing, seed=0):
    return paste(*base, donor, 24.0, glowing, np.random.default_rng(seed))


def all_that_fit(base, donor, glowing):
    """Tries seeds until something was pasted, since nuclei are drawn."""
    for seed in range(50):
        image, maps = pasted(base, donor, glowing, seed)
        if maps is not base[1]:
            return image, maps
    raise AssertionError("nothing was pasted")


def test_a_nucleus_on_background_is_taken_over_as_it_is(glowing):
    base, donor = crop_of((24, 24, 12)), crop_of((70, 70, 12), level=150)
    image, maps = all_that_fit(base, donor, glowing)
    both = crop_of((24, 24, 12), (70, 70, 12))[1]
    np.testing.assert_array_equal(maps[..., :2], both[..., :2])
    assert (image[66:74, 66:74] == 150).all()
    assert (image[20:28, 20:28] == 200).all()


def test_nuclei_that_overlap_a_little_are_parted_by_a_valley_that_has_weight(glowing):
    base, donor = crop_of((48, 36, 14)), crop_of((48, 60, 14))
    _, maps = all_that_fit(base, donor, glowing)
    joined = ndimage.label(maps[..., 0] > 127)[1]
    cores = ndimage.label(maps[..., 1] > 148)[1]
    assert (joined, cores) == (1, 2)
    valley = maps[48, 44:50]
    assert valley[:, 1].min() < 60
    assert valley[:, 2].max() == 255


def test_a_nucleus_that_would_hide_in_another_is_not_taken(glowing):
    base = crop_of((48, 48, 30))
    for donor in (crop_of((48, 48, 10)), crop_of((48, 70, 14))):
        overlap = (base[1][..., 0] & donor[1][..., 0] > 0).sum() / (donor[1][..., 0] > 0).sum()
        assert overlap > LARGEST_OVERLAP
        for seed in range(20):
            image, maps = pasted(base, donor, glowing, seed)
            assert image is base[0]
            assert maps is base[1]


def test_the_same_seed_pastes_the_same(glowing):
    base, donor = crop_of((24, 24, 12)), crop_of((70, 70, 12), (70, 24, 10), (20, 75, 9))
    first, second = (pasted(base, donor, glowing, 7) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
