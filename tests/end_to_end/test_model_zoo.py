"""The packages of the models for bioimage.io: valid, and what runs them gives the engine's maps."""

import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

spec = pytest.importorskip("bioimageio.spec", reason="needs bioimageio.spec: '.[test]'")

from nucleiseg.model import Model, shipped  # noqa: E402

TOOL = Path(__file__).parents[2] / "tools" / "model_zoo.py"


@pytest.fixture(scope="module")
def tool():
    found = importlib.util.spec_from_file_location("model_zoo", TOOL)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=shipped())
def packaged(request, tool, tmp_path_factory):
    model = Model.load(request.param)
    target = tmp_path_factory.mktemp("zoo") / f"{request.param}.zip"
    assert tool.package(model, target) == ""
    return model, target


def array(target, name):
    with zipfile.ZipFile(target) as package:
        return np.load(io.BytesIO(package.read(name)))


def test_a_package_is_valid(packaged):
    model, target = packaged
    description = spec.load_description(target, perform_io_checks=True)
    assert description.validation_summary.status in ("passed", "valid-format")
    assert (description.type, str(description.version)) == ("model", model.version)
    assert description.format_version.startswith("0.5.")
    assert [author.name for author in description.authors] == ["The nucleiseg developers"]
    assert description.license == "CC-BY-4.0"


def test_a_package_holds_all_that_it_names(packaged):
    model, target = packaged
    with zipfile.ZipFile(target) as package:
        found = set(package.namelist())
    names = ("README.md", "cover.png", "network.onnx", "input.npy", "output.npy")
    assert found >= {*names, f"{model.name}.json"}
    assert found & {"rdf.yaml", "bioimageio.yaml"}


def test_the_steps_before_the_network_leave_the_test_tensor_as_it_is(packaged):
    model, target = packaged
    tile = array(target, "input.npy")
    low, high = np.percentile(tile, model.percentiles)
    scaled = np.clip((tile - low) / (high - low + 1e-6), 0, 1) * 255 + 0.5
    np.testing.assert_array_equal(scaled.astype(np.uint8), tile)


def test_onnx_runtime_gives_the_maps_of_the_engine(packaged, tool):
    model, target = packaged
    tile, expected = array(target, "input.npy"), array(target, "output.npy")
    np.testing.assert_array_equal(expected, tool.maps(model, tile))
    assert expected[..., 0].max() > 0.9
    with zipfile.ZipFile(target) as package:
        content = package.read("network.onnx")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: tile})
    assert found.shape == expected.shape
    apart = np.abs(found - expected)
    tolerance = tool.TOLERANCE
    most = tolerance["absolute_tolerance"] + tolerance["relative_tolerance"] * expected
    assert 1e6 * (apart > most).mean() <= tolerance["mismatched_elements_per_million"]
    assert apart.max() < 0.05
