"""Arrays that go to other libraries and come from them, and memory that is used again."""

import gc

import numpy as np
import pytest
from machines import Machine, missing

import nucleiseg._native as native

REASON = missing("emulated")
emulated_only = pytest.mark.skipif(bool(REASON), reason=REASON)


class Dlpack:
    """An array of a library that has DLPack alone."""

    def __init__(self, buffer: object, device: tuple[int, int] = (2, 0)) -> None:
        self._buffer, self._device = buffer, device

    def __dlpack__(self, *, stream: int | None = None) -> object:
        return self._buffer.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device


class TestDlpack:
    @pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "float64", "complex64"])
    def test_values_shapes_and_strides_arrive(self, rng, machine: Machine, dtype):
        array = rng.integers(0, 2, (6, 7, 4)).astype(dtype)
        buffer = machine.put(array)
        for index in (np.s_[:], np.s_[1:5, ::3], np.s_[::-1, 2]):
            taken = machine.kernels.as_buffer(Dlpack(buffer[index]), stream=machine.stream)
            assert taken.dtype == array.dtype
            assert taken.shape == array[index].shape
            assert taken.strides == array[index].strides
            assert taken.ptr == buffer[index].ptr
        np.testing.assert_array_equal(
            machine.get(machine.kernels.as_buffer(Dlpack(buffer), stream=machine.stream)), array
        )

    def test_it_says_where_it_is(self, machine: Machine):
        assert machine.kernels.Buffer([1]).__dlpack_device__() == (2, 0)

    def test_what_cannot_be_given_is_refused(self, machine: Machine):
        buffer = machine.put(np.zeros(4, np.uint8))
        for options, words in (
            ({"copy": True}, "it gives no copies"),
            ({"dl_device": (1, 0)}, "on another device"),
        ):
            with pytest.raises(BufferError, match=f"__dlpack__: .*{words}"):
                buffer.__dlpack__(**options)
        with pytest.raises(BufferError, match="DLPack does not know datetime64"):
            machine.kernels.Buffer([2], "M8[s]").__dlpack__()

    def test_what_cannot_be_taken_is_refused(self, machine: Machine):
        buffer = machine.put(np.zeros(4, np.uint8))
        with pytest.raises(ValueError, match="array: got an array on GPU 7; accepted are those on"):
            machine.kernels.as_buffer(Dlpack(buffer, (2, 7)), stream=machine.stream)
        for value in (Dlpack(buffer, (1, 0)), np.zeros(3), 5):
            with pytest.raises(TypeError, match=r"picture: got .*; accepted is an array on the"):
                machine.kernels.as_buffer(value, "picture", stream=machine.stream)

    @emulated_only
    def test_memory_lives_as_long_as_a_consumer_has_it(self):
        machine = Machine("emulated")
        gc.collect()
        before = native.emulated.usage()["device_bytes"]
        buffer = machine.kernels.Buffer([1000])
        taken = machine.kernels.as_buffer(Dlpack(buffer), stream=machine.stream)
        nobodys = buffer.__dlpack__()
        del buffer
        assert native.emulated.usage()["device_bytes"] == before + 1000
        del taken
        assert native.emulated.usage()["device_bytes"] == before + 1000
        del nobodys
        assert native.emulated.usage()["device_bytes"] == before


class Interface:
    """An array of a library that has ``__cuda_array_interface__`` alone."""

    def __init__(self, address: int, length: int = 4) -> None:
        self.__cuda_array_interface__ = {
            "version": 3, "shape": (length,), "typestr": "|u1", "data": (address, False),
        }  # fmt: skip


class TestInterface:
    def test_memory_that_kernels_can_reach_is_taken(self, rng, machine: Machine):
        array = rng.integers(0, 256, 4, np.uint8)
        mapped = machine.kernels.PinnedBuffer([4], mapped=True)
        mapped.array[...] = array
        there = machine.put(array)
        for address in (there.ptr, mapped.device().ptr):
            taken = machine.kernels.as_buffer(Interface(address), stream=machine.stream)
            assert taken.device == there.device == mapped.device().device == 0
            np.testing.assert_array_equal(machine.get(taken), array)

    def test_memory_of_the_host_is_refused(self, machine: Machine):
        """A kernel that reads it would end all use of the GPU by this process."""
        array, pinned = np.zeros(4, np.uint8), machine.kernels.PinnedBuffer([4])
        places = [array.ctypes.data]
        if machine.name == "emulated":  # a GPU with one address space reaches it, mapped or not
            places.append(pinned.ptr)
        for address in places:
            with pytest.raises(ValueError, match="image: got an array in the host's memory; accep"):
                machine.kernels.as_buffer(Interface(address), "image", stream=machine.stream)

    def test_an_array_without_values_has_no_address(self, machine: Machine):
        taken = machine.kernels.as_buffer(Interface(0, 0), stream=machine.stream)
        assert taken.shape == (0,)


@emulated_only
class TestPythonInAStream:
    def test_it_is_called_in_its_turn_and_again_by_graphs(self):
        kernels = native.emulated
        stream, buffer, seen = kernels.Stream(), kernels.PinnedBuffer([1]), []
        device = kernels.fill(kernels.Buffer([1]), 3, stream=stream)
        kernels.copy(buffer, device, stream=stream)
        kernels.call(lambda: seen.append(int(buffer.array[0])), stream=stream)
        assert seen == []
        stream.synchronize()
        assert seen == [3]
        with stream.capture() as graph:
            kernels.call(lambda: seen.append("graph"), stream=stream)
        assert seen == [3]
        gc.collect()
        graph.launch(stream)
        graph.launch(stream)
        stream.synchronize()
        assert seen == [3, "graph", "graph"]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_what_it_raises_stops_nothing(self):
        kernels = native.emulated
        stream, seen = kernels.Stream(), []
        kernels.call(lambda: 1 / 0, stream=stream)
        kernels.call(lambda: seen.append(1), stream=stream)
        stream.synchronize()
        assert seen == [1]

    def test_it_may_destroy_memory_that_later_work_uses(self):
        kernels = native.emulated
        stream, back = kernels.Stream(), kernels.PinnedBuffer([5000])
        held = [kernels.fill(kernels.Buffer([5000]), 7, stream=stream)]
        kernels.call(held.clear, stream=stream)
        kernels.copy(back, held[0], stream=stream)
        stream.synchronize()
        assert (back.array == 7).all()
        assert held == []
