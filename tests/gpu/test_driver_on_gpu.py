"""What only a real GPU can show of the driver. What the emulated device shows as well is in
tests/emulated/test_driver.py, which runs on a real device too."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "emulated"))

from driver_machines import Machine, Watched, missing

import nucleiseg._native as native
from nucleiseg import Model, Segmenter, backends, images

REASON = missing("cuda")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(REASON), reason=REASON)]
EXAMPLE = Path(__file__).parents[1] / "data" / "images" / "fluorescence_wide.png"


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine("cuda")


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return np.tile(images.read(EXAMPLE), (2, 2))


def test_a_graph_gives_what_the_steps_gave(machine, frame):
    step_by_step = machine.expected(frame, scale=1)
    for _ in range(4):
        found = machine.segmenter.segment(frame, "labels", scale=1)
        np.testing.assert_array_equal(found, step_by_step)


class Slow(Watched):
    """Runs the network of its first image a hundred times, and notes when work was done.

    Attributes
    ----------
    given : threading.Event
        That the first image's network is in its stream.
    computed, arrived : Event
        Behind that network, and before the second image's.
    """

    def __init__(self) -> None:
        super().__init__("cuda")
        self.given = threading.Event()
        self.computed, self.arrived = (native.cuda.Event(timing=True) for _ in range(2))

    def enqueue(self, tiles, cells, shape, stream, memory):
        if self.given.is_set():
            self.arrived.record(native.cuda.Stream(stream))
            super().enqueue(tiles, cells, shape, stream, memory)
            return
        for _ in range(100):  # longer than it takes to upload a frame
            super().enqueue(tiles, cells, shape, stream, memory)
        self.computed.record(native.cuda.Stream(stream))
        self.given.set()


def test_an_upload_overlaps_the_network_of_the_image_before(machine, frame):
    """The next image has arrived before the work on this one, given to the GPU earlier, is done."""
    list(machine.segmenter.map([frame] * 6, "labels", scale=1))
    engine = Slow()
    backend = backends.on_gpu(Model.load(), native.cuda, engine, 2)
    segmenter, expected = Segmenter(device=backend), machine.expected(frame, scale=1)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(segmenter.segment, frame, "labels", scale=1)
        assert engine.given.wait(60)
        second = threads.submit(segmenter.segment, frame, "labels", scale=1)
        for each in (first, second):
            np.testing.assert_array_equal(each.result(), expected)
    assert engine.computed.milliseconds_since(engine.arrived) > 0


def test_a_thousand_frames_leave_the_memory_as_it_was(machine, frame):
    segmenter = machine.new()
    some = frame[:512, :512].copy()

    def run(count: int) -> None:
        for to_host in (True, False):
            for _ in segmenter.map([some] * count, "labels", to_host=to_host):
                pass

    run(20)
    before, _ = machine.kernels.memory()
    run(500)
    after, _ = machine.kernels.memory()
    # The driver gives out memory in pieces of 2 MiB.
    assert before - after <= 2 << 20


def test_shared_memory_gives_the_same(machine, frame):
    """That nothing is copied there is shown on the emulated device."""
    if not machine.kernels.devices()[0]["integrated"]:
        pytest.skip("this GPU has memory of its own: only one that shares the host's is meant")
    expected = machine.expected(frame, "mask", scale=1)
    segmenter = machine.new()
    for _ in range(3):
        np.testing.assert_array_equal(segmenter.segment(frame, scale=1), expected)


@pytest.mark.parametrize("library", ["cupy", "torch", "pycuda"])
def test_arrays_of_other_libraries_go_in_and_out(machine, frame, library):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    expected = machine.expected(frame)
    if library == "cupy":
        there = module.asarray(frame)
    elif library == "torch":
        there = module.from_numpy(frame).cuda()
    else:
        import pycuda.driver
        from pycuda import gpuarray

        context = pycuda.driver.Device(0).retain_primary_context()
        context.push()
        there = gpuarray.to_gpu(frame)
    found = machine.segmenter.segment(there, "labels", to_host=False)
    if library == "cupy":
        back = module.asnumpy(module.from_dlpack(found))
    elif library == "torch":
        back = module.from_dlpack(found).cpu().numpy()
    else:
        array = gpuarray.GPUArray(found.shape, found.dtype, base=found, gpudata=found.ptr)
        back = array.get()
        pycuda.driver.Context.pop()
    np.testing.assert_array_equal(back, expected)
