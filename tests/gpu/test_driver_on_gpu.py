"""What only a real GPU can show of the driver. What the emulated device shows as well is in
tests/emulated/test_driver.py, which runs on a real device too."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "emulated"))

from driver_machines import Machine, missing

from nucleiseg import images

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


def test_an_upload_overlaps_the_network_of_the_image_before(machine, frame):
    """The next image has arrived before the work on this one, given to the GPU earlier, is done."""
    kernels, segmenter = machine.kernels, machine.new()
    backend = segmenter._backend
    list(segmenter.map([frame] * 6, "labels"))
    computed, arrived = kernels.Event(timing=True), kernels.Event(timing=True)
    with backend.session(True) as first, backend.session(True) as second:
        tiles = kernels.Buffer((1, 2048, 2048, 3))
        for _ in range(100):  # longer than it takes to upload a frame
            first.infer(tiles)
        computed.record(first._last)
        second.array(frame, "image")
        arrived.record(second._last)
        arrived.synchronize()
        computed.synchronize()
    assert computed.milliseconds_since(arrived) > 0


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


def test_shared_memory_is_used_in_place(machine, frame, monkeypatch):
    if not machine.segmenter._backend.gpu.integrated:
        pytest.skip("this GPU has memory of its own: only one that shares the host's is meant")
    expected = machine.expected(frame, "mask", scale=1)
    segmenter = machine.new()
    monkeypatch.setattr(machine.kernels, "copy", None)
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
