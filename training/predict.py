"""Maps and scores of a Keras model on whole images."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.model import CORE_THRESHOLD, MIN_AREA, NUCLEUS_THRESHOLD
from training import metrics, unet
from training.data import Sample

MARGIN = 32
"""Pixels of mirror image round a whole picture, at least."""


def maps(model: keras.Model, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Run the model on one normalised image.

    Parameters
    ----------
    image : ndarray, (H, W, 3) uint8

    Returns
    -------
    ndarray, (H, W, 2) uint8
        Nucleus probability and centre distance.
    """
    height, width = image.shape[:2]
    sides = [MARGIN + -(-(length + MARGIN) // unet.STRIDE) * unet.STRIDE for length in (height, width)]
    tile = cpu.gather(image, np.array([[-MARGIN, -MARGIN]]), sides[0], sides[1])
    values = np.asarray(model(tile.astype(np.float32), training=False))
    inside = values[0, MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    return np.rint(255 * inside).astype(np.uint8)


def scores(model: keras.Model, samples: list[Sample]) -> list[metrics.Score]:
    """Score the model's labels of each sample."""
    result = []
    for sample in samples:
        labels, _ = cpu.label(
            np.ascontiguousarray(maps(model, sample.image)),
            nucleus_threshold=NUCLEUS_THRESHOLD,
            core_threshold=CORE_THRESHOLD,
            min_area=MIN_AREA,
        )
        result.append(metrics.score(sample.labels, labels))
    return result
