"""Train the small network that says which basins of the watershed are one nucleus.

``python -m training.merging MODEL --data DIR ...`` lets a model look at the images to train on in
eight turns, decodes its maps down to basins that hardly stand out, and learns for each pair that
meets whether the annotation has it as one nucleus. The weights go into the model's JSON file as
``decoding.merging``. ``csrc/kernels/merge.h`` defines the network and what it sees; `inputs` is the
same in NumPy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nucleiseg import Segmenter, images
from nucleiseg._native import cpu
from nucleiseg.model import MERGE_INPUTS, MERGE_UNITS, MOST_MERGE_WEIGHT, Model

from . import data
from .argument_types import of_model_and_data
from .samples import Sample

LEAST_PROMINENCE = 4
"""Of the basins that are asked about: with 8 instead AP@0.5 of the 80 validation images is 0.004
lower."""

MOST_PROMINENCE = 64
"""Basins of this prominence or more are never merged; 40 and 255 are no better."""

PROBABILITY = 0.4
"""From which on basins are merged. To merge two nuclei loses both, to split one loses one: of 0.3
to 0.5, the mean AP@0.5 of the data sets is best from 0.35 to 0.4."""

TURNS = range(8)
"""In which each image is seen: quarter turns, mirrored from 4 on."""

EPOCHS, BATCH, RATE = 10, 512, 1e-2

_INPUT_ONE, _UNIT_ONE, _SCALE = 2**12, 2**20, 2**20
"""The numbers that offsets are weights of, as in ``csrc/kernels/merge.h``, and what an input's
weight of 1 is rounded as at most."""

Moments = NDArray[np.uint64]
"""(n, 6): area, sums of rows, columns, squared rows, rows times columns, squared columns; modulo
2**64."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of basins that meet.

    Attributes
    ----------
    inputs : ndarray, (n, MERGE_INPUTS) int64
    are_one : ndarray, (n,) bool
        Whether both lie in one annotated nucleus for the most part.
    datasets : ndarray, (n,) str
    """

    inputs: NDArray[np.int64]
    are_one: NDArray[np.bool_]
    datasets: NDArray[np.str_]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = of_model_and_data("training.merging", __doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default %(default)s")
    options = parser.parse_args(arguments)
    segmenter = Segmenter(options.model)
    samples, _ = data.load_split(options.data)
    pairs = look([sample for sample in samples if sample.labels.any()], segmenter)
    if not pairs.inputs.size:
        print("no two basins meet, so the description stays as it is")
        return
    units, output = rounded(*train(pairs, options.epochs))
    write(segmenter.model, units, output)
    agreed = np.mean(decide(pairs.inputs, units, output) == pairs.are_one)
    print(f"{len(pairs.inputs):,} pairs, {agreed:.1%} of them as the annotation has it")


def look(samples: list[Sample], segmenter: Segmenter) -> Pairs:
    """Return the pairs of basins that a model's maps of annotated images have."""
    found = []
    for sample in tqdm(samples):
        scale = segmenter.analyze(sample.picture).scale
        for turns in TURNS:
            maps = segmenter.segment(_turned(sample.picture, turns), "maps", scale=scale)
            truth = _turned(sample.labels, turns)
            found.append(_pairs(maps, truth, segmenter.model, scale))
    names = [sample.dataset for sample in samples for _ in TURNS]
    return Pairs(
        np.concatenate([inputs for inputs, _ in found]),
        np.concatenate([are_one for _, are_one in found]),
        np.repeat(names, [len(inputs) for inputs, _ in found]),
    )


def _turned(image: NDArray[Any], turns: int) -> NDArray[Any]:
    turned = np.rot90(image, turns)
    return np.ascontiguousarray(turned[:, ::-1] if turns >= 4 else turned)


def _pairs(
    maps: NDArray[np.uint8], truth: NDArray[np.int32], model: Model, scale: float = 1.0
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    labels, _, peaks, prominences, neighbours = cpu.nuclei(
        maps, model.nucleus_threshold, model.marker_threshold, LEAST_PROMINENCE, 0, 0, 0, None, 255
    )
    heights = np.rint(16 * peaks).astype(np.int64)
    saddles = heights - np.rint(16 * prominences).astype(np.int64)
    first, second = _asked(heights, saddles, neighbours)
    names = _annotated(labels, truth)
    in_one = (names[first] == names[second]) & (names[first] > 0)
    known = (names[first] > 0) | (names[second] > 0)
    found = inputs(heights, moments(labels), first, second, saddles[first], scale)
    return found[known], in_one[known]


def _asked(
    heights: NDArray[np.int64], saddles: NDArray[np.int64], neighbours: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs that are the highest pass of one of theirs, that with the saddle first."""
    count = len(heights)
    edges = np.flatnonzero(neighbours != np.arange(count))
    if not edges.size:
        return edges, edges
    edges = edges[np.argsort(-saddles[edges], kind="stable")]
    ends = np.stack([edges, neighbours[edges]])
    highest = np.full(count, len(edges))
    for end in ends:
        np.minimum.at(highest, end, np.arange(len(edges)))
    close = heights - saddles[edges[np.minimum(highest, len(edges) - 1)]] < 16 * MOST_PROMINENCE
    asking = np.unique(highest[(highest < len(edges)) & close])
    return ends[0, asking], ends[1, asking]


def _annotated(labels: NDArray[np.int32], truth: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the nucleus that each basin lies in for the most part, 0 for the background."""
    columns = int(truth.max()) + 1
    places = labels.ravel().astype(np.int64) * columns + truth.ravel()
    counts = np.bincount(places, minlength=(int(labels.max()) + 1) * columns)
    return counts.reshape(-1, columns)[1:].argmax(1)


def moments(labels: NDArray[np.int32]) -> Moments:
    """Sum each label's pixels: (n, 6)."""
    rows, columns = (axis.astype(np.uint64) for axis in np.indices(labels.shape))
    terms = (np.ones_like(rows), rows, columns, rows * rows, rows * columns, columns * columns)
    sums = np.zeros((int(labels.max()) + 1, len(terms)), np.uint64)
    for i, term in enumerate(terms):
        np.add.at(sums[:, i], labels.ravel(), term.ravel())
    return sums[1:]


def shapes(sums: Moments, pixel: float = 1.0) -> NDArray[np.int64]:
    """Return diameter, fill and elongation of each row, (n, 3): ``shape_of`` in merge.h."""
    area, row, column, row_row, row_column, column_column = sums.T
    down = 12 * (area * row_row - row * row) + area * area
    across = 12 * (area * column_column - column * column) + area * area
    both = np.abs((12 * (area * row_column - row * column)).astype(np.int64)).astype(np.uint64)
    unit = np.ones(len(sums))
    while (large := (down | across | both) >> np.uint64(30) != 0).any():
        for term in (down, across, both):
            term[large] >>= np.uint64(1)
        unit[large] *= 2
    root = np.sqrt(np.maximum((down * across - both * both).astype(np.int64), 1).astype(float))
    size = area.astype(float)
    return np.stack(
        [
            np.minimum(np.sqrt(size * pixel) * 16, 4095),
            np.minimum(size * size * size * (256 * 3 / np.pi) / (root * unit), 512),
            np.minimum((down + across).astype(float) * 128 / root, 2560),
        ],
        axis=1,
    ).astype(np.int64)


def inputs(
    heights: NDArray[np.int64],
    sums: Moments,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    passes: NDArray[np.int64],
    scale: float = 1.0,
) -> NDArray[np.int64]:
    """Return what the network sees of pairs: ``are_one`` in merge.h.

    Parameters
    ----------
    heights : ndarray, (n,) int64
        Of the basins' peaks, in sixteenths of a distance.
    sums : ndarray, (n, 6) uint64
        Of the basins.
    first, second : ndarray, (m,) int64
        Which basins the pairs are of.
    passes : ndarray, (m,) int64
        Heights of their saddles, in sixteenths.
    scale : float
        How far the maps were magnified.

    Returns
    -------
    ndarray, (m, MERGE_INPUTS) int64
    """
    pixel = 1 / (scale * scale)
    own = np.column_stack([heights, shapes(sums, pixel)])
    one, other = own[first], own[second]
    differ = one != other
    where = differ.argmax(1)[:, None]
    is_lower = np.take_along_axis(one < other, where, 1)
    lower, higher = np.where(is_lower, one, other), np.where(is_lower, other, one)
    every = shapes(sums[first] + sums[second], pixel)
    sizes = np.stack([lower[:, 1:], higher[:, 1:], every], axis=2).reshape(len(first), 9)
    return np.column_stack([lower[:, 0] - passes, lower[:, 0], higher[:, 0], sizes])


def train(pairs: Pairs, epochs: int = EPOCHS) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Train on pairs, in which rare data sets weigh more.

    Returns
    -------
    units : ndarray, (MERGE_UNITS, MERGE_INPUTS + 1)
        Weights of the inputs, and the offset.
    output : ndarray, (MERGE_UNITS + 1,)
        The same of the output, which is above 0 where a pair is to be merged.
    """
    keras.utils.set_random_seed(0)
    mean, deviation = pairs.inputs.mean(0), pairs.inputs.std(0) + 1
    _, which, counts = np.unique(pairs.datasets, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[which])
    network = keras.Sequential(
        [
            keras.Input((MERGE_INPUTS,)),
            keras.layers.Dense(MERGE_UNITS, "relu"),
            keras.layers.Dense(1),
        ]
    )
    steps = epochs * -(-len(weights) // BATCH)
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)),
        keras.losses.BinaryCrossentropy(from_logits=True),
    )
    network.fit(
        ((pairs.inputs - mean) / deviation).astype(np.float32),
        pairs.are_one[:, None].astype(np.float32),
        BATCH,
        epochs,
        verbose=0,
        sample_weight=weights / weights.mean(),
    )
    kernel, offset, output, last = (np.float64(value) for value in network.get_weights())
    units = kernel.T / deviation
    threshold = np.log(PROBABILITY / (1 - PROBABILITY))
    return (
        np.column_stack([units, offset - units @ mean]),
        np.append(output[:, 0], last[0] - threshold),
    )


def rounded(
    units: NDArray[np.float64], output: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Round weights to whole numbers, of which only the sign of the output remains."""
    scaled = np.column_stack([units[:, :-1], units[:, -1] / _INPUT_ONE])
    scale = min(_SCALE, MOST_MERGE_WEIGHT / np.abs(scaled).max())
    last = np.append(output[:-1], output[-1] * scale / _UNIT_ONE)
    return (
        np.rint(scale * scaled).astype(np.int64),
        np.rint(last * MOST_MERGE_WEIGHT / np.abs(last).max()).astype(np.int64),
    )


def decide(
    inputs: NDArray[np.int64], units: NDArray[np.int64], output: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which pairs are one nucleus: ``says_one`` in merge.h."""
    values = inputs @ units[:, :-1].T + units[:, -1] * _INPUT_ONE
    found: NDArray[np.bool_] = np.maximum(values, 0) @ output[:-1] + output[-1] * _UNIT_ONE > 0
    return found


def write(model: Model, units: NDArray[np.int64], output: NDArray[np.int64]) -> Path:
    """Write the weights into a model's JSON file."""
    merging = {
        "least_prominence": LEAST_PROMINENCE,
        "most_prominence": MOST_PROMINENCE,
        "units": units.tolist(),
        "output": output.tolist(),
    }
    decoding = model.metadata["decoding"] | {"merging": merging}
    path = model.path.with_suffix(".json")
    description = model.metadata | {"decoding": decoding}
    images.write(path, (json.dumps(description, indent=2) + "\n").encode())
    return path


if __name__ == "__main__":
    main()
