"""How often each image is drawn for training."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from . import groups
from .samples import Sample

MODALITY_WEIGHTS = {
    "fluorescence": 0.44,
    "grey bright-field": 0.06,
    "purple stain": 0.20,
    "H&E": 0.30,
}
"""Share of the crops of each modality: bright-field is a sixth of the images, but half of the
uses."""

PARTLY = 0.3
"""How often an image whose nuclei are annotated in part is drawn beside one that is annotated."""


def chances(samples: list[Sample], weights: dict[str, float] | None = None) -> NDArray[np.float64]:
    """Return each image's chance of being drawn.

    Modalities get their share of `MODALITY_WEIGHTS`. Within one, a group counts by the square root
    of its pixels (those of `groups.LABELLED_IN_PART` less), and a data set by the square root of
    what its groups count, so that large series do not drown small ones; an image of a group counts
    by its pixels. Then each chance is multiplied by its data set's weight, and all are divided by
    their sum: between two images of different data sets the ratio of chances changes by the ratio
    of weights, whatever their modalities, so a modality that is mostly of a heavy data set gets a
    larger share.

    Parameters
    ----------
    samples : list of Sample
    weights : dict, optional
        By `Sample.dataset`; 1 for those that are not named.

    Returns
    -------
    ndarray, (len(samples),) float64
        Their sum is 1.
    """
    pixels: Counter[str] = Counter()
    for sample in samples:
        pixels[sample.group] += sample.labels.size
    raw = np.array([sample.labels.size * pixels[sample.group] ** -0.5 for sample in samples])
    raw *= [PARTLY if sample.group in groups.LABELLED_IN_PART else 1.0 for sample in samples]
    kinds = np.array([sample.modality for sample in samples])
    datasets = np.array([sample.dataset for sample in samples])
    for kind, weight in MODALITY_WEIGHTS.items():
        of_kind = kinds == kind
        for dataset in set(datasets[of_kind]):
            mine = of_kind & (datasets == dataset)
            raw[mine] /= np.sqrt(raw[mine].sum())
        if of_kind.any():
            raw[of_kind] *= weight / raw[of_kind].sum()
    raw *= [(weights or {}).get(name, 1.0) for name in datasets]
    return raw / raw.sum()
