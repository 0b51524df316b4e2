"""How well the size of nuclei is found: ``python -m training.scales [MODEL] --data DIR ...``.

Resizes the validation images, segments them with ``scale="auto"`` and with ``scale=1``, and prints
AP@0.5 and Dice of both beside those of the images as they are.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nucleiseg import Segmenter

from . import data, metrics
from .argument_types import of_model_and_data
from .samples import Sample

FACTORS = (1.0, 0.33, 0.5, 2.0, 3.0, 4.0)

LARGEST_SIDE = 2600
"""Images that resizing would make larger than this many pixels per side are left out."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = of_model_and_data("training.scales", __doc__)
    parser.add_argument("--training", action="store_true", help="the images trained on, instead")
    options = parser.parse_args(arguments)
    samples = data.load_split(options.data)[0 if options.training else 1]
    segmenter = Segmenter(options.model)
    print(
        f"{'resized by':>10}{'images':>8}{'auto':>16}{'scale=1':>16}{'before':>16}   (AP@0.5, Dice)"
    )
    before = {s.name: _score(segmenter, s.picture, s.labels, 1.0) for s in tqdm(samples)}
    for factor in FACTORS:
        mine = [s for s in samples if max(s.labels.shape) * factor <= LARGEST_SIDE]
        found, plain = [], []
        for sample in tqdm(mine, desc=f"{factor}"):
            picture, labels = _resized(sample, factor)
            found.append(_score(segmenter, picture, labels, "auto"))
            plain.append(_score(segmenter, picture, labels, 1.0))
        cells = [found, plain, [before[sample.name] for sample in mine]]
        print(f"{factor:10}{len(mine):8}" + "".join(map(_cell, cells)), flush=True)


def _resized(sample: Sample, factor: float) -> tuple[NDArray[np.generic], NDArray[np.int32]]:
    if factor == 1:
        return sample.picture, sample.labels
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    size = tuple(max(1, round(side * factor)) for side in sample.labels.shape[::-1])
    picture = cv2.resize(sample.picture, size, interpolation=method)
    return picture, cv2.resize(sample.labels, size, interpolation=cv2.INTER_NEAREST_EXACT)


def _score(
    segmenter: Segmenter,
    picture: NDArray[np.generic],
    labels: NDArray[np.int32],
    scale: float | str,
) -> metrics.Score:
    return metrics.score(labels, segmenter.segment(picture, "labels", scale=scale))


def _cell(scores: list[metrics.Score]) -> str:
    total = metrics.total(scores)
    return f"{total.ap[0]:9.4f}{total.mean_dice:7.3f}"


if __name__ == "__main__":
    main()
