"""Real engines, built by TensorRT for RTX on this machine, which needs no GPU for that."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import needs
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nucleiseg import Model, ModelError, _native, console, tensorrt
from nucleiseg.model import DEFAULT
from nucleiseg.tensorrt_cache import LIBRARIES, Recipe
from training.topology import NETWORKS

COMMAND = [sys.executable, "-m", "nucleiseg", "build"]


@pytest.fixture(scope="module")
def model():
    return Model.load("nuclei-fast")


@pytest.fixture(scope="module")
def recipe(model):
    """Returns what to build."""

    def make(capability=(8, 0)):
        return Recipe(model, tensorrt.find("tensorrt_rtx"), capability)

    return make


@pytest.fixture(scope="module")
def built(recipe):
    """Returns engines and what was logged for them, each built once."""
    made = {}

    def make(capability):
        if capability not in made:
            one = recipe(capability)
            plan = tensorrt.compile_engine(one)
            log = [line for _, line in tensorrt.messages(one.library).lines]
            made[capability] = plan, log
        return made[capability]

    return make


def layers(log):
    """Return each layer's name, kind, and the types of what it reads, keeps and gives."""
    text = next(line for line in log if line.startswith("Layers:"))
    found = {}
    for line in text.splitlines():
        parts = re.match(
            r"Name: (\S+), LayerType: (\S+), Inputs: (.*), Constants: (.*), Outputs: (.*), Tac",
            line,
        )
        if parts:
            name, kind, *tensors = parts.groups()
            found[name] = (kind, *[re.findall(r"Datatype: (\w+)", each) for each in tensors])
    return found


@needs.tensorrt_rtx
@pytest.mark.parametrize("capability", [(7, 5), (8, 0)])
def test_engines_are_built_for_gpus_that_are_not_here(built, capability):
    plan, _ = built(capability)
    assert len(plan) > 1_000_000


@needs.tensorrt_rtx
def test_later_gpus_share_one_engine(model, tmp_path, caplog):
    reports = [
        tensorrt.build(model, compute_capability=capability, folder=tmp_path)
        for capability in [(8, 6), (8, 9), (12, 1), (7, 5)]
    ]
    assert [report.seconds is None for report in reports] == [False, True, True, False]
    assert len({report.path for report in reports}) == 2
    assert "compute capability 8.0 and later, TensorRT for RTX" in str(reports[1])
    assert "compute capability 7.5, TensorRT for RTX" in str(reports[3])


@needs.tensorrt_rtx
def test_all_convolutions_but_the_first_are_int8(built, model):
    """The transposed ones too, which the file writes as 1 x 1 convolutions."""
    found = layers(built((8, 0))[1])
    convolutions = {name: rest for name, (kind, *rest) in found.items() if kind == "correlation"}
    integers = [name for name, (read, kept, _) in convolutions.items() if read[0] == "Int8"]
    for name in integers:
        assert convolutions[name][1][0] == "Int8", f"weights of {name}"
    network = NETWORKS[model.name]
    assert len(integers) == sum(network.down) + sum(network.up) + len(network.up) + 1
    assert sum(name.startswith("grow") for name in integers) == len(network.up)
    assert [name.split("_")[0] for name in set(convolutions) - set(integers)] == ["stem"]
    pools = [read + given for kind, read, _, given in found.values() if kind == "maxpool"]
    assert pools == [["Int8", "Int8"]] * 4
    assert len(found) <= 44


@needs.tensorrt_rtx
def test_bytes_go_in_and_come_out_in_one_kernel_each(built):
    found = list(layers(built((8, 0))[1]).values())
    assert [read for _, read, _, _ in found if "UInt8" in read] == [["UInt8"]]
    assert found[-1][0] == "kgen"
    assert found[-1][3] == ["UInt8"]


@needs.tensorrt_rtx
def test_one_engine_takes_every_shape_within_its_limits(built):
    text = next(line for line in built((8, 0))[1] if line.startswith("Layers:"))
    assert "MinShape: [1,32,32,3], OptShape: [1,1024,1024,3], MaxShape: [4,2048,2048,3]" in text
    assert "Dimensions: [-1,-1,-1,3]" in text


def parsed(recipe, proto):
    library = recipe.library
    messages = tensorrt.messages(library)
    messages.lines.clear()
    builder = library.Builder(messages.logger)
    return tensorrt._parse(recipe, builder, proto.SerializeToString())


@needs.tensorrt_rtx
def test_what_the_parser_warns_of_is_kept_for_the_log(recipe, model):
    """It takes unsigned levels for signed ones; the known answer shows whether that counts."""
    proto = onnx.load(model.path)
    for tensor in proto.graph.initializer:
        if tensor.name == "zero":
            tensor.CopyFrom(numpy_helper.from_array(np.array(0, np.uint8), tensor.name))
    made = recipe()
    parsed(made, proto)
    assert any("UINT8" in words for words in tensorrt.messages(made.library).logged("WARNING"))


@needs.tensorrt_rtx
def test_warnings_are_logged_and_no_error(recipe, monkeypatch, caplog):
    made = recipe()
    messages = tensorrt.messages(made.library)
    take = tensorrt._parse

    def warning(*arguments):
        messages.logger.log(made.library.ILogger.Severity.WARNING, "something is off")
        return take(*arguments)

    monkeypatch.setattr(tensorrt, "_parse", warning)
    assert tensorrt.compile_engine(made)
    assert "TensorRT for RTX: something is off" in caplog.messages


@needs.tensorrt_rtx
@pytest.mark.parametrize("free", [0, 8 << 30])
def test_a_build_takes_a_quarter_of_the_free_memory_and_no_other_streams(recipe, free):
    made = recipe()
    library = made.library
    builder = library.Builder(tensorrt.messages(library).logger)
    plain = builder.create_builder_config().get_memory_pool_limit(library.MemoryPoolType.WORKSPACE)
    builder.create_network(0)
    config = tensorrt._config(made, builder, free)
    limit = config.get_memory_pool_limit(library.MemoryPoolType.WORKSPACE)
    assert (limit, config.max_aux_streams) == (free // 4 if free else plain, 0)


@needs.tensorrt_rtx
def test_a_bar_that_fails_does_not_end_a_build(recipe, monkeypatch):
    """The library calls it from C++ code that no exception may cross."""

    class Broken:
        def __getattr__(self, name):
            raise OSError("the terminal is gone")

    monkeypatch.setattr(console, "bar", lambda *_: contextlib.nullcontext(Broken()))
    assert tensorrt.compile_engine(recipe())


@needs.tensorrt_rtx
def test_a_graph_that_the_parser_refuses_is_an_error(recipe, model):
    proto = onnx.load(model.path)
    proto.graph.node[5].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match=r"TensorRT cannot take .*NoSuchOperator"):
        parsed(recipe(), proto)


@needs.tensorrt_rtx
def test_what_the_library_warns_of_is_told_from_what_it_says(recipe):
    messages = tensorrt.messages(recipe().library)
    messages.lines.clear()
    levels = recipe().library.ILogger.Severity
    messages.logger.log(levels.INFO, "something else")
    assert messages.logged("WARNING") == []
    messages.logger.log(levels.WARNING, "something is off")
    assert messages.logged("WARNING") == ["something is off"]
    messages.lines.clear()


@needs.tensorrt_rtx
def test_an_interrupted_build_ends_in_order(tmp_path):
    """The signal comes when the log says that the build begins; C++ code is running soon after."""
    code = f"""
import logging, os, pathlib, signal, threading
from nucleiseg import Model
from nucleiseg import tensorrt
class Interrupt(logging.Handler):
    def emit(self, record):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
logging.getLogger("nucleiseg").setLevel(logging.INFO)
logging.getLogger("nucleiseg").addHandler(Interrupt())
try:
    tensorrt.build(Model.load(), compute_capability=(8, 6),
                   folder=pathlib.Path({str(tmp_path)!r}))
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
    assert not list(tmp_path.glob("nuclei*"))


@needs.tensorrt_rtx
@pytest.mark.parametrize("line", [1, 2, 200])
def test_an_interruption_in_the_library_s_log_is_no_abort(tmp_path, line):
    """The library logs from C++ code that no exception may cross, from its first step on."""
    code = f"""
import pathlib, signal, sys
from nucleiseg import Model
from nucleiseg import tensorrt
lines = 0
def watch(frame, event, argument):
    global lines
    code = frame.f_code
    if (event, code.co_name) == ("call", "log") and "nucleiseg" in code.co_filename:
        lines += 1
        if lines == {line}:
            signal.raise_signal(signal.SIGINT)
sys.setprofile(watch)
try:
    tensorrt.build(Model.load(), compute_capability=(8, 6), folder=pathlib.Path({str(tmp_path)!r}))
except KeyboardInterrupt:
    print("interrupted", lines >= {line})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted True\n"), done.stderr
    assert not list(tmp_path.glob("nuclei*"))


@needs.tensorrt_rtx
def test_a_program_that_uses_tensorrt_itself_is_no_obstacle(tmp_path):
    """The library keeps the first logger of a process, and warns whoever brings another."""
    code = f"""
import pathlib, tensorrt_rtx
logger = tensorrt_rtx.Logger(tensorrt_rtx.Logger.ERROR)
builder = tensorrt_rtx.Builder(logger)
from nucleiseg import Model
from nucleiseg import tensorrt
folder = pathlib.Path({str(tmp_path)!r})
print(tensorrt.build(Model.load(), compute_capability=(8, 6), folder=folder))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ", compute capability 8.0 and later" in done.stdout


@needs.tensorrt_rtx
def test_a_gpu_that_the_library_does_not_know_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"got 9\.0; TensorRT for RTX .* builds for 7\.5, 8\.0"):
        tensorrt.build(model, compute_capability=(9, 0), folder=tmp_path)


@needs.tensorrt_rtx
def test_a_model_that_is_no_nuclei_model_is_refused(model, tmp_path):
    proto = onnx.load(model.path)
    proto.graph.output[0].name = "logits"
    path = tmp_path / "other.onnx"
    onnx.save(proto, path)
    with pytest.raises(ModelError, match="has Add where Cast is expected"):
        tensorrt.build(replace(model, path=path), compute_capability=(8, 6), folder=tmp_path)


def test_without_tensorrt_it_says_what_to_install(model, monkeypatch):
    for name in LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"tensorrt or tensorrt_rtx is not installed; .*pip ins"):
        tensorrt.build(model)
    with pytest.raises(ImportError, match=r"tensorrt_rtx is not installed; .*pip install tensorrt"):
        tensorrt.build(model, compute_capability=(8, 6), library="tensorrt_rtx")


def has_gpu():
    try:
        return _native.cuda.device_count() > 0
    except (AttributeError, RuntimeError):
        return False


@needs.tensorrt_rtx
@pytest.mark.skipif(has_gpu(), reason="there is a GPU; this is about machines without")
def test_without_a_gpu_it_says_so(model):
    words = "no NVIDIA GPU is visible|no CUDA kernels|driver"
    with pytest.raises(RuntimeError, match=words):
        tensorrt.Engine(model, getattr(_native, "cuda", None))
    with pytest.raises(RuntimeError, match=words):
        tensorrt.build(model)


@needs.tensorrt_rtx
@pytest.mark.skipif(has_gpu(), reason="there is a GPU; this is about machines without")
def test_what_the_library_says_of_a_machine_without_a_driver_is_passed_on(
    model, tmp_path, monkeypatch
):
    """As far as running goes here: an engine from the cache, which the runtime cannot load."""
    monkeypatch.setattr(tensorrt, "_device", lambda kernels: {"compute_capability": (8, 6)})
    tensorrt.build(model, compute_capability=(8, 6), folder=tmp_path)
    with pytest.raises(RuntimeError, match=r"cannot load .*nuclei.*: .*CUDA driver"):
        tensorrt.Engine(model, _native.emulated, folder=tmp_path, library="tensorrt_rtx")


@pytest.mark.parametrize("shape", [(1, 32, 32), (4, 2048, 64), (2, 96, 2048)])
def test_shapes_within_the_limits_are_taken(shape):
    tensorrt.check_shape(shape, 32, 2048)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 32, 32), r"tiles: got shape \(5, 32, 32, 3\); .* N up to 4"),
        ((0, 32, 32), "tiles: got shape"),
        ((1, 2080, 32), "multiples of 32 up to 2048"),
        ((1, 33, 32), "multiples of 32 up to 2048"),
        ((1, 32, 0), "tiles: got shape"),
    ],
)
def test_shapes_beyond_the_limits_are_refused(shape, words):
    with pytest.raises(ValueError, match=words):
        tensorrt.check_shape(shape, 32, 2048)


def build(*arguments):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


@needs.tensorrt_rtx
def test_the_command_builds_for_several_gpus(tmp_path):
    done = build(
        *("--ahead-of-time", "--compute-capability", "8.6", "--compute-capability", "7.5"),
        *("--output", str(tmp_path)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for line, capability in zip(lines, ("8.0 and later", "7.5"), strict=True):
        assert re.match(
            rf"{DEFAULT} \S+, compute capability {re.escape(capability)}, TensorRT for RTX \S+: "
            rf"\d+\.\d MB, built in \d+\.\d s, {re.escape(str(tmp_path))}/{DEFAULT}-sm[78]",
            line,
        )


@needs.tensorrt_rtx
def test_the_command_can_be_interrupted(tmp_path):
    command = [*COMMAND, "--ahead-of-time", "-o", str(tmp_path)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".nuclei*.lock")):  # made when the build begins
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    assert running.communicate()[1].startswith("nucleiseg: interrupted")
    assert running.returncode == 130


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--compute-capability", "8.6"], "--compute-capability: accepted is with --ahead-of-time"),
        (["--ahead-of-time", "--compute-capability", "86"], "got '86'; accepted are numbers such"),
        (["--model", "nowhere.onnx"], "cannot read nowhere.onnx"),
        (["--model", "nowhere"], "model: got 'nowhere'; accepted are 'nuclei"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, words):
    done = build(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
