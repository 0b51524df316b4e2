"""The model in the package's own kernels: what the file says, whatever the level."""

import dataclasses
import hashlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from nucleiseg import Model, ModelError, Segmenter, images
from nucleiseg._native import cpu as kernels
from nucleiseg.engines import native, onnx_file
from nucleiseg.model import shipped

IMAGES = sorted((Path(__file__).parents[1] / "data" / "images").iterdir())
SIDE = 256

NARROW = Model.load("nuclei-fast").path
"""The model whose file is changed here."""

LEVELS = kernels.convolution_levels()


@pytest.fixture(scope="module", params=shipped())
def model(request):
    return Model.load(request.param)


@pytest.fixture(scope="module")
def tiles(model):
    made = []
    for path in IMAGES:
        picture = images.read(path)
        limits = kernels.limits(picture, *model.percentiles)
        picture = kernels.normalize(picture, *limits[:3])
        made.append(kernels.gather(picture, np.array([[0, 0]]), SIDE, SIDE))
    return np.concatenate(made)


@pytest.fixture(scope="module")
def expected(model, tiles):
    """Every node of the file as it stands, one after the other."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    (cells,) = session.run(None, {"tiles": tiles})
    return cells.astype(int)


@pytest.fixture
def renamed(tmp_path):
    """Writes another graph as a model, with its description."""

    def write(graph: onnx.ModelProto | bytes) -> Model:
        content = graph if isinstance(graph, bytes) else graph.SerializeToString()
        path = tmp_path / "other.onnx"
        path.write_bytes(content)
        about = json.loads(NARROW.with_suffix(".json").read_text())
        about["sha256"] = hashlib.sha256(content).hexdigest()
        path.with_suffix(".json").write_text(json.dumps(about))
        return Model.load(path)

    return write


@pytest.mark.parametrize("level", LEVELS)
def test_the_kernels_compute_what_the_file_says(model, tiles, expected, level):
    """At most one level of 255, from the table of logits: all levels before it are the same."""
    difference = np.abs(native.Engine(model, 1, level).infer(tiles) - expected)
    assert difference.max() <= 1
    assert difference.mean() < 0.1


def test_levels_and_threads_give_the_same_bytes(model, tiles):
    first = native.Engine(model, 1, LEVELS[0]).infer(tiles)
    for level in LEVELS:
        for threads in (1, 2, 5):
            found = native.Engine(model, threads, level).infer(tiles)
            np.testing.assert_array_equal(found, first)


DIGEST = """
import hashlib, sys
import numpy as np
import nucleiseg
from nucleiseg import images
segmenter = nucleiseg.Segmenter(device="cpu", threads=2)
found = hashlib.sha256()
for path in sys.argv[1:]:
    image = images.read(path)
    for output in ("maps", "labels"):
        found.update(np.ascontiguousarray(segmenter.segment(image, output, scale=1)).tobytes())
print(found.hexdigest())
"""


def test_maps_and_labels_of_the_examples_have_one_digest():
    command = [sys.executable, "-c", DIGEST, *map(str, IMAGES)]
    found = set()
    for level in LEVELS:
        environment = {**os.environ, "NUCLEISEG_SIMD": level}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


def test_the_kernels_are_what_runs_the_shipped_model(model, caplog):
    with caplog.at_level(logging.INFO, "nucleiseg"):
        Segmenter(model, device="cpu")
    assert f"runs on the CPU with its own int8 kernels ({LEVELS[-1]})" in caplog.text
    assert native.Engine(model, 1).name == f"its own int8 kernels ({LEVELS[-1]})"


def test_another_network_is_refused(renamed):
    graph = onnx.load(NARROW)
    # The same network, but for a node that these kernels do not know.
    graph.graph.node.append(onnx.helper.make_node("Abs", ["cells"], ["positive"]))
    graph.graph.output[0].name = "positive"
    other = renamed(graph)
    with pytest.raises(ModelError, match=r"has Abs where Cast is expected"):
        Segmenter(other, device="cpu")


@pytest.mark.parametrize(
    ("operator", "attribute", "value"),
    [
        ("Conv", "strides", [3, 3]),
        ("Conv", "pads", [0, 0, 0, 0]),
        ("MaxPool", "strides", [1, 1]),
        ("DepthToSpace", "mode", "CRD"),
        ("Concat", "axis", 2),
    ],
)
def test_layers_of_another_shape_are_another_network(renamed, operator, attribute, value):
    graph = onnx.load(NARROW)
    node = [one for one in graph.graph.node if one.op_type == operator][1]
    changed = next(one for one in node.attribute if one.name == attribute)
    changed.CopyFrom(onnx.helper.make_attribute(attribute, value))
    with pytest.raises(ModelError, match=attribute):
        native.Engine(renamed(graph), 1)


def changed(name, values):
    """The shipped graph with another constant."""
    graph = onnx.load(NARROW)
    (tensor,) = (one for one in graph.graph.initializer if one.name == name)
    old = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values(old), name))
    return graph


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("stem_offset", lambda old: old * np.float32("nan"), "finite"),
        ("one", lambda old: -old, "finite numbers of float32 above 0"),
        ("one", np.zeros_like, "finite numbers of float32 above 0"),
        ("zero", lambda old: old + np.int8(1), "zero point 1; expected are int8 and 0"),
        ("one", lambda old: np.repeat(old, 8), "another network"),
        ("stem_kernel", lambda old: old[:, :, :2], "kernel: got shape"),
        ("stem_kernel", lambda old: old / 2, "not whole numbers from -127 to 127"),
        ("stem_kernel", lambda old: old * 1e9, "not whole numbers from -127 to 127"),
        ("stem_kernel", lambda old: old[:8], "no factor and offset for each channel"),
        ("stem_factor", lambda old: old[:, :8], "no factor and offset for each channel"),
        ("stem_factor", lambda old: -old, "finite numbers of float32 above 0"),
        ("down0a_factor", lambda old: old[:, :8], "no factor and offset for each channel"),
        ("down0a_factor", lambda old: -old, "finite numbers of float32 above 0"),
        ("down0a_kernel", lambda old: old[:, :8], "of 8 input channels, its sources have 16"),
        ("down0a_kernel", lambda old: old.astype(np.uint8), "not rounded as expected"),
        ("up0_kernel", lambda old: old[:, :16], "of 16 input channels, its sources have 32"),
        ("grow0_kernel", lambda old: np.repeat(old, 2, 2), r"kernel of \(64, 32, 2, 1\)"),
        ("grow0_offset", lambda old: np.arange(old.size, dtype="f4").reshape(old.shape), "block"),
        ("full", lambda old: old - 1, "254.0 where 255 is expected"),
        ("half", lambda old: old * 0, "0.0 where 0.5 is expected"),
        ("down0a_offset", lambda old: old * np.float32(1e30), "bring sums below"),
    ],
)
def test_constants_that_do_not_fit_are_refused_when_the_model_is_loaded(
    renamed, name, values, words
):
    with pytest.raises(ModelError, match=words):
        native.Engine(renamed(changed(name, values)), 1)


def as_before(graph: onnx.ModelProto, value: float = 0.25) -> onnx.ModelProto:
    """The network as earlier versions wrote it: levels and weights have scales, sums a bias."""
    constants = {one.name: one for one in graph.graph.initializer}
    nodes = {name: node for node in graph.graph.node for name in node.output}

    def put(name, values):
        made = onnx.numpy_helper.from_array(np.array(values, np.float32), name)
        graph.graph.initializer.append(made)
        return name

    def values_of(name):
        return onnx.numpy_helper.to_array(constants[name])

    scale = put("scale", value)
    for node in list(graph.graph.node):
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.input[1] = scale
        if node.op_type != "Add" or "_factor" not in nodes[node.input[0]].input[1]:
            continue
        scaled = nodes[node.input[0]]
        conv = nodes[scaled.input[0]]
        after = 1 if conv.name.startswith("logits") else value  # of what comes out
        factors, offsets = values_of(scaled.input[1]), values_of(node.input[1])
        if conv.name.startswith("stem"):
            scaled.input[1] = put("stem_kernel_scale", factors * after)
            node.input[1] = put("stem_bias", offsets * after)
            continue
        weights = nodes[conv.input[1]]
        name, count = weights.input[0], factors.size
        weights.input[1] = put(f"{name}_scale", factors.ravel() * after / value)
        zeros = onnx.numpy_helper.from_array(np.zeros(count, np.int8), f"{name}_zero")
        graph.graph.initializer.append(zeros)
        weights.input[2] = zeros.name
        weights.attribute.append(onnx.helper.make_attribute("axis", 0))
        conv.input.append(put(f"{name}_bias", offsets.ravel() * after))
        conv.output[0] = node.output[0]
        graph.graph.node.remove(scaled)
        graph.graph.node.remove(node)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def test_files_of_earlier_versions_give_the_same_bytes(renamed, tiles):
    older = renamed(as_before(onnx.load(NARROW)))
    expected = native.Engine(Model.load("nuclei-fast"), 1).infer(tiles[:2])
    np.testing.assert_array_equal(native.Engine(older, 1).infer(tiles[:2]), expected)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("down0a_kernel_scale", lambda old: old[:8], "each scaled"),
        ("down0a_kernel_zero", lambda old: old + np.int8(1), "not rounded as expected"),
        ("down0a_kernel_bias", lambda old: old * np.float32("nan"), "finite"),
        ("scale", lambda old: -old, "finite numbers of float32 above 0"),
        ("stem_bias", lambda old: old[:, :8], "no factor and offset for each channel"),
    ],
)
def test_constants_of_earlier_versions_that_do_not_fit_are_refused(renamed, name, values, words):
    graph = as_before(onnx.load(NARROW))
    (tensor,) = (one for one in graph.graph.initializer if one.name == name)
    old = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values(old), name))
    with pytest.raises(ModelError, match=words):
        native.Engine(renamed(graph), 1)


def test_a_stride_that_the_network_does_not_have_is_refused(renamed):
    other = renamed(NARROW.read_bytes())
    with pytest.raises(ModelError, match="multiples of 32 pixels, its description says 16"):
        native.Engine(dataclasses.replace(other, stride=16), 1)


def field(number, content):
    """One field of bytes of a protocol buffer."""
    size = len(content)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7]) + content


RING = b"".join(
    field(1, field(1, source) + field(2, target) + field(4, b"Relu"))
    for source, target in ((b"b", b"a"), (b"a", b"b"))
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (field(7, RING), "reads 'b' before it is computed"),
        (b"\xff" * 1_000_000, "a number that is cut off, or of more than 64 bits"),
        (field(7, b"") * 2, "2 times field 7"),
        (b"\x38\xff\xff\xff\xff\x7f", "a number in field 7"),
        (b"\x3d\0", "a message that is cut off"),
    ],
    ids=["ring", "long number", "two graphs", "number for a graph", "cut off"],
)
def test_what_recurses_or_promises_memory_is_refused_as_a_file(content, words):
    with pytest.raises(ValueError, match=words):
        onnx_file.read(content)


def test_the_reader_reads_what_the_onnx_package_reads():
    expected = onnx.load(NARROW).graph
    found = onnx_file.read(NARROW.read_bytes())
    assert [node.operator for node in found.nodes] == [node.op_type for node in expected.node]
    for mine, theirs in zip(found.nodes, expected.node, strict=True):
        assert (mine.inputs, mine.outputs) == (list(theirs.input), list(theirs.output))
        values = {one.name: onnx.helper.get_attribute_value(one) for one in theirs.attribute}
        text = {name: one.decode() for name, one in values.items() if isinstance(one, bytes)}
        assert mine.attributes == {**values, **text}
    assert found.constants.keys() == {one.name for one in expected.initializer}
    for one in expected.initializer:
        np.testing.assert_array_equal(found.constants[one.name], onnx.numpy_helper.to_array(one))


def test_what_is_no_onnx_file_is_refused():
    content = NARROW.read_bytes()
    for broken in (b"", b"not a model", content[:1000], content[: len(content) // 2]):
        with pytest.raises(ValueError, match=r"no ONNX graph|cut off|which no ONNX file has"):
            onnx_file.read(broken)


def test_a_model_file_that_nobody_can_read_says_so(renamed):
    with pytest.raises(ModelError, match="has a field of kind 6, which no ONNX file has"):
        Segmenter(renamed(b"not a model"), device="cpu")
