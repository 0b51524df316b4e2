from pathlib import Path

import numpy as np
import pytest

from nucleiseg import images
from nucleiseg._native import cpu
from training import metrics, predict
from training.targets import make_targets

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
    _, distance, gap = make_targets(labels)
    assert distance[20, 19] > 230 > 25 > distance[20, 29]
    assert gap[20, 29] == gap.max() > 200
    assert gap[20, 15] == gap[5, 5] == 0


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
