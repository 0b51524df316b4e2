import numpy as np
import pytest

from training import metrics


def blobs(seed, size=60, count=12):
    """Random rectangles, later ones over earlier ones."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.int32)
    for number in range(1, count + 1):
        top, left = rng.integers(0, size - 12, 2)
        height, width = rng.integers(3, 12, 2)
        labels[top : top + height, left : left + width] = number
    return labels


def matched_by_hand(truth, labels, threshold):
    count = 0
    for a in set(truth.ravel()) - {0}:
        for b in set(labels.ravel()) - {0}:
            both = ((truth == a) & (labels == b)).sum()
            union = ((truth == a) | (labels == b)).sum()
            count += both / union >= threshold
    return count


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_made_by_hand(seed):
    truth = blobs(seed)
    labels = np.roll(truth, 1, axis=seed % 2)
    score = metrics.score(truth, labels)
    for index, threshold in enumerate(metrics.IOU_THRESHOLDS):
        matched = matched_by_hand(truth, labels, threshold)
        assert score.matched[index] == matched
        assert score.missed[index] == len(set(truth.ravel()) - {0}) - matched
        assert score.extra[index] == len(set(labels.ravel()) - {0}) - matched
    both, total = ((truth > 0) & (labels > 0)).sum(), (truth > 0).sum() + (labels > 0).sum()
    assert score.mean_dice == pytest.approx(2 * both / total)
    assert score.mean_iou == pytest.approx(both / (total - both))


def test_equal_labels_score_one_whatever_their_numbers():
    truth = blobs(0)
    score = metrics.score(truth, truth[...] * 7)
    assert score.mean_dice == score.mean_iou == 1
    assert (score.ap == 1).all()


def test_two_halves_match_one_whole_once():
    truth = np.ones((4, 4), np.int32)
    halves = np.repeat([1, 1, 2, 2], 4).reshape(4, 4)
    score = metrics.score(truth, halves)
    assert (score.matched[0], score.missed[0], score.extra[0]) == (1, 0, 1)


def test_empty_images_agree():
    nothing = np.zeros((5, 5), np.int32)
    assert metrics.score(nothing, nothing).mean_dice == 1
    assert metrics.score(nothing, nothing + 1).mean_dice == 0
    assert metrics.score(nothing + 1, nothing).missed[0] == 1


def test_counts_of_images_add_up_and_dice_is_their_mean():
    pairs = [(blobs(seed), blobs(seed + 10)) for seed in range(3)]
    scores = [metrics.score(*pair) for pair in pairs]
    total = metrics.total(scores)
    assert total.matched[0] == sum(score.matched[0] for score in scores)
    assert total.mean_dice == pytest.approx(np.mean([score.mean_dice for score in scores]))
