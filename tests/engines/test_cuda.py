"""The package's own engine of a GPU, on the emulated device, and when it is taken."""

import dataclasses
import logging

import numpy as np
import pytest

import nucleiseg._native as native
from nucleiseg import Model, ModelError, backends, device, tensorrt
from nucleiseg.engines import cuda

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
    monkeypatch.setattr(device, "find", lambda: [device.Part("GPU", True, "emulated", "")])


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (2, 32, 64, 3)])
def test_it_gives_the_cpus_bytes(model, rng, shape):
    engine, cpu = cuda.Engine(model, native.emulated), native.cpu.Network()
    cuda.native.add_layers(model, cpu)
    tiles = rng.integers(0, 256, shape, np.uint8)
    device = cuda.device(native.emulated, engine)
    for by_graph in (False, True):
        found = device.infer(tiles, by_graph=by_graph)
        np.testing.assert_array_equal(found, cpu.run(tiles), strict=True)


def test_a_stride_that_the_network_does_not_have_is_refused(model):
    with pytest.raises(ModelError, match="multiples of 32 pixels, its description says 16"):
        cuda.Engine(dataclasses.replace(model, stride=16), native.emulated)


def test_it_runs_where_tensorrt_is_missing(model, gpu, monkeypatch, caplog):
    monkeypatch.setattr(device, "tensorrt_module", lambda: "")
    with caplog.at_level(logging.INFO, "nucleiseg"):
        backend = backends.choose("cuda", model, 2)
    assert isinstance(backend.engine, cuda.Engine)
    assert "runs on emulated on the host" in caplog.text
    assert "with its own int8 kernels (mma), tiles up to 2048 pixels" in caplog.text


def test_it_runs_where_tensorrt_fails(model, gpu, monkeypatch, caplog):
    def fail(model, kernels):
        raise RuntimeError("TensorRT: cannot\nload it")

    monkeypatch.setattr(device, "tensorrt_module", lambda: "tensorrt")
    monkeypatch.setattr(tensorrt, "Engine", fail)
    with caplog.at_level(logging.WARNING, "nucleiseg"):
        backend = backends.choose("cuda", model, 2)
    assert isinstance(backend.engine, cuda.Engine)
    (record,) = caplog.records
    words = "TensorRT is not used, but its own int8 kernels (mma): TensorRT: cannot load it"
    assert record.getMessage() == words


@pytest.mark.parametrize(("took", "name"), [(0.7, "TensorRT"), (0.9, "its own int8 kernels (mma)")])
def test_tensorrt_runs_where_it_is_faster(model, gpu, monkeypatch, caplog, took, name):
    """By a fifth: the package's own engine gives the CPU's bytes."""

    class Engine:
        name, largest_tile, largest_batch = "TensorRT", 2048, 4

        def enqueue(self):
            """Nothing runs here: the choice is all that is tested."""

    monkeypatch.setattr(device, "tensorrt_module", lambda: "tensorrt")
    monkeypatch.setattr(tensorrt, "Engine", lambda model, kernels: Engine())
    times = iter([took, 1.0])
    monkeypatch.setattr(backends, "_milliseconds", lambda kernels, engine: next(times))
    with caplog.at_level(logging.INFO, "nucleiseg"):
        assert backends.choose("cuda", model, 2).engine.name == name
    words = "TensorRT is not used, but its own int8 kernels (mma): 1.000 ms for a tile, not 0.900"
    assert (words in caplog.messages) == (took == 0.9)


def test_an_answer_is_written_into_what_is_given(model, rng):
    """So that what an engine leaves unwritten can be seen."""

    class Idle:
        def enqueue(self, tiles, cells, shape, stream, memory):
            pass

    tiles = rng.integers(0, 256, (1, 32, 32, 3), np.uint8)
    for engine, changes in ((cuda.Engine(model, native.emulated), True), (Idle(), False)):
        cells = np.full((1, 16, 16, 8), 9, np.uint8)
        assert cuda.device(native.emulated, engine).infer(tiles, cells) is cells
        assert (cells != 9).any() == changes


def test_tiles_cells_and_repeats_are_checked(model):
    device = cuda.device(native.emulated, cuda.Engine(model, native.emulated))
    tiles = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match=r"tiles: got shape \(1, 31, 32, 3\).*multiples of 2"):
        device.infer(tiles[:, :31])
    with pytest.raises(ValueError, match=r"cells: got shape \(1, 16, 15, 8\).*\(N, h"):
        device.infer(tiles, np.zeros((1, 16, 15, 8), np.uint8))
    with pytest.raises(ValueError, match="cells: got a read-only array"):
        device.infer(tiles, np.broadcast_to(np.uint8(0), (1, 16, 16, 8)))
    with pytest.raises(ValueError, match="repeats: got 0; accepted is 1 or more"):
        device.milliseconds(tiles, 0)


def test_a_kernel_and_a_copy_run(model):
    native.emulated.try_kernel()
    assert native.emulated.copy_milliseconds(1000, 2) >= 0


def test_engines_are_timed_on_the_device(model):
    engine = cuda.Engine(model, native.emulated)
    assert backends._milliseconds(native.emulated, engine, side=32, repeats=1) > 0
