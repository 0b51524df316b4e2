from pathlib import Path

import numpy as np
import pytest

from nucleiseg import images
from nucleiseg._native import cpu
from training import metrics, predict
from training.targets import SMALLEST, gaps, make_targets, smallness

LABELS = sorted((Path(__file__).parents[1] / "data" / "labels").iterdir())


def test_every_nucleus_rises_from_its_edge_to_one_centre():
    labels = images.read(LABELS[0]).astype(np.int32)
    distance = make_targets(labels).distance
    assert (distance[labels == 0] == 0).all()
    for number in range(1, labels.max() + 1):
        assert distance[labels == number].max() == 255


def test_touching_nuclei_have_a_valley_and_a_gap_between_them():
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
    _, distance, emphasis = make_targets(labels)
    assert distance[20, 19] > 230 > 25 > distance[20, 29]
    assert emphasis[20, 29] == emphasis.max() > 200
    assert emphasis[20, 15] == emphasis[5, 5] == 0


def disc(diameter, shape=(60, 60)):
    y, x = np.indices(shape)
    return (np.hypot(y - 29.5, x - 29.5) < diameter / 2).astype(np.int32)


@pytest.mark.parametrize(
    ("diameter", "share"),
    # 20 over the diameter, less 1, at most 1; a disc of pixels is not quite of its size.
    [(6, 1.0), (10, 1.0), (15, 1 / 3), (18, 1 / 9), (22, 0.0), (40, 0.0)],
)
def test_small_nuclei_get_extra_weight_the_smaller_the_more(diameter, share):
    small = smallness(disc(diameter))
    assert small[29, 29] / SMALLEST == pytest.approx(share, abs=0.04)
    assert small[29, 0] == 0


def test_the_weight_of_a_small_nucleus_reaches_two_pixels_beyond_it():
    labels = disc(8)
    row = smallness(labels)[29]
    inside = np.flatnonzero(labels[29])
    weighted = np.flatnonzero(row)
    assert (weighted[0], weighted[-1]) == (inside[0] - 2, inside[-1] + 2)


def test_emphasis_is_the_stronger_of_gap_and_smallness():
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 10:20], labels[10:30, 20:30], labels[18:24, 45:51] = 1, 2, 3
    emphasis = make_targets(labels).emphasis
    np.testing.assert_array_equal(emphasis, np.maximum(gaps(labels), smallness(labels)))
    assert emphasis[20, 19] > 200
    assert emphasis[20, 48] == SMALLEST


def test_a_label_image_without_nuclei_has_no_emphasis():
    assert not make_targets(np.zeros((12, 9), np.int32)).emphasis.any()


def test_a_nucleus_cut_by_the_border_keeps_its_centre_there():
    labels = np.zeros((40, 40), np.int32)
    labels[:10, 10:30] = 1
    distance = make_targets(labels).distance
    assert distance[0, 19] == 255


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2)])
def test_tiny_label_images_have_targets(shape):
    targets = make_targets(np.ones(shape, np.int32))
    assert all(target.shape == shape for target in targets)


def test_decoding_the_true_maps_gives_the_true_nuclei_back():
    """On a fifth of the training images AP@0.5 is 0.99; these examples are fewer and harder."""
    scores = []
    for path in LABELS:
        labels = images.read(path).astype(np.int32)
        maps = np.ascontiguousarray(np.dstack(make_targets(labels)[:2]))
        found, _ = cpu.label(maps, **{**predict.DECODING, "min_area": 1})
        scores.append(metrics.score(labels, found))
    assert metrics.total(scores).ap[0] >= 0.98
