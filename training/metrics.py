"""How well a mask or a label image agrees with the true one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

IOU_THRESHOLDS = tuple(np.round(np.arange(0.5, 1.0, 0.05), 2).tolist())

RESAMPLES = 1000
"""Draws of a bootstrap: the ends of a 95 % interval then rest on 25 draws on each side."""


def _counts() -> NDArray[np.int64]:
    return np.zeros(len(IOU_THRESHOLDS), np.int64)


def _sums() -> NDArray[np.float64]:
    return np.zeros(len(IOU_THRESHOLDS))


@dataclass
class Score:
    """Agreement of one image, or of several added up with `total`.

    Dice, IoU and the aggregated Jaccard index are means over images; everything else comes from
    counts that are summed over images. Where there is nothing to find and nothing was found, a
    figure is 1.

    Attributes
    ----------
    dice, iou : list of float
        Of the masks, one per image.
    aji : list of float
        Aggregated Jaccard index, one per image (Kumar et al. 2017, doi:10.1109/TMI.2017.2677499,
        algorithm 1): each true nucleus goes with the found one of highest IoU, which may serve
        several; their intersections over their unions and the found ones that serve none.
    matched, missed, extra : ndarray, (len(IOU_THRESHOLDS),) int64
        True positives, false negatives and false positives at each IoU, matched one to one.
    matched_iou : ndarray, (len(IOU_THRESHOLDS),) float64
        Sum of the IoUs of the matched pairs.
    merges : int
        Found nuclei that each cover more than half of the area of two or more true nuclei.
    splits : int
        True nuclei that each hold two or more found nuclei, every one of which has more than half
        of its own area inside.
    """

    dice: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    matched: NDArray[np.int64] = field(default_factory=_counts)
    missed: NDArray[np.int64] = field(default_factory=_counts)
    extra: NDArray[np.int64] = field(default_factory=_counts)
    matched_iou: NDArray[np.float64] = field(default_factory=_sums)
    aji: list[float] = field(default_factory=list)
    merges: int = 0
    splits: int = 0

    @property
    def nuclei(self) -> int:
        """How many true nuclei there are."""
        return int(self.matched[0] + self.missed[0])

    @property
    def found(self) -> int:
        """How many nuclei were found."""
        return int(self.matched[0] + self.extra[0])

    @property
    def mean_dice(self) -> float:
        """Mean over images; 1 where both masks are empty."""
        return float(np.mean(self.dice))

    @property
    def mean_iou(self) -> float:
        """Mean over images; 1 where both masks are empty."""
        return float(np.mean(self.iou))

    @property
    def mean_aji(self) -> float:
        """Mean over images; 1 where both are empty."""
        return float(np.mean(self.aji))

    @property
    def ap(self) -> NDArray[np.float64]:
        """TP / (TP + FP + FN) at each of `IOU_THRESHOLDS`, summed over images."""
        return _ratio(self.matched, self.matched + self.missed + self.extra)

    @property
    def mean_ap(self) -> float:
        """Mean of `ap` over `IOU_THRESHOLDS`."""
        return float(self.ap.mean())

    @property
    def f1(self) -> NDArray[np.float64]:
        """2 TP / (2 TP + FP + FN) at each of `IOU_THRESHOLDS`, summed over images."""
        return _ratio(2 * self.matched, 2 * self.matched + self.missed + self.extra)

    @property
    def pq(self) -> NDArray[np.float64]:
        """Panoptic quality at each of `IOU_THRESHOLDS`, summed over images.

        The IoUs of the matched pairs over TP + FP / 2 + FN / 2 (Kirillov et al. 2019,
        doi:10.1109/CVPR.2019.00963, which defines it at 0.5).
        """
        return _ratio(self.matched_iou, self.matched + (self.missed + self.extra) / 2)


class Intervals(NamedTuple):
    """Lower and upper end of the 95 % interval of three figures."""

    dice: tuple[float, float]
    ap50: tuple[float, float]
    ap: tuple[float, float]


class _Overlaps(NamedTuple):
    """Areas of the n true and m found nuclei, and the k pairs of them that share a pixel."""

    true_areas: NDArray[np.int64]
    areas: NDArray[np.int64]
    true: NDArray[np.int64]
    found: NDArray[np.int64]
    both: NDArray[np.int64]

    @property
    def either(self) -> NDArray[np.int64]:
        return self.true_areas[self.true] + self.areas[self.found] - self.both

    @property
    def ious(self) -> NDArray[np.float64]:
        return self.both / self.either


def total(scores: list[Score]) -> Score:
    """Add up the scores of several images."""
    nothing = vars(Score())
    return Score(
        **{name: sum((getattr(one, name) for one in scores), nothing[name]) for name in nothing}
    )


def score(truth: NDArray[np.int32], labels: NDArray[np.int32]) -> Score:
    """Score a label image against the true one.

    Parameters
    ----------
    truth, labels : ndarray, (H, W) of an integer type
        0 is background, every other number one nucleus.

    Raises
    ------
    ValueError
        The two differ in shape.
    """
    if truth.shape != labels.shape:
        raise ValueError(f"truth is {truth.shape}, labels are {labels.shape}")
    overlaps = _overlaps(truth, labels)
    dice, iou = _mask_agreement(overlaps)
    ious = _matched_ious(overlaps)
    close = ious >= np.array(IOU_THRESHOLDS)[:, None]
    matched = close.sum(1)
    return Score(
        dice=[dice],
        iou=[iou],
        matched=matched,
        missed=len(overlaps.true_areas) - matched,
        extra=len(overlaps.areas) - matched,
        matched_iou=close @ ious,
        aji=[_aggregated_jaccard(overlaps)],
        merges=_claimed(overlaps.found, overlaps.both, overlaps.true_areas[overlaps.true]),
        splits=_claimed(overlaps.true, overlaps.both, overlaps.areas[overlaps.found]),
    )


def bootstrap(scores: list[Score], seed: int = 0) -> Intervals:
    """Return the 95 % intervals of mean Dice, AP@0.5 and mean AP by drawing images anew.

    The percentile bootstrap (Efron 1979, doi:10.1214/aos/1176344552). It takes the images for
    independent of each other; crops of one slide are not, so for those the interval is too narrow.

    Parameters
    ----------
    scores : list of Score
        One of each image.
    seed : int
        The same seed gives the same intervals.
    """
    count = len(scores)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)
    matched = np.stack([score.matched for score in scores])
    wrong = np.stack([score.missed + score.extra for score in scores])
    dice = times @ np.array([score.mean_dice for score in scores]) / count
    ap = _ratio(times @ matched, times @ (matched + wrong))
    return Intervals(_middle(dice), _middle(ap[:, 0]), _middle(ap.mean(1)))


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    share = np.ones(whole.shape)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def _overlaps(truth: NDArray[np.int32], labels: NDArray[np.int32]) -> _Overlaps:
    rows, columns = _without_gaps(truth), _without_gaps(labels)
    shape = int(rows.max(initial=0)) + 1, int(columns.max(initial=0)) + 1
    pairs = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    table = pairs.reshape(shape)
    true, found = np.nonzero(table[1:, 1:])
    both = table[1:, 1:][true, found]
    return _Overlaps(table[1:].sum(1), table[:, 1:].sum(0), true, found, both)


def _without_gaps(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the number, 1..n in the order of the labels, of the nucleus of each pixel."""
    flat = labels.ravel().astype(np.int64)
    used = np.bincount(flat, minlength=1) > 0
    used[0] = True
    return (np.cumsum(used) - 1)[flat]


def _mask_agreement(overlaps: _Overlaps) -> tuple[float, float]:
    """Return Dice and IoU of the two masks."""
    both = overlaps.both.sum()
    areas = overlaps.true_areas.sum() + overlaps.areas.sum()
    if areas == 0:
        return 1.0, 1.0
    return float(2 * both / areas), float(both / (areas - both))


def _matched_ious(overlaps: _Overlaps) -> NDArray[np.float64]:
    """Return the IoU of each pair that is matched at 0.5.

    Pairs above 0.5 exclude each other. At exactly 0.5 a nucleus may be cut into two equal halves,
    which touch nothing else; either half is as good a match, so the first one is taken and the
    matching is still optimal.
    """
    close = np.flatnonzero(overlaps.ious >= IOU_THRESHOLDS[0])
    for side in (overlaps.true, overlaps.found):
        _, first = np.unique(side[close], return_index=True)
        close = close[first]
    return overlaps.ious[close]


def _aggregated_jaccard(overlaps: _Overlaps) -> float:
    """Return the AJI of one image; see `Score`. The first found nucleus wins a tie."""
    order = np.lexsort((-overlaps.ious, overlaps.true))
    _, first = np.unique(overlaps.true[order], return_index=True)
    best = order[first]
    alone = np.delete(overlaps.true_areas, overlaps.true[best]).sum()
    unused = np.delete(overlaps.areas, overlaps.found[best]).sum()
    union = overlaps.either[best].sum() + alone + unused
    return float(overlaps.both[best].sum() / union) if union else 1.0


def _claimed(owners: NDArray[np.int64], both: NDArray[np.int64], areas: NDArray[np.int64]) -> int:
    """Count the owners that share more than half of the area of two or more others."""
    claims = np.bincount(owners[2 * both > areas])
    return int((claims >= 2).sum())
