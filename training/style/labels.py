"""Whether a restyled image has its nuclei where the content has them."""

from __future__ import annotations

import functools
import math

from nucleiseg import Segmenter, merged

from .. import metrics
from ..topology import ACCURATE
from .read import Picture


def agreement(content: Picture, result: Picture) -> float:
    """Return the Dice coefficient of the accurate model's labels of two images of one size.

    Both are seen at the scale that the model chooses for the content. It is nan where the package
    takes one of them for a picture of several fluorescent stains.
    """
    if any(merged.are_stains(one) for one in (content, result)):
        return math.nan
    segmenter = _segmenter()
    scale = segmenter.find_scale(content)
    labels = [segmenter.segment(one, output="labels", scale=scale) for one in (content, result)]
    return metrics.score(*labels).mean_dice


@functools.cache
def _segmenter() -> Segmenter:
    return Segmenter(ACCURATE.name, device="cpu")
