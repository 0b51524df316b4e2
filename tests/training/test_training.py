"""A whole training in small: images to weights to an int8 file to a mask."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from nucleiseg import Segmenter, images
from training import evaluate, export, quantize, train, unet, weights

numpy = unet.keras.ops.convert_to_numpy

DATA = Path(__file__).parents[1] / "data"
STEPS = 160


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train in two sittings, the second resuming the first."""
    output = tmp_path_factory.mktemp("run")
    arguments = ["--data", str(DATA), "--output", str(output), "--batch", "4"]
    arguments += ["--steps", str(STEPS), "--validate-every", str(STEPS // 2)]
    train.main([*arguments, "--stop-after", str(STEPS // 2)])
    train.main([*arguments, "--resume"])
    return output


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    arguments = ["--weights", str(run / "best.weights.h5"), "--data", str(DATA)]
    quantize.main([*arguments, "--output", str(path)])
    return path


def test_training_resumes_where_it_stopped_and_learns(run):
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [STEPS // 2, STEPS]
    assert float(rows[1]["loss_nucleus"]) < float(rows[0]["loss_nucleus"])
    assert images.read(run / "curves.png").ndim == 3


def test_a_trained_file_finds_nuclei_through_the_package(model):
    description = json.loads(model.with_suffix(".json").read_text())
    # So few steps teach which pixels are nuclei, but the probabilities are still low.
    description["decoding"]["nucleus_threshold"] = 64
    model.with_suffix(".json").write_text(json.dumps(description))
    path = DATA / "images" / "fluorescence_small.png"
    mask = Segmenter(model).segment(path)
    truth = images.read(DATA / "labels" / path.name) > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.5


def test_the_exported_graph_has_plain_operators_and_free_sizes(run):
    proto = export.to_onnx(weights.load(run / "best.weights.h5", export.TRACED_SIZE))
    assert {node.op_type for node in proto.graph.node} == export.PLAIN_OPERATORS
    (shape,) = (value.type.tensor_type.shape for value in proto.graph.input)
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == ["batch", 3, "height", "width"]


def test_the_int8_file_quantises_every_convolution_with_explicit_nodes(model):
    graph = onnx.load(model).graph
    producers = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if "Conv" in node.op_type]
    assert len(convolutions) == 24

    def is_dequantised(name):
        node = producers[name]
        if node.op_type in ("MaxPool", "Concat"):  # they pass int8 on as it is
            return all(map(is_dequantised, node.input))
        return node.op_type == "DequantizeLinear"

    for node in convolutions:
        assert all(map(is_dequantised, node.input[:2]))


def test_packed_weights_come_back(run):
    network = weights.load(run / "best.weights.h5")
    packed = run / "packed.npz"
    packed.write_bytes(weights.pack(network))
    for before, after in zip(network.weights, weights.load(packed).weights, strict=True):
        np.testing.assert_allclose(numpy(before), numpy(after), rtol=1e-3, atol=1e-6)


def test_the_network_costs_what_its_page_says():
    assert unet.multiply_adds_per_pixel(unet.build(size=64)) < 15_000


def test_the_halo_is_the_networks_field_of_view():
    """A change outside a cell's halo leaves its answer, one just inside the halo does not."""
    network = unet.build()
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if "kernel" in weight.path:  # all positive: nothing cancels or dies on the way
            weight.assign(np.abs(rng.normal(0, 0.2, weight.shape)).astype(np.float32))
    logits = unet.keras.Model(network.input, network.get_layer("logits").output)
    cell = slice(256, 256 + unet.STRIDE)
    image = rng.uniform(0, 255, (1, 640, 32, 3)).astype(np.float32)
    answer = numpy(logits(image))[:, cell]
    outside, inside = image.copy(), image.copy()
    outside[:, : cell.start - unet.halo()] = 0
    outside[:, cell.stop + unet.halo() :] = 0
    np.testing.assert_array_equal(numpy(logits(outside))[:, cell], answer)
    inside[:, : cell.start - unet.halo() + unet.STRIDE] = 0
    assert (numpy(logits(inside))[:, cell] != answer).any()


def test_evaluation_prints_int8_and_float32_side_by_side(capsys):
    evaluate.main(["--data", str(DATA), "--all"])
    printed = capsys.readouterr().out
    assert re.search(r"Dice int8 .*Dice float32", printed)
    row = next(line for line in printed.splitlines() if line.startswith("all"))
    images_count, nuclei, dice, _, _, float_dice, *_ = (float(word) for word in row.split()[1:])
    assert (images_count, nuclei) == (7, 363)
    assert dice > 0.8
    assert abs(dice - float_dice) < 0.02
