"""The ONNX file: what it computes is what was learned, whatever runs it."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper

from nucleiseg import Model, images
from nucleiseg._native import cpu
from nucleiseg.engines import native
from training import data, export, integers, quantize, roundings, unet, weights
from training.topology import ACCURATE, FAST

IMAGES = sorted((Path(__file__).parents[1] / "data" / "images").iterdir())
SIDE = 256

numpy = unet.keras.ops.convert_to_numpy


@pytest.fixture(scope="module")
def tiles():
    """One tile of each example image."""
    pictures = [data.normalized(images.read(path)) for path in IMAGES]
    return np.concatenate([cpu.gather(one, np.array([[0, 0]]), SIDE, SIDE) for one in pictures])


@pytest.fixture(scope="module", params=(FAST.name, ACCURATE.name))
def trained(request):
    """The network with weights that find nuclei."""
    return weights.load(weights.FOLDER / "before_rounding" / f"{request.param}.npz")


@pytest.fixture(scope="module")
def network(trained, tiles):
    network = integers.IntegerNetwork(trained)
    integers.calibrate(network, tiles)
    return network


def in_onnxruntime(content: bytes, tiles: np.ndarray) -> np.ndarray:
    """Return the cells as the engines give them: (N, h / 2, w / 2, 8), 0..255."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    if session.get_inputs()[0].name == "tiles":
        return session.run(None, {"tiles": tiles})[0].astype(np.float32)
    (cells,) = session.run(None, {"image": tiles.transpose(0, 3, 1, 2).astype(np.float32)})
    return 255 * cells.transpose(0, 2, 3, 1)


def as_maps(cells: np.ndarray) -> np.ndarray:
    count, height, width, _ = cells.shape
    blocks = cells.reshape(count, height, width, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(count, 2 * height, 2 * width, 2)


def test_normalisation_is_folded_without_a_trace(tiles, trained, network):
    expected = 255 * numpy(trained(tiles[:2].astype(np.float32)))
    fresh = integers.IntegerNetwork(trained)
    for one in (fresh, network):  # evened out or not
        written = export.to_onnx(one, rounding=False).SerializeToString()
        found = as_maps(in_onnxruntime(written, tiles[:2]))
        np.testing.assert_allclose(found, expected, atol=255e-4)


def test_the_written_file_is_the_network(tiles, network):
    expected = 255 * numpy(network(tiles.astype(np.float32)))
    found = as_maps(in_onnxruntime(export.to_onnx(network).SerializeToString(), tiles))
    # Values that lie between two levels round either way, and rounding to bytes is 0.25 of it.
    assert np.abs(found - expected).mean() < 0.5


def test_the_packages_kernels_run_the_written_file(tiles, network, tmp_path):
    path = tmp_path / "written.onnx"
    proto = export.to_onnx(network)
    quantize.save(proto, b"", network.topology, path, {"version": "1", "licence": "", "data": []})
    found = native.Engine(Model.load(path), 1).infer(tiles)
    expected = in_onnxruntime(proto.SerializeToString(), tiles)
    # Rounding to bytes is 0.25 of it; a stem or a channel in the wrong place would be 2 and more.
    assert np.abs(found - expected).mean() < 0.4


def test_every_level_is_signed_and_symmetric(network):
    graph = export.to_onnx(network).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    kinds = ("QuantizeLinear", "DequantizeLinear")
    for node in (one for one in graph.node if one.op_type in kinds):
        zero = constants[node.input[2]]
        assert not zero.any()
        assert zero.dtype == np.int8


def test_all_sums_are_of_whole_numbers(network):
    graph = export.to_onnx(network).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    assert constants["one"] == 1
    kernels = {name: one for name, one in constants.items() if name.endswith("_kernel")}
    for kernel in kernels.values():
        np.testing.assert_array_equal(kernel, np.rint(kernel))
        assert np.abs(kernel.astype(int)).max() == 127
    stem = np.abs(kernels["stem_kernel"]).sum((1, 2, 3))
    assert 255 * stem.max() < 2**24  # as far as float32 counts


@pytest.mark.parametrize("lowest", [0, -127])
def test_pairs_are_settled_without_another_level_anywhere(lowest):
    rng = np.random.default_rng(5)
    factors = (10 ** rng.uniform(-4, -2, 200)).astype(np.float32)
    offsets = rng.normal(0, 20, 200).astype(np.float32)
    largest = np.full(200, 150_000.0)
    found = roundings.settle(factors, offsets, lowest, largest)

    def levels(rounded, pair, sums):
        return np.clip(rounded(sums, *pair), lowest, 127)

    first = slice(8)  # channels, all of whose sums are tried
    sums = np.tile(np.arange(-150_000.0, 150_001), (8, 1))
    expected = levels(roundings.once, (factors[first], offsets[first]), sums)
    again = levels(roundings.once, [each[first] for each in found], sums)
    np.testing.assert_array_equal(again, expected)
    near = roundings.near_ties(factors, offsets, lowest, largest)
    expected = levels(roundings.once, (factors, offsets), near)
    np.testing.assert_array_equal(levels(roundings.once, found, near), expected)
    before, after = (
        (levels(roundings.twice, pair, near) != expected).any(1).sum()
        for pair in ((factors, offsets), found)
    )
    assert after < before / 2


def test_an_integer_file_without_the_values_of_its_levels_does_not_go_on(network):
    proto = export.to_onnx(network)
    del proto.metadata_props[:]
    with pytest.raises(ValueError, match="its metadata has no level_values"):
        integers.restore(network, proto)
