"""Buffers, streams, events and graphs: what is promised about memory, order and waiting."""

import gc

import numpy as np
import pytest
from machines import Machine, missing

import nucleiseg._native as native
from nucleiseg._native import cpu

REASON = missing("emulated")
emulated_only = pytest.mark.skipif(bool(REASON), reason=REASON)


def random_bytes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, np.uint8)


def pinned(machine: Machine, array: np.ndarray) -> object:
    memory = machine.kernels.PinnedBuffer(array.shape, array.dtype)
    memory.array[...] = array
    return memory


class Foreign:
    """An array of another library."""

    def __init__(self, buffer: object) -> None:
        self.kept = buffer
        self.__cuda_array_interface__ = dict(buffer.__cuda_array_interface__)


class TestBuffer:
    def test_it_says_what_it_is(self, machine: Machine):
        buffer = machine.kernels.Buffer([3, 4, 5], "float32")
        assert buffer.shape == (3, 4, 5)
        assert buffer.strides == (80, 20, 4)
        assert buffer.dtype == np.float32
        assert (buffer.nbytes, buffer.size) == (240, 60)
        assert repr(buffer) == "Buffer(shape=(3, 4, 5), dtype=float32)"
        assert buffer.ptr % 256 == 0

    @pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (7,), (2, 3, 4)])
    @pytest.mark.parametrize("dtype", ["uint8", "int32", "float64", "bool"])
    def test_values_come_back_as_they_went(self, rng, machine: Machine, shape, dtype):
        array = rng.integers(0, 2, shape).astype(dtype)
        np.testing.assert_array_equal(machine.get(machine.put(array)), array, strict=True)

    def test_indexing_gives_views(self, rng, machine: Machine):
        array = random_bytes(rng, 6, 7, 3)
        buffer = machine.put(array)
        for index in [
            np.s_[2:5],
            np.s_[1],
            np.s_[-1],
            np.s_[4:2:-1, 0],
            np.s_[:, ::-2, 1],
            np.s_[0, 1, 2],
        ]:
            view = buffer[index]
            expected = array[index]
            assert view.shape == expected.shape
            assert view.strides == np.asarray(array[index]).strides or expected.ndim == 0
        np.testing.assert_array_equal(machine.get(buffer[2:5]), array[2:5])
        with pytest.raises(IndexError):
            buffer[6]
        with pytest.raises(TypeError, match="index: accepted are integers and slices"):
            buffer[[1, 2]]

    def test_memory_may_have_another_shape_and_dtype(self, rng, machine: Machine):
        array = random_bytes(rng, 8, 4)
        buffer = machine.put(array)
        view = buffer.view([2, 3], "int32", offset=8)
        expected = array.reshape(-1)[8:].view(np.int32)[:6].reshape(2, 3)
        np.testing.assert_array_equal(machine.get(view), expected)
        for shape, offset in [([33], 0), ([1], 32), ([1], -1), ([-1], 0)]:
            with pytest.raises(ValueError, match=r"(view|shape): got .*; accepted is "):
                buffer.view(shape, offset=offset)
        with pytest.raises(ValueError, match="view: got an array with gaps"):
            buffer[:, ::2].view([4])

    def test_a_view_keeps_the_memory(self, rng, machine: Machine):
        array = random_bytes(rng, 9)
        view = machine.put(array)[2:]
        gc.collect()
        np.testing.assert_array_equal(machine.get(view), array[2:])

    def test_it_is_a_cuda_array(self, machine: Machine):
        buffer = machine.put(np.zeros((4, 6), np.int32))
        interface = buffer.__cuda_array_interface__
        assert interface["shape"] == (4, 6)
        assert interface["typestr"] == "<i4"
        assert interface["data"] == (buffer.ptr, False)
        assert interface["strides"] is None
        assert interface["version"] == 3
        assert interface["stream"] is None
        assert buffer[:, ::2].__cuda_array_interface__["strides"] == (24, 8)

    def test_anybodys_cuda_array_is_taken_without_a_copy(self, rng, machine: Machine):
        maps = random_bytes(rng, 9, 8, 2)
        foreign = Foreign(machine.put(maps)[::-1])
        found = machine.kernels.mask(foreign, 50, stream=machine.stream)
        np.testing.assert_array_equal(machine.get(found), maps[::-1, :, 0] >= 50)
        target = Foreign(machine.kernels.Buffer([9, 8], "bool"))
        target.__cuda_array_interface__["data"] = (target.kept.ptr, True)
        with pytest.raises(ValueError, match="out: got a read-only array"):
            machine.kernels.mask(foreign, 50, stream=machine.stream, out=target)

    def test_wrong_shapes_are_refused(self, machine: Machine):
        with pytest.raises(ValueError, match="shape: got"):
            machine.kernels.Buffer([-1])
        with pytest.raises(TypeError):
            machine.kernels.Buffer([3], "no such type")


class TestCopies:
    def test_pinned_memory_goes_both_ways(self, rng, machine: Machine):
        array = random_bytes(rng, 30, 40)
        there = machine.kernels.Buffer(array.shape)
        back = machine.kernels.PinnedBuffer(array.shape)
        source = pinned(machine, array)
        assert machine.kernels.copy(there, source, stream=machine.stream) is there
        machine.kernels.copy(back, there, stream=machine.stream)
        machine.stream.synchronize()
        np.testing.assert_array_equal(back.array, array)

    def test_fill_sets_every_byte(self, machine: Machine):
        buffer = machine.kernels.Buffer([5, 5])
        machine.kernels.fill(buffer, 7, stream=machine.stream)
        assert (machine.get(buffer) == 7).all()

    def test_mapped_memory_is_used_in_place(self, rng, machine: Machine):
        maps = random_bytes(rng, 20, 30, 2)
        source = machine.kernels.PinnedBuffer(maps.shape, mapped=True)
        target = machine.kernels.PinnedBuffer(maps.shape[:2], "bool", mapped=True)
        source.array[...] = maps
        machine.kernels.mask(source.device(), 90, stream=machine.stream, out=target.device())
        machine.stream.synchronize()
        np.testing.assert_array_equal(target.array, maps[..., 0] >= 90)

    def test_memory_that_is_not_mapped_has_no_place_on_the_device(self, machine: Machine):
        with pytest.raises(ValueError, match="device: the memory is not mapped"):
            machine.kernels.PinnedBuffer([4]).device()

    def test_wrong_arguments_are_named(self, machine: Machine):
        copy, stream = machine.kernels.copy, machine.stream
        buffer = machine.kernels.Buffer([4])
        with pytest.raises(TypeError, match="source: got ndarray; accepted is an array on the"):
            copy(buffer, np.zeros(4, np.uint8), stream=stream)
        with pytest.raises(ValueError, match=r"destination: got shape \(4,\) of uint8; accepted "):
            copy(buffer, machine.kernels.PinnedBuffer([5]), stream=stream)
        with pytest.raises(ValueError, match="source: got an array with gaps"):
            copy(buffer, machine.kernels.Buffer([8])[::2], stream=stream)


class TestStreams:
    @emulated_only
    def test_a_missing_wait_is_a_wrong_result(self, rng):
        machine = Machine("emulated")
        array = random_bytes(rng, 100)
        there = machine.put(array)
        back = pinned(machine, np.zeros(100, np.uint8))
        machine.kernels.copy(back, there, stream=machine.stream)
        assert not back.array.any()
        machine.stream.synchronize()
        np.testing.assert_array_equal(back.array, array)

    @emulated_only
    def test_page_locked_memory_is_read_when_the_stream_gets_there(self):
        machine = Machine("emulated")
        source = pinned(machine, np.full(4, 1, np.uint8))
        there = machine.kernels.copy(machine.kernels.Buffer([4]), source, stream=machine.stream)
        source.array[:] = 2
        assert machine.get(there).tolist() == [2] * 4

    @emulated_only
    def test_another_stream_does_not_wait_by_itself(self, rng):
        machine = Machine("emulated")
        first, second = machine.stream, machine.kernels.Stream()
        array = random_bytes(rng, 100)
        there = machine.kernels.fill(machine.kernels.Buffer([100]), 0, stream=first)
        first.synchronize()
        source = pinned(machine, array)
        machine.kernels.copy(there, source, stream=first)
        assert not machine.kernels.to_host(there, stream=second).any()

    def test_another_stream_waits_for_an_event(self, rng, machine: Machine):
        first, second = machine.stream, machine.kernels.Stream()
        array = random_bytes(rng, 100)
        source = pinned(machine, array)
        there = machine.kernels.copy(machine.kernels.Buffer([100]), source, stream=first)
        event = machine.kernels.Event()
        event.record(first)
        second.wait(event)
        np.testing.assert_array_equal(machine.kernels.to_host(there, stream=second), array)

    def test_foreign_arrays_are_waited_for(self, rng, machine: Machine):
        array = random_bytes(rng, 100)
        source = pinned(machine, array)
        there = machine.kernels.copy(machine.kernels.Buffer([100]), source, stream=machine.stream)
        foreign, other = Foreign(there), machine.kernels.Stream()
        foreign.__cuda_array_interface__["stream"] = machine.stream.handle
        np.testing.assert_array_equal(machine.kernels.to_host(foreign, stream=other), array)

    def test_it_knows_when_it_is_done(self, machine: Machine):
        assert machine.stream.done
        buffer = machine.kernels.Buffer([4])
        for _ in range(3):
            machine.kernels.fill(buffer, 1, stream=machine.stream)
        event = machine.kernels.Event()
        event.record(machine.stream)
        if machine.name == "emulated":
            assert not machine.stream.done
            assert not event.done
        machine.stream.synchronize()
        assert machine.stream.done
        assert event.done

    def test_asking_again_and_again_ends(self, machine: Machine):
        buffer = machine.kernels.Buffer([4])
        for _ in range(20):
            machine.kernels.fill(buffer, 1, stream=machine.stream)
        event = machine.kernels.Event()
        event.record(machine.stream)
        while not event.done:
            pass
        assert (machine.get(buffer) == 1).all()

    def test_an_event_that_was_never_recorded_is_done(self, machine: Machine):
        event = machine.kernels.Event()
        assert event.done
        machine.stream.wait(event)
        machine.stream.synchronize()

    def test_time_passes_between_events(self, machine: Machine):
        start, end = machine.kernels.Event(timing=True), machine.kernels.Event(timing=True)
        start.record(machine.stream)
        machine.kernels.fill(machine.kernels.Buffer([1000]), 1, stream=machine.stream)
        end.record(machine.stream)
        end.synchronize()
        assert end.milliseconds_since(start) >= 0
        with pytest.raises(RuntimeError, match="CUDA: invalid resource handle"):
            end.milliseconds_since(machine.kernels.Event())

    def test_somebody_elses_stream_is_used_and_left_alone(self, rng, machine: Machine):
        array = random_bytes(rng, 50)
        borrowed = machine.kernels.Stream(machine.stream.handle)
        there = machine.kernels.to_device(array, stream=borrowed)
        del borrowed
        gc.collect()
        np.testing.assert_array_equal(machine.get(there), array)


class TestGraphs:
    def chain(self, machine: Machine, image: object, kept: list[object]) -> object:
        """Limits, stretch, tiles: all into memory that is there before."""
        kernels, stream = machine.kernels, machine.stream
        limits, stretched, workspace, tiles = kept
        kernels.limits(image, 1, 99, stream=stream, workspace=workspace, out=limits)
        kernels.normalize(image, limits=limits, stream=stream, out=stretched)
        return kernels.gather(stretched, np.array([[-3, -5]]), 32, 32, stream=stream, out=tiles)

    def memory(self, machine: Machine, shape: tuple[int, int, int]) -> list[object]:
        kernels = machine.kernels
        return [
            kernels.Buffer([6], "float64"),
            kernels.Buffer(shape),
            kernels.Buffer([kernels.limits_workspace()]),
            kernels.Buffer([1, 32, 32, 3]),
        ]

    def test_a_graph_does_the_work_again_on_new_values(self, rng, machine: Machine):
        shape = (40, 50, 3)
        image, kept = machine.kernels.Buffer(shape), self.memory(machine, shape)
        with machine.stream.capture() as graph:
            tiles = self.chain(machine, image, kept)
        for _ in range(3):
            values = random_bytes(rng, *shape)
            machine.kernels.copy(image, pinned(machine, values), stream=machine.stream)
            graph.launch(machine.stream)
            stretched = cpu.normalize(values, *cpu.limits(values, 1, 99)[:3])
            expected = cpu.gather(stretched, np.array([[-3, -5]]), 32, 32)
            np.testing.assert_array_equal(machine.get(tiles), expected)

    def test_captured_work_is_not_done(self, machine: Machine):
        buffer = machine.put(np.zeros(8, np.uint8))
        with machine.stream.capture() as graph:
            machine.kernels.fill(buffer, 9, stream=machine.stream)
        assert not machine.get(buffer).any()
        graph.launch(machine.stream)
        assert (machine.get(buffer) == 9).all()

    def test_labels_can_be_captured(self, rng, machine: Machine):
        kernels = machine.kernels
        maps = random_bytes(rng, 33, 44, 2)
        there = machine.put(maps)
        workspace = kernels.Buffer([kernels.label_workspace(33, 44)])
        out, count = kernels.Buffer([33, 44], "int32"), kernels.Buffer([1], "int32")
        with machine.stream.capture() as graph:
            kernels.label(
                there,
                90,
                140,
                2,
                3,
                stream=machine.stream,
                workspace=workspace,
                out=out,
                count=count,
            )
        expected, number = cpu.label(maps, 90, 140, 2, 3)
        for _ in range(2):
            graph.launch(machine.stream)
            np.testing.assert_array_equal(machine.get(out), expected)
            assert machine.get(count).tolist() == [number]

    def test_two_streams_can_be_captured_together(self, rng, machine: Machine):
        kernels, first, second = machine.kernels, machine.stream, machine.kernels.Stream()
        one, two = kernels.Buffer([8]), kernels.Buffer([8])
        fork, joined = kernels.Event(), kernels.Event()
        with first.capture() as graph:
            kernels.fill(one, 5, stream=first)
            fork.record(first)
            second.wait(fork)
            kernels.copy(two, one, stream=second)
            joined.record(second)
            first.wait(joined)
        graph.launch(first)
        assert (machine.get(two) == 5).all()

    def test_a_stream_that_was_not_waited_for_is_an_error(self, machine: Machine):
        kernels, second = machine.kernels, machine.kernels.Stream()
        buffer, fork = kernels.Buffer([8]), kernels.Event()

        def capture() -> None:
            with machine.stream.capture():
                fork.record(machine.stream)
                second.wait(fork)
                kernels.fill(buffer, 1, stream=second)

        with pytest.raises(RuntimeError, match="unjoined work"):
            capture()

    def test_waiting_and_allocating_are_refused_while_capturing(self, machine: Machine):
        stream = machine.stream

        def wait() -> None:
            with stream.capture():
                stream.synchronize()

        with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
            wait()
        if machine.name == "emulated":
            with stream.capture(), pytest.raises(RuntimeError, match="stream is capturing"):
                machine.kernels.Buffer([4])
        stream.synchronize()

    def test_an_exception_ends_the_capture(self, machine: Machine):
        buffer = machine.put(np.zeros(4, np.uint8))

        def fail() -> None:
            with machine.stream.capture():
                machine.kernels.fill(buffer, 1, stream=machine.stream)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert not machine.get(buffer).any()

    def test_a_graph_is_empty_until_its_capture_has_ended(self, machine: Machine):
        buffer = machine.kernels.Buffer([4])
        other = machine.kernels.Stream()
        with machine.stream.capture() as graph:
            machine.kernels.fill(buffer, 1, stream=machine.stream)
            with pytest.raises(ValueError, match="graph: it is empty until its capture has ended"):
                graph.launch(other)


class TestDevices:
    def test_devices_are_described(self, machine: Machine):
        found = machine.kernels.devices()
        assert len(found) == machine.kernels.device_count() > 0
        assert set(found[0]) == {
            "name",
            "compute_capability",
            "multiprocessors",
            "memory",
            "integrated",
        }
        assert machine.kernels.current_device() == 0
        free, total = machine.kernels.memory()
        assert 0 < free <= total

    def test_an_unknown_device_is_refused(self, machine: Machine):
        with pytest.raises(RuntimeError, match="CUDA: invalid device ordinal"):
            machine.kernels.set_device(10**6)

    @emulated_only
    def test_memory_that_is_not_there_is_refused(self):
        kernels = native.emulated
        kernels.set_device_properties(memory=1 << 20, integrated=True)
        try:
            assert kernels.devices()[0]["integrated"]
            with pytest.raises(RuntimeError, match=r"CUDA: out of memory \(cudaErrorMemoryAlloc"):
                kernels.Buffer([1 << 21])
        finally:
            kernels.set_device_properties(memory=4 << 30, integrated=False)

    @emulated_only
    def test_everything_is_given_back(self, rng):
        gc.collect()
        before = native.emulated.usage()
        machine = Machine("emulated")
        for _ in range(50):
            there = machine.put(random_bytes(rng, 20, 20, 2))
            machine.get(machine.kernels.mask(there, 4, stream=machine.stream))
            event = machine.kernels.Event()
            event.record(machine.stream)
            kept = pinned(machine, random_bytes(rng, 20))
            with machine.stream.capture() as graph:
                machine.kernels.fill(there, 0, stream=machine.stream)
            graph.launch(machine.stream)
        del machine, there, event, kept, graph
        gc.collect()
        assert native.emulated.usage() == before

    @pytest.mark.skipif(not hasattr(native, "cuda"), reason="this build has no _native.cuda")
    def test_without_a_driver_every_call_says_so(self):
        if native.cuda.device_count() > 0:
            pytest.skip("there is a GPU")
        assert native.cuda.devices() == []
        assert native.cuda.runtime_version() >= (12, 0)
        calls = [
            native.cuda.Stream,
            native.cuda.Event,
            native.cuda.memory,
            lambda: native.cuda.Buffer([4]),
            lambda: native.cuda.PinnedBuffer([4]),
            lambda: native.cuda.label_workspace(4, 4),
        ]
        for call in calls:
            with pytest.raises(RuntimeError, match=r"CUDA: (there is )?no "):
                call()
