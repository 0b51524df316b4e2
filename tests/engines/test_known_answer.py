"""The known answer, with a TensorRT that is played on the emulated device."""

import logging
import sys
import types

import fake_tensorrt
import numpy as np
import pytest
from typer.testing import CliRunner

import nucleiseg._native as native
from nucleiseg import Model, Segmenter, backends, device, tensorrt
from nucleiseg.cli import app
from nucleiseg.engines import cuda, known_answer
from nucleiseg.engines import native as integers

pytestmark = pytest.mark.skipif(
    not hasattr(native, "emulated"), reason="this build has no _native.emulated"
)

RIGHT = "found"
ROUNDED = "np.where(found < 255, found + 1, found)"
SHIFTED = "np.where(found < 252, found + 3, found)"
ONE_FAR = "np.where(np.arange(found.size).reshape(found.shape) == 5000, 255 - found, found)"


@pytest.fixture
def model():
    return Model.load()


@pytest.fixture
def engine(model, monkeypatch, tmp_path):
    """Makes an engine of a plan; what was built is counted."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    monkeypatch.setattr(fake_tensorrt, "__name__", "tensorrt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = []

    def make(plan):
        def compiled(recipe, free):
            built.append((recipe, free))
            return plan.encode()

        monkeypatch.setattr(tensorrt, "compile_engine", compiled)
        return tensorrt.Engine(model, native.emulated)

    make.built = built
    return make


@pytest.fixture
def gpu(monkeypatch):
    """Makes the emulated device the one that there is, with TensorRT installed."""
    monkeypatch.setattr(native, "cuda", native.emulated, raising=False)
    monkeypatch.setattr(device, "find", lambda: [device.Part("GPU", True, "emulated", "")])
    monkeypatch.setattr(device, "tensorrt_module", lambda: "tensorrt")


def test_the_tile_has_nuclei_and_ground(model):
    cells = integers.Engine(model, 1).infer(known_answer.picture()[np.newaxis])
    nuclei = cells[..., ::2] >= model.nucleus_threshold
    assert 0.1 < nuclei.mean() < 0.5
    assert cells[..., 1::2].max() > model.marker_threshold


def test_the_packages_own_engine_gives_it_exactly(model):
    own = cuda.Engine(model, native.emulated)
    assert known_answer.difference(model, own, native.emulated) == (0, 0)


@pytest.mark.parametrize("plan", [RIGHT, ROUNDED])
def test_an_engine_that_rounds_otherwise_is_taken(engine, plan):
    assert engine(plan).name == "TensorRT"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (SHIFTED, r"by 2\.\d\d of 255 levels in the mean and by up to 3; accepted are 1 and 64"),
        (ONE_FAR, r"by 0\.0\d of 255 levels in the mean and by up to \d{2,3}; accepted"),
    ],
)
def test_a_wrong_engine_is_refused_each_time_it_is_loaded(engine, plan, words):
    for _ in range(2):
        with pytest.raises(RuntimeError, match=words):
            engine(plan)
    assert len(engine.built) == 1


def test_the_command_tries_the_engine_where_its_gpu_is(engine, gpu):
    with pytest.raises(RuntimeError, match="known answer is wrong"):
        engine(SHIFTED)
    done = CliRunner().invoke(app, ["build"])
    assert done.exit_code == 2
    assert "its known answer is wrong" in done.stderr


def test_the_command_names_what_it_built(engine, gpu):
    engine(RIGHT)
    done = CliRunner().invoke(app, ["build"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "TensorRT 10.3: 0.0 MB, was there, " in done.stdout


def test_an_engine_that_writes_nothing_is_refused(model):
    class Idle:
        largest_tile = 2048

        def enqueue(self, tiles, cells, shape, stream, memory):
            pass

    with pytest.raises(RuntimeError, match="known answer is wrong"):
        known_answer.check(model, Idle(), native.emulated)


def test_the_packages_own_engine_runs_in_its_place(engine, gpu, monkeypatch, model, caplog):
    with pytest.raises(RuntimeError, match="known answer is wrong"):
        engine(SHIFTED)
    with caplog.at_level(logging.WARNING, "nucleiseg"):
        backend = backends.choose("cuda", model, 2)
    assert isinstance(backend.engine, cuda.Engine)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "TensorRT is not used, but its own int8 kernels (mma): its known answer is wrong: it "
    )


def test_a_right_engine_runs_images(engine, gpu, monkeypatch):
    times = iter([1.0, 2.0])
    monkeypatch.setattr(backends, "_milliseconds", lambda kernels, engine: next(times))
    engine(RIGHT)
    image = np.tile(known_answer.picture(), (2, 1, 1))
    found = Segmenter(device="cuda")
    assert found._backend.engine.name == "TensorRT"
    expected = Segmenter(device="cpu").segment(image, "labels", scale=1)
    for _ in range(4):
        np.testing.assert_array_equal(found.segment(image, "labels", scale=1), expected)


def test_an_engine_is_for_one_kind_of_gpu(engine, monkeypatch):
    """Cards of one compute capability have other multiprocessors, and so other kernels."""
    engine(RIGHT)
    here = native.emulated.devices()
    (first, free), names = engine.built[0], set()
    assert free == pytest.approx(native.emulated.memory()[0], rel=0.1)
    changes = [{}, {"name": "another"}, {"multiprocessors": here[0]["multiprocessors"] + 1}]
    for change in changes:
        monkeypatch.setattr(native.emulated, "devices", lambda c=change: [{**here[0], **c}])
        engine(RIGHT)
        names.add(engine.built[-1][0].filename)
    assert len(engine.built) == len(names) == 3
    assert first.key["GPU"] == f"{here[0]['name']}, {here[0]['multiprocessors']} multiprocessors"


def test_kernels_that_are_compiled_when_it_runs_are_there_before_a_graph(engine, monkeypatch):
    """As with TensorRT for RTX, whose graphs would keep the kernels that stand in for them."""
    made = []

    class Config:
        def __init__(self):
            made.append(self)

        def create_runtime_cache(self):
            return types.SimpleNamespace(serialize=lambda: b"kernels")

        set_execution_context_allocation_strategy = set_runtime_cache = lambda self, value: None

    strategy = types.SimpleNamespace(EAGER="eager", LAZY="lazy")
    for name, value in {
        "IRuntimeCache": object, "DynamicShapesKernelSpecializationStrategy": strategy,
    }.items():  # fmt: skip
        monkeypatch.setattr(fake_tensorrt, name, value, raising=False)
    monkeypatch.setattr(
        fake_tensorrt.Engine, "create_runtime_config", lambda self: Config(), raising=False
    )
    engine(RIGHT)
    assert made[-1].dynamic_shapes_kernel_specialization_strategy == "eager"
