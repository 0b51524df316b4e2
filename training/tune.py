"""Try the settings of the decoding on the validation images.

``python -m training.tune [MODEL] --data DIR ...`` runs the network once per image and decodes its
maps with every combination of the grid; the best by AP@0.5 come first. A model that decides by
itself which basins merge (`training.merging`) goes on to do so, whatever the prominence. "Of true
maps" is the AP@0.5 of nuclei decoded from the maps of the annotation, which should stay above 0.97.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nucleiseg import Segmenter
from nucleiseg._native import cpu
from nucleiseg.model import Model

from . import data, metrics
from .argument_types import of_model_and_data

GRID = {
    "nucleus_threshold": (144, 156, 168),
    "marker_threshold": (112, 128, 144),
    "prominence": (16, 20, 24, 28),
    "min_area": (24,),
    "min_peak": (70, 85, 100),
    "min_probability": (0, 185, 195),
}

SHOWN = 12

Maps = NDArray[np.uint8]
Labels = NDArray[np.int32]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    options = of_model_and_data("training.tune", __doc__).parse_args(arguments)
    _, samples = data.load_split(options.data)
    segmenter = Segmenter(options.model)
    truth = [sample.labels for sample in samples]
    found = [segmenter.segment(sample.picture, "maps", scale=1) for sample in samples]
    true = [np.ascontiguousarray(np.dstack(sample.targets()[:2])) for sample in samples]
    model = segmenter.model
    grid = GRID | ({"prominence": (model.least_prominence,)} if model.merging else {})
    settings = [dict(zip(grid, one, strict=True)) for one in itertools.product(*grid.values())]
    rows = [(_score(truth, found, setting, model), setting) for setting in tqdm(settings)]
    rows.sort(key=lambda row: -row[0].ap[0])
    for score, setting in rows[:SHOWN]:
        faithful = _score(truth, true, setting, model).ap[0]
        print(
            f"AP@0.5 {score.ap[0]:.4f}  AP {score.ap.mean():.4f}  Dice {score.mean_dice:.4f}  "
            f"of true maps {faithful:.4f}  {setting}"
        )


def _score(
    truth: list[Labels], maps: list[Maps], setting: dict[str, int], model: Model
) -> metrics.Score:
    return metrics.total(
        [
            metrics.score(labels, cpu.label(one, **setting, merging=model.merging, threads=2)[0])
            for labels, one in zip(truth, maps, strict=True)
        ]
    )


if __name__ == "__main__":
    main()
