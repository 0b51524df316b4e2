"""What models that exist see in the images to train on, in many looks at each.

``python -m training.opinions --data FILE --models FILE.onnx[=DATASET,...] ... --output FILE.npz``

The mean of looks at an image turned, mirrored and at several magnifications is better than each
(Radosavovic et al. 2018, doi:10.1109/CVPR.2018.00433). It is computed once for whole images with
the package's own int8 engine, which costs minutes where a teacher beside training costs hours; a
crop's geometry changes the opinion as it changes the annotation. ``training.train --opinions``
learns from the mean of both.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nucleiseg import Model, Segmenter

from . import train
from .distillation import LARGE
from .samples import Sample, pack_opinions

TURNS = ((0, False), (1, True))
"""Quarter turns, and whether the turned image is mirrored."""

SMALL = 20.0
"""Median diameter in pixels below which nuclei are also seen at twice their size."""


class Witness(NamedTuple):
    """A model, and the data sets on which its opinion counts; all if None."""

    segmenter: Segmenter
    datasets: frozenset[str] | None


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.opinions", description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, help="as training.train takes it")
    parser.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="FILE.onnx[=DATASET,...]",
        help="int8 models, each for all data sets or for those that are named",
    )
    parser.add_argument("--output", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args(arguments)
    samples, _, _ = train.load(options.data)
    witnesses = [_witness(text) for text in options.models]
    pack_opinions({one.name: opinion(one, witnesses) for one in tqdm(samples)}, options.output)


def _witness(text: str) -> Witness:
    path, _, datasets = text.partition("=")
    segmenter = Segmenter(Model.load(path))
    return Witness(segmenter, frozenset(datasets.split(",")) if datasets else None)


def opinion(sample: Sample, witnesses: list[Witness]) -> NDArray[np.uint8]:
    """Return the mean of the maps of all models over all views of an image.

    Returns
    -------
    ndarray, (H, W, 2) uint8
        Nucleus and distance.

    Raises
    ------
    ValueError
        No model is for the sample's data set.
    """
    chosen = [one for one in witnesses if one.datasets is None or sample.dataset in one.datasets]
    if not chosen:
        raise ValueError(f"opinions: no model of --models speaks of data set {sample.dataset}")
    looks = [
        look(one.segmenter, sample.image, *turn, scale)
        for one in chosen
        for scale in scales(sample)
        for turn in TURNS
    ]
    return np.rint(np.mean(looks, 0)).astype(np.uint8)


def scales(sample: Sample) -> tuple[float, ...]:
    """Return the magnifications at which nuclei of this image's size are best seen."""
    areas = np.bincount(sample.labels.ravel())[1:]
    diameter = 2 * np.sqrt(np.median(areas[areas > 0]) / np.pi) if areas.any() else LARGE
    if diameter < SMALL:
        return (1.0, 1.375, 2.0)
    return (1.0, 1.375) if diameter < LARGE else (0.75, 1.0, 1.375)


def look(
    segmenter: Segmenter, image: NDArray[np.uint8], turns: int, mirrored: bool, scale: float
) -> NDArray[np.float32]:
    """Return the maps of an image that is seen turned, mirrored and magnified, in its own frame."""
    turned = np.rot90(image, turns)
    if mirrored:
        turned = turned[:, ::-1]
    height, width = turned.shape[:2]
    seen = np.ascontiguousarray(turned)
    if scale != 1.0:
        size = round(width * scale), round(height * scale)
        shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        seen = cv2.resize(seen, size, interpolation=shrinks)
    maps = segmenter.segment(seen, output="maps", scale=1.0).astype(np.float32)
    if scale != 1.0:
        shrinks = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
        maps = cv2.resize(maps, (width, height), interpolation=shrinks)
    if mirrored:
        maps = maps[:, ::-1]
    return np.rot90(maps, -turns)


if __name__ == "__main__":
    main()
