"""What TensorRT is given computes what the shipped file says: run here by ONNX Runtime."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from nucleiseg import Model, ModelError, images
from nucleiseg._native import cpu
from nucleiseg.engines import native
from nucleiseg.engines.tensorrt_graph import PRECISIONS, rewrite

DATA = Path(__file__).parents[1] / "data"
NAMES = sorted(path.stem for path in (DATA / "images").iterdir())
SMALL = ("fluorescence_small", "hematoxylin_eosin")


def session(content: bytes) -> onnxruntime.InferenceSession:
    """Run a graph as it is written: ONNX Runtime 1.32 computes nonsense when it fuses Q/DQ nodes of
    half precision."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


@pytest.fixture(scope="module")
def model():
    return Model.load()


@pytest.fixture(scope="module")
def tiles(model):
    """Each example image as one tile."""
    made = {}
    for name in NAMES:
        image = images.read(DATA / "images" / f"{name}.png")
        picture = cpu.normalize(image, *cpu.limits(image, *model.percentiles)[:3])
        sides = [-(-side // model.stride) * model.stride for side in picture.shape[:2]]
        made[name] = cpu.gather(picture, np.array([[0, 0]]), *sides)
    return made


@pytest.fixture(scope="module")
def expected(model, tiles):
    """What OpenVINO gives."""
    engine = native.Engine(model, threads=1)
    return {name: engine.infer(tile) for name, tile in tiles.items()}


@pytest.fixture(scope="module", params=PRECISIONS)
def cells(request, model, tiles):
    """What the rewritten graph gives."""
    ready = session(rewrite(model, request.param).SerializeToString())
    return {name: ready.run(None, {"tiles": tile})[0] for name, tile in tiles.items()}


def nuclei(model, cells):
    return cells[..., ::2] >= model.nucleus_threshold


def test_it_takes_and_gives_bytes_as_the_kernels_do(cells, expected):
    for name in NAMES:
        assert cells[name].dtype == np.uint8
        assert cells[name].shape == expected[name].shape


def test_masks_are_those_of_openvino(model, cells, expected):
    """Together. Of single images the H&E one differs most (Dice 0.983): it is as far from what ONNX
    Runtime computes of the shipped file itself, for its sums end near halves more often."""
    found, wanted = (
        np.concatenate([nuclei(model, each[name]).ravel() for name in NAMES])
        for each in (cells, expected)
    )
    assert dice(found, wanted) >= 0.995
    for name in NAMES:
        assert dice(nuclei(model, cells[name]), nuclei(model, expected[name])) >= 0.98, name


def test_maps_differ_from_openvinos_by_rounding_alone(cells, expected):
    """A graph without the limits of the levels was 4 of 255 off on the crowded image."""
    for name in NAMES:
        difference = np.abs(cells[name].astype(int) - expected[name])
        assert difference.mean() < 1, name


def mean_dice(masks):
    truths = {name: images.read(DATA / "labels" / f"{name}.png") > 0 for name in NAMES}
    return np.mean([dice(masks[name], truth) for name, truth in truths.items()])


def test_masks_are_as_good_as_those_of_the_float_network(model, tiles, cells):
    from training import predict, weights

    network = weights.load(weights.SHIPPED)
    found, trained = {}, {}
    for name in NAMES:
        height, width = images.read(DATA / "labels" / f"{name}.png").shape
        blocks = nuclei(model, cells[name])[0].reshape(*cells[name].shape[1:3], 2, 2)
        pixels = blocks.transpose(0, 2, 1, 3).reshape(tiles[name].shape[1:3])
        found[name] = pixels[:height, :width]
        maps = predict.maps(network, tiles[name][0])
        trained[name] = maps[:height, :width, 0] >= model.nucleus_threshold
    assert abs(mean_dice(found) - mean_dice(trained)) <= 0.005


def test_int8_is_the_file_but_for_half_precision(model, tiles):
    """Against the shipped file itself, run in the same way."""
    shipped = session(model.path.read_bytes())
    rewritten = session(rewrite(model, "int8").SerializeToString())
    for name, tile in ((name, tiles[name]) for name in SMALL):
        planes = tile.transpose(0, 3, 1, 2).astype(np.float32)
        share = shipped.run(None, {"image": planes})[0].transpose(0, 2, 3, 1)
        found = rewritten.run(None, {"tiles": tile})[0]
        assert np.abs(found - 255 * share).mean() < 0.6, name
        assert dice(nuclei(model, found), share[..., ::2] * 255 + 0.5 >= 160) > 0.99, name


def test_int8_levels_are_signed_and_symmetric(model):
    graph = rewrite(model, "int8").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    zeros = [constants[node.input[2]] for node in graph.node if "uantize" in node.op_type]
    assert len(zeros) > 40
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)


def test_sums_of_two_convolutions_become_one(model):
    kinds = [node.op_type for node in rewrite(model, "int8").graph.node]
    assert (kinds.count("Concat"), kinds.count("Conv")) == (4, 15)
    # The one that adds half before the conversion to bytes.
    assert kinds.count("Add") == 1


def test_float_precisions_have_no_levels_but_their_limits(model):
    for precision in ("fp16", "fp32"):
        kinds = [node.op_type for node in rewrite(model, precision).graph.node]
        assert not any("uantize" in kind for kind in kinds)
        assert kinds.count("Clip") == 18


@pytest.fixture
def changed(model, tmp_path):
    """Gives the model with another graph."""

    def make(change):
        proto = onnx.load(model.path)
        change(proto.graph)
        path = tmp_path / "other.onnx"
        onnx.save(proto, path)
        return replace(model, path=path)

    return make


def set_constant(graph, name, value):
    for tensor in graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(value, name))


def test_unsigned_levels_are_refused(changed):
    """TensorRT takes them for signed ones, which halves their range."""
    unsigned = changed(lambda graph: set_constant(graph, "stem_relu_zero", np.array(0, np.uint8)))
    with pytest.raises(ModelError, match=r"uint8 levels .* TensorRT takes int8 with zero point 0"):
        rewrite(unsigned, "int8")


def test_shifted_levels_are_refused(changed):
    shifted = changed(lambda graph: set_constant(graph, "grow0_zero", np.array(3, np.int8)))
    with pytest.raises(ModelError, match=r"zero point \[3\]"):
        rewrite(shifted, "int8")


def test_the_limits_of_shifted_levels_are_shifted(changed):
    shifted = changed(lambda graph: set_constant(graph, "grow0_zero", np.array(3, np.int8)))
    graph = rewrite(shifted, "fp32").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    limits = constants["grow0_levels_below"], constants["grow0_levels_above"]
    assert limits[0] / limits[1] == pytest.approx(-131 / 124)


def test_scales_that_are_computed_are_refused(changed):
    def compute(graph):
        graph.node.insert(0, helper.make_node("Identity", ["image_scale"], ["computed"]))
        for node in graph.node:
            if node.name == "grow0_levels":
                node.input[1] = "computed"

    with pytest.raises(ModelError, match="computes 'computed'; expected are constant weights"):
        rewrite(changed(compute), "fp16")


def test_an_input_that_is_no_byte_is_refused(changed):
    scaled = changed(lambda graph: set_constant(graph, "image_scale", np.array(0.5, np.float32)))
    with pytest.raises(ModelError, match=r"rounds its input to uint8 with scale 0\.5"):
        rewrite(scaled, "fp16")


def test_values_beyond_half_precision_are_refused(changed):
    wide = changed(lambda graph: set_constant(graph, "logits_bias", np.full(8, 1e6, np.float32)))
    with pytest.raises(ModelError, match="logits_bias that float16 has not; use fp32"):
        rewrite(wide, "fp16")
    rewrite(wide, "fp32")


def without_levels(graph):
    del graph.node[:]
    del graph.initializer[:]
    graph.initializer.append(numpy_helper.from_array(np.ones((8, 3, 2, 2), np.float32), "kernel"))
    convolution = helper.make_node("Conv", ["image", "kernel"], ["cells"], strides=[2, 2])
    graph.node.append(convolution)


def test_a_model_without_levels_is_for_floating_point(changed):
    plain = changed(without_levels)
    with pytest.raises(ModelError, match="no int8 levels; accepted precisions are fp16 and fp32"):
        rewrite(plain, "int8")
    # A dark tile: cells of a network without a sigmoid may leave the range of bytes.
    ready = session(rewrite(plain, "fp16").SerializeToString())
    (cells,) = ready.run(None, {"tiles": np.zeros((1, 4, 4, 3), np.uint8)})
    assert cells.shape == (1, 2, 2, 8)
    assert not cells.any()


def test_another_interface_is_refused(changed):
    def rename(graph):
        graph.output.append(
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 8, None, None])
        )

    with pytest.raises(ModelError, match="outputs cells, logits; expected are image and cells"):
        rewrite(changed(rename), "int8")


def test_a_file_that_is_no_onnx_is_refused(model, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match="onnx cannot read"):
        rewrite(replace(model, path=path), "int8")
