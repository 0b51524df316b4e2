"""The engine on a real GPU, against the integer network on the CPU."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "emulated"))

from driver_machines import unfit

import nucleiseg._native as native
from nucleiseg import Model, images
from nucleiseg._native import cpu
from nucleiseg.engines import native as integers
from nucleiseg.tensorrt import Engine

IMAGES = sorted((Path(__file__).parents[1] / "data" / "images").iterdir())
LIBRARIES = ("tensorrt", "tensorrt_rtx")


def missing() -> str:
    """Return why the engine cannot run here, or nothing where it can."""
    if not hasattr(native, "cuda"):
        return "this build has no _native.cuda: build with NUCLEISEG_CUDA=on"
    if native.cuda.device_count() == 0:
        return "no NVIDIA driver or no GPU is visible"
    return ""


def library(name: str) -> object:
    reason = missing() or unfit(name)
    return pytest.param(name, marks=pytest.mark.skipif(bool(reason), reason=reason))


pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def model():
    return Model.load()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module", params=[library(name) for name in LIBRARIES])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def engine(name, model, folder):
    return Engine(model, native.cuda, library=name, folder=folder)


@pytest.fixture
def stream():
    return native.cuda.Stream()


@pytest.fixture(scope="module")
def tiles(model):
    """Each example image as one tile."""
    made = []
    for path in IMAGES:
        image = images.read(path)
        picture = cpu.normalize(image, *cpu.limits(image, *model.percentiles)[:3])
        sides = [-(-side // model.stride) * model.stride for side in picture.shape[:2]]
        made.append(cpu.gather(picture, np.array([[0, 0]]), *sides))
    return made


@pytest.fixture(scope="module")
def expected(model, tiles):
    run = integers.Engine(model, threads=1).infer
    return [run(tile) for tile in tiles]


def block():
    """Returns a function that gives memory, that of the last time where it is large enough."""
    kept = []

    def give(size):
        if not kept or kept[0].nbytes < size:
            kept[:] = [native.cuda.Buffer([size])]
        return kept[0].ptr

    return give


def enqueue(engine, tiles, cells, stream, memory):
    engine.enqueue(tiles.ptr, cells.ptr, tiles.shape[:3], stream.handle, memory)


def infer(engine, tiles, stream):
    count, height, width, _ = tiles.shape
    given = native.cuda.to_device(tiles, stream=stream)
    cells, memory = native.cuda.Buffer((count, height // 2, width // 2, 8)), block()
    enqueue(engine, given, cells, stream, memory)
    return native.cuda.to_host(cells, stream=stream)


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def test_masks_are_those_of_the_cpu(engine, model, tiles, expected, stream):
    found = [infer(engine, tile, stream) for tile in tiles]
    masks = [
        np.concatenate([cells[..., ::2].ravel() >= model.nucleus_threshold for cells in each])
        for each in (found, expected)
    ]
    assert dice(*masks) >= 0.995


def test_maps_are_those_of_the_cpu(engine, tiles, expected, stream):
    """By the bound of what ONNX Runtime gives of the same graph."""
    for tile, cells in zip(tiles, expected, strict=True):
        assert np.abs(infer(engine, tile, stream).astype(int) - cells).mean() < 0.6


def test_no_shape_within_the_limits_needs_another_engine(engine, model, stream, caplog):
    caplog.set_level(logging.INFO, "nucleiseg")
    run = integers.Engine(model, threads=1).infer
    rng = np.random.default_rng(7)
    largest = engine.largest_tile
    for shape in [(1, 32, 32, 3), (engine.largest_batch, 96, 160, 3), (1, largest, 64, 3)]:
        tiles = rng.integers(0, 256, shape, np.uint8)
        difference = np.abs(infer(engine, tiles, stream).astype(int) - run(tiles))
        assert difference.mean() < 2, shape  # noise is far from what the network knows
    assert "builds" not in caplog.text


def test_the_largest_shape_fits(engine, stream):
    shape = (engine.largest_batch, engine.largest_tile, engine.largest_tile, 3)
    cells = infer(engine, np.zeros(shape, np.uint8), stream)
    assert cells.max() < 128  # black is no nucleus


def test_what_is_beyond_the_limits_is_refused(engine, stream):
    side = engine.largest_tile + 32
    given = native.cuda.Buffer((1, side, 32, 3))
    cells = native.cuda.Buffer((1, side // 2, 16, 8))
    with pytest.raises(ValueError, match="tiles: got shape"):
        enqueue(engine, given, cells, stream, block())


def test_streams_do_not_disturb_each_other(engine, tiles):
    """Each has its own context; both run before anybody waits."""
    streams = [native.cuda.Stream() for _ in range(2)]
    alone = [infer(engine, tile, streams[0]) for tile in tiles[:2]]
    given = [
        native.cuda.to_device(tile, stream=each) for tile, each in zip(tiles, streams, strict=False)
    ]
    cells = [native.cuda.Buffer(each.shape) for each in alone]
    blocks = [block() for _ in streams]
    for _ in range(20):
        for index, each in enumerate(streams):
            enqueue(engine, given[index], cells[index], each, blocks[index])
    for index, each in enumerate(streams):
        assert np.array_equal(native.cuda.to_host(cells[index], stream=each), alone[index])


def test_a_captured_run_can_be_replayed(engine, tiles, stream):
    tile = tiles[0]
    wanted = infer(engine, tile, stream)
    given = native.cuda.to_device(tile, stream=stream)
    cells = native.cuda.Buffer(wanted.shape)
    memory = block()
    enqueue(engine, given, cells, stream, memory)
    with stream.capture() as graph:
        enqueue(engine, given, cells, stream, memory)
    for _ in range(3):
        native.cuda.fill(cells, 0, stream=stream)
        graph.launch(stream)
        assert np.array_equal(native.cuda.to_host(cells, stream=stream), wanted)


def test_a_stream_that_comes_again_brings_no_new_state(engine, tiles, stream):
    def run():
        for tile in tiles[:2]:
            infer(engine, tile, stream)

    run()
    free, _ = native.cuda.memory()
    for _ in range(20):
        run()
    assert native.cuda.memory()[0] >= free - 2**24


def test_the_second_start_builds_nothing(name, model, folder, caplog):
    Engine(model, native.cuda, library=name, folder=folder)
    caplog.set_level(logging.INFO, "nucleiseg")
    Engine(model, native.cuda, library=name, folder=folder)
    assert "builds" not in caplog.text
