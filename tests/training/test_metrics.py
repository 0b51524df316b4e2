from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from stardist.matching import matching

from nucleiseg import images
from training import metrics

TRUE_LABELS = sorted((Path(__file__).parents[1] / "data" / "labels").glob("*.png"))


def blobs(seed, size=60, count=12):
    """Random rectangles, later ones over earlier ones."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.int32)
    for number in range(1, count + 1):
        top, left = rng.integers(0, size - 12, 2)
        height, width = rng.integers(3, 12, 2)
        labels[top : top + height, left : left + width] = number
    return labels


def ids(labels):
    return sorted(set(labels.ravel().tolist()) - {0})


def halves(labels, some):
    """Cut nuclei in two: the first half of their pixels in raster order, and the rest."""
    result, top = labels.copy(), labels.max()
    for number in some:
        rows, columns = np.nonzero(labels == number)
        half = len(rows) // 2
        result[rows[:half], columns[:half]] = top + number
    return result


def eroded(labels, rng):
    pixels = rng.integers(1, 3)
    result = np.zeros_like(labels)
    for number in ids(labels):
        result[ndimage.binary_erosion(labels == number, iterations=pixels)] = number
    return result


def merged(labels, rng):
    """Merge a third of the nuclei: they get the number of the nucleus nearest to them."""
    result = labels.copy()
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, ids(labels)))
    for index in rng.choice(len(centres), len(centres) // 3, replace=False):
        distances = np.linalg.norm(centres - centres[index], axis=1)
        result[labels == ids(labels)[index]] = ids(labels)[np.argsort(distances)[1]]
    return result


def split(labels, rng):
    return halves(labels, rng.choice(ids(labels), len(ids(labels)) // 2, replace=False))


def shifted(labels, rng):
    return np.roll(labels, rng.integers(1, 5, 2), axis=(0, 1))


def dropped(labels, rng):
    lost = rng.choice(ids(labels), len(ids(labels)) // 3, replace=False)
    return np.where(np.isin(labels, lost), 0, labels)


def everything(labels, rng):
    for change in (split, merged, dropped, eroded, shifted):
        labels = change(labels, rng)
    return labels


def assert_as_stardist(truth, labels):
    score = metrics.score(truth, labels)
    for index, reference in enumerate(matching(truth, labels, metrics.IOU_THRESHOLDS)):
        assert score.matched[index] == reference.tp
        assert score.missed[index] == reference.fn
        assert score.extra[index] == reference.fp
        assert score.ap[index] == pytest.approx(reference.accuracy)
        assert score.f1[index] == pytest.approx(reference.f1)
        # StarDist holds IoUs in single precision.
        assert score.pq[index] == pytest.approx(reference.panoptic_quality, rel=1e-5)
        summed = reference.mean_true_score * reference.n_true
        assert score.matched_iou[index] == pytest.approx(summed, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("change", [eroded, merged, split, shifted, dropped, everything])
@pytest.mark.parametrize("path", TRUE_LABELS, ids=lambda path: path.stem)
def test_figures_are_those_of_stardist(path, change, seed):
    truth = images.read(path).astype(np.int32)
    labels = change(truth, np.random.default_rng(seed))
    assert (labels != truth).any()
    assert_as_stardist(truth, labels)


def test_equal_halves_on_either_side_match_one_to_one():
    """At an IoU of exactly 0.5 two pairs may ask for one nucleus."""
    wholes = np.zeros((12, 12), np.int32)
    wholes[1:5, 1:5], wholes[6:10, 1:5], wholes[6:10, 6:10] = 1, 2, 3
    truth, labels = halves(wholes, [1, 2]), halves(wholes, [3])
    score = metrics.score(truth, labels)
    assert (score.matched[0], score.missed[0], score.extra[0]) == (3, 2, 1)
    assert_as_stardist(truth, labels)


def aji_in_plain_words(truth, labels):
    """Kumar et al. 2017, algorithm 1."""
    intersection, union, used = 0, 0, set()
    for a in ids(truth):
        true = truth == a
        best, best_iou = None, 0.0
        for b in ids(labels):
            iou = (true & (labels == b)).sum() / (true | (labels == b)).sum()
            if iou > best_iou:
                best, best_iou = b, iou
        if best is None:
            union += true.sum()
        else:
            intersection += (true & (labels == best)).sum()
            union += (true | (labels == best)).sum()
            used.add(best)
    union += sum((labels == b).sum() for b in ids(labels) if b not in used)
    return intersection / union


@pytest.mark.parametrize("seed", range(5))
def test_aggregated_jaccard_is_that_of_its_paper(seed):
    truth = blobs(seed)
    for labels in (blobs(seed + 10), everything(truth, np.random.default_rng(seed))):
        score = metrics.score(truth, labels)
        assert score.mean_aji == pytest.approx(aji_in_plain_words(truth, labels))


def test_aggregated_jaccard_is_a_mean_over_images():
    truth = blobs(0)
    scores = [metrics.score(truth, truth), metrics.score(truth, np.zeros_like(truth))]
    assert metrics.total(scores).mean_aji == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_dice_and_iou_are_those_of_the_masks(seed):
    truth, labels = blobs(seed), blobs(seed + 10)
    score = metrics.score(truth, labels)
    both, either = ((truth > 0) & (labels > 0)).sum(), ((truth > 0) | (labels > 0)).sum()
    assert score.mean_dice == pytest.approx(2 * both / (both + either))
    assert score.mean_iou == pytest.approx(both / either)


def row(*runs):
    """One line of pixels: ``(number, length)`` after ``(number, length)``."""
    return np.concatenate([np.full(length, number, np.int32) for number, length in runs])[None]


@pytest.mark.parametrize(
    ("found", "merges"),
    [
        (row((1, 20)), 1),  # all of both
        (row((0, 4), (1, 12), (0, 4)), 1),  # six of ten of each
        (row((0, 5), (1, 10), (0, 5)), 0),  # exactly half is not more than half
        (row((1, 15), (0, 5)), 0),  # all of one, half of the other
        (row((1, 10), (2, 10)), 0),
        (row((0, 20)), 0),
    ],
)
def test_a_merge_covers_more_than_half_of_two_true_nuclei(found, merges):
    truth = row((1, 10), (2, 10))
    assert metrics.score(truth, found).merges == merges
    assert metrics.score(truth, found).splits == 0
    # The other way round it is a split.
    assert metrics.score(found, truth).splits == merges


def test_a_merge_or_split_counts_once_however_many_it_joins():
    three, one = row((1, 5), (2, 5), (3, 5)), row((7, 15))
    assert (metrics.score(three, one).merges, metrics.score(three, one).splits) == (1, 0)
    assert (metrics.score(one, three).merges, metrics.score(one, three).splits) == (0, 1)
    beside = np.hstack([one, row((0, 3), (9, 15))])
    score = metrics.score(np.hstack([three, row((0, 3)), three + 3]), beside)
    assert score.merges == 2


def test_a_found_nucleus_half_outside_splits_nothing():
    truth = row((1, 10), (0, 6))
    assert metrics.score(truth, row((1, 6), (2, 8), (0, 2))).splits == 0
    assert metrics.score(truth, row((1, 6), (2, 7), (0, 3))).splits == 1


@pytest.mark.parametrize("factor", [7, 1000])
def test_the_numbers_of_nuclei_do_not_matter(factor):
    truth, labels = blobs(0), blobs(10)
    plain, spread = metrics.score(truth, labels), metrics.score(truth * factor, labels * factor)
    assert metrics.score(truth, truth * factor).mean_aji == 1
    assert plain.nuclei == len(ids(truth))
    assert plain.found == len(ids(labels))
    for name in ("mean_dice", "mean_iou", "mean_aji", "mean_ap", "merges", "splits", "nuclei"):
        assert getattr(spread, name) == getattr(plain, name)


def test_equal_labels_score_one():
    truth = blobs(0)
    score = metrics.score(truth, truth)
    assert score.mean_dice == score.mean_iou == score.mean_aji == score.mean_ap == 1
    assert (score.f1 == 1).all()
    assert (score.pq == 1).all()
    assert score.merges == score.splits == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.uint64])
def test_any_integer_type_will_do(dtype):
    truth, labels = blobs(0), blobs(10)
    score = metrics.score(truth.astype(dtype), labels.astype(dtype))
    assert score.mean_aji == metrics.score(truth, labels).mean_aji


def test_nothing_found_where_there_is_nothing_is_right():
    nothing = np.zeros((5, 5), np.int32)
    score = metrics.score(nothing, nothing)
    assert score.mean_dice == score.mean_iou == score.mean_aji == 1
    assert (score.ap == 1).all()
    assert (score.f1 == 1).all()
    assert (score.pq == 1).all()
    assert score.nuclei == score.found == score.merges == score.splits == 0


@pytest.mark.parametrize("truth_is_empty", [True, False])
def test_one_empty_image_scores_nothing(truth_is_empty):
    pair = np.zeros((60, 60), np.int32), blobs(0)
    score = metrics.score(*(pair if truth_is_empty else pair[::-1]))
    count = len(ids(blobs(0)))
    assert (score.nuclei, score.found) == ((0, count) if truth_is_empty else (count, 0))
    assert score.mean_dice == score.mean_iou == score.mean_aji == 0
    for figure in (score.ap, score.f1, score.pq, score.matched, score.matched_iou):
        assert (figure == 0).all()


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"truth is \(5, 5\), labels are \(5, 6\)"):
        metrics.score(np.zeros((5, 5), np.int32), np.zeros((5, 6), np.int32))


def test_counts_of_images_add_up_and_masks_are_averaged():
    pairs = [(blobs(seed), everything(blobs(seed), np.random.default_rng(seed))) for seed in (1, 2)]
    scores = [metrics.score(*pair) for pair in pairs]
    total = metrics.total(scores)
    # Two images side by side are one image with the nuclei of both.
    truth, labels = (
        np.hstack([first, np.where(second, second + first.max(), 0)])
        for first, second in zip(*pairs, strict=True)
    )
    together = metrics.score(truth, labels)
    for name in ("matched", "missed", "extra", "ap", "f1", "merges", "splits", "nuclei"):
        np.testing.assert_array_equal(getattr(total, name), getattr(together, name))
    np.testing.assert_allclose(total.pq, together.pq)
    for name in ("mean_dice", "mean_iou", "mean_aji"):
        mean = np.mean([getattr(score, name) for score in scores])
        assert getattr(total, name) == pytest.approx(mean)


@pytest.fixture(scope="module")
def many():
    """Scores of forty images, some far better than others."""
    return [
        metrics.score(blobs(seed), np.roll(blobs(seed), seed % 5, axis=0)) for seed in range(40)
    ]


def test_intervals_hold_the_figure_and_repeat(many):
    intervals, total = metrics.bootstrap(many), metrics.total(many)
    assert intervals.dice[0] < total.mean_dice < intervals.dice[1]
    assert intervals.ap50[0] < total.ap[0] < intervals.ap50[1]
    assert intervals.ap[0] < total.mean_ap < intervals.ap[1]
    assert metrics.bootstrap(many) == intervals
    assert metrics.bootstrap(many, seed=1) != intervals


def test_the_interval_of_a_mean_has_the_width_that_theory_gives(many):
    dice = np.array([score.mean_dice for score in many])
    width = np.diff(metrics.bootstrap(many).dice)[0]
    # Ten thousand resamples come within 2 % of it; one thousand leave about 5 % of noise.
    assert width == pytest.approx(2 * 1.96 * dice.std() / np.sqrt(len(dice)), rel=0.15)


def test_intervals_resample_as_drawing_lists_of_images_would(many):
    rng = np.random.default_rng(5)
    draws = [
        metrics.total([many[i] for i in rng.integers(0, len(many), len(many))]) for _ in range(500)
    ]
    intervals = metrics.bootstrap(many)
    for interval, values in (
        (intervals.ap50, [draw.ap[0] for draw in draws]),
        (intervals.ap, [draw.mean_ap for draw in draws]),
    ):
        # The ends of 500 draws waver by about a tenth of the width.
        slack = 0.25 * (interval[1] - interval[0])
        assert interval == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=slack)


def test_one_image_has_no_width(many):
    intervals = metrics.bootstrap(many[:1])
    assert intervals.dice == (many[0].mean_dice, many[0].mean_dice)
