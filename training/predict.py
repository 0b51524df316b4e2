"""Maps and scores of a Keras model on whole images."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.model import LabelRule

from . import groups, metrics
from .samples import Sample
from .topology import STRIDE

DECODING: dict[str, int] = {
    "nucleus_threshold": 160,
    "marker_threshold": 128,
    "prominence": 20,
    "min_area": 24,
    "min_peak": 105,
}
"""Chosen on the validation images with ``python -m training.tune``, among the settings that give
the true nuclei back from their own maps (`tests/training/test_targets.py`): a nucleus threshold at
which TNBC has Dice 0.80 too, where AP@0.5 hardly depends on it."""

SCALING = {"mpp": 0.3, "diameter": 30.0, "good_diameters": [18.0, 40.0]}
"""Where the model is at its best. A usual nucleus is about 9 um across, so 30 pixels are reached at
0.3 um per pixel. The range was chosen on validation images resized by 1/3 to 4."""


def maps(model: keras.Model, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Run the model on one normalised image, padded as `nucleiseg.Segmenter` pads it.

    Parameters
    ----------
    image : ndarray, (H, W, 3) uint8

    Returns
    -------
    ndarray, (H, W, 2) uint8
        Nucleus probability and centre distance.
    """
    height, width = image.shape[:2]
    around = [(0, -length % STRIDE) for length in (height, width)]
    tile = np.pad(image, (*around, (0, 0)), mode="reflect")[np.newaxis]
    values = np.asarray(model(tile.astype(np.float32), training=False))
    return np.rint(255 * values[0, :height, :width]).astype(np.uint8)


def labels(model: keras.Model, image: NDArray[np.uint8], rule: LabelRule) -> NDArray[np.int32]:
    """Run the model on one normalised image and decode: (H, W) int32."""
    return cpu.label(maps(model, image), *rule)[0]


def scores(model: keras.Model, samples: list[Sample]) -> list[metrics.Score]:
    """Score the model's labels of each sample."""
    return [
        metrics.score(sample.labels, cpu.label(maps(model, sample.image), **DECODING)[0])
        for sample in samples
    ]


def columns(scores: list[metrics.Score], samples: list[Sample]) -> dict[str, float]:
    """Lay out the scores of all images and of each modality."""
    score = metrics.total(scores)
    row = {
        "dice": round(score.mean_dice, 5),
        "ap50": round(float(score.ap[0]), 5),
        "ap": round(score.mean_ap, 5),
    }
    for kind in groups.MODALITIES:
        mine = [s for s, sample in zip(scores, samples, strict=True) if sample.modality == kind]
        if mine:
            one = metrics.total(mine)
            row[f"dice {kind}"] = round(one.mean_dice, 5)
            row[f"ap50 {kind}"] = round(float(one.ap[0]), 5)
    return row
