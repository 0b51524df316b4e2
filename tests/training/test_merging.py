"""The network that merges basins: what it sees, how it is rounded, and where it is written."""

import json
import shutil

import numpy as np
import pytest

from nucleiseg import Model, Segmenter, data
from nucleiseg._native import cpu
from training import merging

EXAMPLES = ["fluorescence", "stained"]


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("nuclei-fast")


@pytest.fixture(params=EXAMPLES)
def maps(request, segmenter):
    return segmenter.segment(data.example(request.param), "maps", scale=1)


def weights_of(model: Model) -> tuple[np.ndarray, np.ndarray]:
    weights = np.array(model.merging.weights)
    return weights[:-17].reshape(16, 13), weights[-17:]


def test_training_sees_the_pairs_that_the_package_decides_on(maps, segmenter):
    """What is decided in NumPy merges the basins that the package merges."""
    model = segmenter.model
    rule = (model.nucleus_threshold, model.marker_threshold, merging.LEAST_PROMINENCE, 0, 0, 0)
    basins, _, peaks, prominences, neighbours = cpu.nuclei(maps, *rule, None, 255)
    heights = np.rint(16 * peaks).astype(int)
    saddles = heights - np.rint(16 * prominences).astype(int)
    first, second = merging._asked(heights, saddles, neighbours)
    seen = merging.inputs(heights, merging.moments(basins), first, second, saddles[first])
    names = np.arange(len(heights) + 1)
    are_one = merging.decide(seen, *weights_of(model))
    assert 0 < are_one.sum() < len(are_one)
    for one, other in zip(first[are_one] + 1, second[are_one] + 1, strict=True):
        names[names == names[other]] = names[one]
    labels, count = cpu.label(maps, *rule, model.merging)
    assert count == len(np.unique(names)) - 1
    pairs = np.unique(np.stack([names[basins], labels]).reshape(2, -1), axis=1)
    assert pairs.shape[1] == count + 1


def test_pairs_are_named_by_the_annotation(maps, segmenter):
    """Where basins are the annotation no pair is one nucleus; where all is one nucleus, each is."""
    model = segmenter.model
    rule = (model.nucleus_threshold, model.marker_threshold, merging.LEAST_PROMINENCE, 0, 0, 0)
    basins, _ = cpu.label(maps, *rule)
    seen, are_one = merging._pairs(maps, basins, model)
    assert len(seen) > 0
    assert not are_one.any()
    _, are_one = merging._pairs(maps, np.ones_like(basins), model)
    assert are_one.all()
    nothing, _ = merging._pairs(maps, np.zeros_like(basins), model)
    assert len(nothing) == 0
    nothing, _ = merging._pairs(np.zeros((40, 40, 2), np.uint8), np.ones((40, 40), np.int32), model)
    assert nothing.shape == (0, 12)


def test_a_network_learns_what_can_be_learned_and_rounding_keeps_it():
    rng = np.random.default_rng(5)
    seen = rng.integers(0, (1024, 4080, 4080, *[4095] * 3, *[512] * 3, *[2560] * 3), (4000, 12))
    pairs = merging.Pairs(seen, seen[:, 0] < 400, np.array(["one", "two"] * 2000))
    units, output = merging.train(pairs, epochs=10)
    whole = merging.rounded(units, output)
    for values in whole:
        assert values.dtype == np.int64
        assert np.abs(values).max() <= 2**20
    found = merging.decide(seen, *whole)
    exact = np.maximum(seen @ units[:, :-1].T + units[:, -1], 0) @ output[:-1] + output[-1] > 0
    assert (found == pairs.are_one).mean() > 0.9
    assert (found == exact).mean() > 0.998


def test_the_command_writes_the_description_alone(request, tmp_path, capsys):
    model = Model.load("nuclei-fast")
    for suffix in (".onnx", ".json"):
        shutil.copy(model.path.with_suffix(suffix), tmp_path / f"mine{suffix}")
    folder = request.path.parents[1] / "data"
    merging.main([str(tmp_path / "mine.onnx"), "--data", str(folder), "--epochs", "2"])
    assert "pairs, " in capsys.readouterr().out
    made = Model.load(tmp_path / "mine.onnx")
    assert made.merging.weights != model.merging.weights
    before, after = (
        json.loads(path.with_suffix(".json").read_text()) for path in (model.path, made.path)
    )
    for description in (before, after):
        del description["decoding"]["merging"]
    assert before == after
