"""The package's own engine of a GPU, on the emulated device, and when it is taken."""

import dataclasses
import logging

import numpy as np
import pytest

import nucleiseg._native as native
from nucleiseg import Model, ModelError, backends
from nucleiseg.backends import parts
from nucleiseg.engines import cuda, tensorrt

pytestmark = pytest.mark.skipif(
    not hasattr(native, "emulated"), reason="this build has no _native.emulated"
)


@pytest.fixture(scope="module")
def model():
    return Model.load()


@pytest.fixture
def rng():
    return np.random.default_rng(20241122)


@pytest.fixture
def gpu(monkeypatch):
    """Makes the emulated device the one that there is."""
    monkeypatch.setattr(native, "cuda", native.emulated, raising=False)
    monkeypatch.setattr(parts, "find", lambda: [parts.Part("GPU", True, "emulated", "")])


def infer(engine, tiles, stream):
    count, height, width, _ = tiles.shape
    given = native.emulated.to_device(tiles, stream=stream)
    cells = native.emulated.Buffer((count, height // 2, width // 2, 8))
    engine.enqueue(given, cells, stream)
    return native.emulated.to_host(cells, stream=stream)


def test_the_memory_of_a_stream_grows_and_goes_with_it(model, rng):
    engine, cpu = cuda.Engine(model, native.emulated), native.cpu.Network()
    cuda.native.add_layers(model, cpu)
    before = native.emulated.usage()["device_bytes"]
    stream = native.emulated.Stream()
    for shape in ((1, 32, 32, 3), (2, 32, 64, 3), (1, 32, 32, 3)):
        tiles = rng.integers(0, 256, shape, np.uint8)
        np.testing.assert_array_equal(infer(engine, tiles, stream), cpu.run(tiles))
    largest = engine.network.workspace(2, 32, 64)
    assert native.emulated.usage()["device_bytes"] - before == largest
    del stream
    assert native.emulated.usage()["device_bytes"] == before


def test_a_stride_that_the_network_does_not_have_is_refused(model):
    with pytest.raises(ModelError, match="multiples of 32 pixels, its description says 16"):
        cuda.Engine(dataclasses.replace(model, stride=16), native.emulated)


def test_it_runs_where_tensorrt_is_missing(model, gpu, monkeypatch, caplog):
    monkeypatch.setattr(parts, "tensorrt_module", lambda: "")
    with caplog.at_level(logging.INFO, "nucleiseg"):
        backend = backends.choose("cuda", model, 2)
    assert isinstance(backend.engine, cuda.Engine)
    assert "runs on emulated on the host" in caplog.text
    assert "with its own int8 kernels (mma), tiles up to 2048 pixels" in caplog.text


def test_it_runs_where_tensorrt_fails(model, gpu, monkeypatch, caplog):
    def fail(model, kernels):
        raise RuntimeError("TensorRT: cannot\nload it")

    monkeypatch.setattr(parts, "tensorrt_module", lambda: "tensorrt")
    monkeypatch.setattr(tensorrt, "Engine", fail)
    with caplog.at_level(logging.WARNING, "nucleiseg"):
        backend = backends.choose("cuda", model, 2)
    assert isinstance(backend.engine, cuda.Engine)
    (record,) = caplog.records
    words = "TensorRT is not used, but its own int8 kernels (mma): TensorRT: cannot load it"
    assert record.getMessage() == words


def test_tensorrt_runs_where_it_works(model, gpu, monkeypatch):
    class Engine:
        name, largest_tile, largest_batch = "TensorRT", 2048, 4

    monkeypatch.setattr(parts, "tensorrt_module", lambda: "tensorrt")
    monkeypatch.setattr(tensorrt, "Engine", lambda model, kernels: Engine())
    assert backends.choose("cuda", model, 2).engine.name == "TensorRT"
