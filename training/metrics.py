"""How well a mask or a label image agrees with the true one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

IOU_THRESHOLDS = tuple(np.round(np.arange(0.5, 1.0, 0.05), 2).tolist())


@dataclass
class Score:
    """Agreement of one image, or of several added up with `total`.

    Attributes
    ----------
    dice, iou : list of float
        Of the masks, one an image.
    matched, missed, extra : ndarray, (len(IOU_THRESHOLDS),) int64
        True positives, false negatives and false positives at each IoU.
    """

    dice: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    matched: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(IOU_THRESHOLDS), np.int64)
    )
    missed: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(IOU_THRESHOLDS), np.int64)
    )
    extra: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(IOU_THRESHOLDS), np.int64)
    )

    @property
    def mean_dice(self) -> float:
        """Mean over images; 1 where both masks are empty."""
        return float(np.mean(self.dice))

    @property
    def mean_iou(self) -> float:
        """Mean over images; 1 where both masks are empty."""
        return float(np.mean(self.iou))

    @property
    def ap(self) -> NDArray[np.float64]:
        """TP / (TP + FP + FN) at each of `IOU_THRESHOLDS`, summed over images."""
        count = self.matched + self.missed + self.extra
        return np.where(count > 0, self.matched / np.maximum(count, 1), 1.0)


def total(scores: list[Score]) -> Score:
    """Add up the scores of several images."""
    return Score(
        [value for score in scores for value in score.dice],
        [value for score in scores for value in score.iou],
        sum((score.matched for score in scores), np.zeros(len(IOU_THRESHOLDS), np.int64)),
        sum((score.missed for score in scores), np.zeros(len(IOU_THRESHOLDS), np.int64)),
        sum((score.extra for score in scores), np.zeros(len(IOU_THRESHOLDS), np.int64)),
    )


def score(truth: NDArray[np.int32], labels: NDArray[np.int32]) -> Score:
    """Score a label image against the true one.

    Parameters
    ----------
    truth, labels : ndarray, (H, W) int32
        0 is background, 1..n one nucleus each.
    """
    overlap = _overlap(truth, labels)
    both = overlap[1:, 1:].sum()
    true_area, area = overlap[1:].sum(), overlap[:, 1:].sum()
    union = true_area + area - both
    dice = 2 * both / (true_area + area) if union else 1.0
    iou = both / union if union else 1.0
    areas = overlap[1:].sum(1)[:, None] + overlap[:, 1:].sum(0)[None] - overlap[1:, 1:]
    ious = overlap[1:, 1:] / np.maximum(areas, 1)
    matched = np.array([_matches(ious >= threshold) for threshold in IOU_THRESHOLDS])
    return Score([float(dice)], [float(iou)], matched, len(ious) - matched, ious.shape[1] - matched)


def _overlap(truth: NDArray[np.int32], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count the pixels of each pair of ids, leaving out ids that have no pixel."""
    rows, columns = int(truth.max()) + 1, int(labels.max()) + 1
    pairs = truth.astype(np.int64).ravel() * columns + labels.ravel()
    table = np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
    used_rows, used_columns = table.any(1), table.any(0)
    # The first row and column stand for background even where an image has none.
    used_rows[0] = used_columns[0] = True
    return table[used_rows][:, used_columns]


def _matches(close: NDArray[np.bool_]) -> int:
    # Above IoU 0.5 a match is unique; at exactly 0.5 two halves may claim one whole.
    return int(min(close.any(0).sum(), close.any(1).sum()))
