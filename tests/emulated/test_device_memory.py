"""Arrays in GPU memory that go in and stay there, and memory that a GPU shares with the host."""

import gc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from driver_machines import (
    EVERY_DEVICE,
    MEMORY,
    OUTPUTS,
    Machine,
    both,
    check,
    emulated_backend,
    example,
    missing,
    noise,
)

import nucleiseg._native as native
from nucleiseg import Model, Segmenter

SMALLEST_TILE = 2 * Model.load().halo + Model.load().stride
REASON = missing("emulated")
emulated_only = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module", params=EVERY_DEVICE)
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20241122)


@pytest.fixture
def integrated() -> Iterator[None]:
    """Makes the emulated device one that shares the host's memory."""
    native.emulated.set_device_properties(memory=MEMORY, integrated=True)
    yield
    native.emulated.set_device_properties(memory=MEMORY, integrated=False)


class Interface:
    """An array of a library that has ``__cuda_array_interface__`` alone."""

    def __init__(self, buffer: object, **changes: object) -> None:
        self.kept = buffer
        self.__cuda_array_interface__ = {**buffer.__cuda_array_interface__, **changes}


class Dlpack:
    """An array of a library that has ``__dlpack__`` alone."""

    def __init__(self, buffer: object) -> None:
        self._buffer = buffer

    def __dlpack__(self, *, stream: int | None = None) -> object:
        return self._buffer.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._buffer.__dlpack_device__()


class Produced(Dlpack):
    """An array that another stream writes, for which a consumer's stream is made to wait."""

    def __init__(self, buffer: object, event: object, stream: Callable[[int], object]) -> None:
        super().__init__(buffer)
        self._event, self._stream = event, stream

    def __dlpack__(self, *, stream: int | None = None) -> object:
        self._stream(stream).wait(self._event)
        return super().__dlpack__(stream=stream)


FORMS = {"Buffer": lambda buffer: buffer, "interface": Interface, "DLPack": Dlpack}


@emulated_only
@pytest.mark.usefixtures("integrated")
class TestSharedMemory:
    def test_answers_are_the_same(self):
        device, cpu = Segmenter(device=emulated_backend()), Segmenter(device="cpu")
        for name in ("fluorescence_small", "hematoxylin_eosin"):
            image = example(name)[:100, :110]
            for scale in ("auto", 1, 0.7, 2):
                for output in OUTPUTS:
                    expected = cpu.segment(image, output, scale=scale)
                    for _ in range(3):
                        found = device.segment(image, output, scale=scale)
                        np.testing.assert_array_equal(found, expected)

    def test_images_that_are_resized_part_by_part(self):
        device, cpu = (
            Segmenter(device=emulated_backend(), tile=SMALLEST_TILE),
            Segmenter(device="cpu"),
        )
        device._pipeline.native.whole = 0
        image = example("hematoxylin_eosin")[:150, :170]
        for scale in (0.3, 1.4):
            expected = both(cpu, image, scale=scale)
            found = both(device, image, scale=scale)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize(("output", "copies"), [("mask", 0), ("labels", 1), ("maps", 1)])
    def test_what_both_use_once_is_not_copied(self, output, copies):
        """What kernels read again and again is, as a Jetson's GPU does not cache shared memory."""
        segmenter, cpu = Segmenter(device=emulated_backend()), Segmenter(device="cpu")
        image = example()[:100, :110]
        expected = cpu.segment(image, output, scale=1)
        for _ in range(4):
            before = native.emulated.copies()
            np.testing.assert_array_equal(segmenter.segment(image, output, scale=1), expected)
            assert native.emulated.copies() - before == copies

    def test_arrays_on_the_device(self, rng):
        device, cpu = Machine("emulated"), Segmenter(device="cpu")
        image = noise(rng, 120, 130, 3)
        for _ in range(3):
            left = device.segmenter.segment(device.put(image), "labels", to_host=False)
            np.testing.assert_array_equal(device.get(left), cpu.segment(image, "labels"))


class TestArraysOnTheDevice:
    @pytest.mark.parametrize("form", FORMS)
    def test_they_are_taken_where_they_are(self, machine, form):
        image = example("hematoxylin_eosin")[:90, :111]
        for given in [image, *[np.ascontiguousarray(image[::-1])] * 3]:
            for scale in ("auto", 1, 1.6):
                check(machine, given, FORMS[form](machine.put(given)), scale=scale)

    @pytest.mark.parametrize("form", FORMS)
    def test_with_any_strides(self, machine, form):
        image = example("hematoxylin_eosin")[:90, :111]
        there = machine.put(image)
        for index in (np.s_[::2, ::3], np.s_[::-1, 3:], np.s_[:, :, 1]):
            for scale in ("auto", 1, 1, 1.6):
                view = FORMS[form](there[index])
                check(machine, np.ascontiguousarray(image[index]), view, scale=scale)

    @pytest.mark.parametrize("form", ["interface", "DLPack"])
    def test_their_own_stream_is_waited_for(self, machine, form):
        image = example()[:99, :111]
        for _ in range(3):
            source = machine.kernels.PinnedBuffer(image.shape)
            source.array[...] = image
            there, producer = machine.kernels.Buffer(image.shape), machine.kernels.Stream()
            machine.kernels.copy(there, source, stream=producer)
            event = machine.kernels.Event()
            event.record(producer)
            if form == "DLPack":
                given = Produced(there, event, machine.kernels.Stream)
            else:
                given = Interface(there, stream=producer.handle)
            found = machine.segmenter.segment(given, "labels")
            np.testing.assert_array_equal(found, machine.expected(image))

    def test_a_producer_on_the_legacy_default_stream_is_waited_for(self, machine):
        image = example()[:99, :111]
        source = machine.kernels.PinnedBuffer(image.shape)
        source.array[...] = image
        there = machine.kernels.Buffer(image.shape)
        machine.kernels.copy(there, source, stream=machine.kernels.Stream(1))
        found = machine.segmenter.segment(Interface(there, stream=1), "labels")
        np.testing.assert_array_equal(found, machine.expected(image))

    @pytest.mark.parametrize("output", OUTPUTS)
    @pytest.mark.parametrize("form", FORMS)
    def test_results_stay_there(self, machine, output, form):
        image = example()[:80, :90]
        for scale in ("auto", 1, 1.5, 0.8):
            left = machine.segmenter.segment(image, output, scale=scale, to_host=False)
            assert left.__dlpack_device__()[0] == 2
            consumer = machine.kernels.Stream()
            taken = machine.kernels.as_buffer(FORMS[form](left), stream=consumer)
            expected = machine.expected(image, output, scale=scale)
            found = machine.kernels.to_host(taken, stream=consumer)
            np.testing.assert_array_equal(found, expected, strict=True)
        for name in ("mask", "labels"):
            left = machine.segmenter.segment(machine.put(image), name, to_host=False)
            np.testing.assert_array_equal(machine.get(left), machine.expected(image, name))

    def test_a_result_stays_as_it_is(self, rng, machine):
        """Also what is seen through another library, while the result itself is gone."""
        image = example()[:80, :90]
        left = machine.segmenter.segment(image, "labels", to_host=False)
        part = machine.kernels.as_buffer(Dlpack(left[3:]), stream=machine.kernels.Stream())
        del left
        gc.collect()
        for _ in range(5):
            machine.segmenter.segment(noise(rng, 80, 90), "labels", to_host=False)
        np.testing.assert_array_equal(machine.get(part), machine.expected(image)[3:])

    def test_work_of_the_default_stream_still_finds_a_dropped_result(self, rng, machine):
        segmenter, image = machine.new(), example()[:80, :90]
        left = segmenter.segment(image, "labels", to_host=False)
        target = machine.kernels.PinnedBuffer(left.shape, left.dtype)
        default = machine.kernels.Stream(1)
        machine.kernels.copy(target, left, stream=default)
        address = left.ptr
        del left
        again = segmenter.segment(noise(rng, 80, 90), "labels", to_host=False)
        assert again.ptr == address
        default.synchronize()
        np.testing.assert_array_equal(target.array, machine.expected(image))

    @pytest.mark.parametrize("to_host", [True, False])
    def test_bad_ones_are_refused_as_on_the_host(self, machine, to_host):
        nan = np.zeros((9, 8), np.float32)
        nan[1, 2:4] = np.nan
        for bad in (
            np.zeros((0, 5), np.uint8),
            np.zeros(5, np.uint8),
            np.zeros((5, 5, 2), np.uint8),
            np.zeros((5, 5), np.int64),
            np.zeros((5, 5), np.complex64),
            nan,
            np.full((5, 5), np.inf),
            np.full((5, 5), 1e300),
        ):
            with pytest.raises((TypeError, ValueError)) as expected:
                machine.reference.segment(bad)
            for given in (bad, machine.put(bad)):
                for scale in ("auto", 1, 1, 1, 2):
                    with pytest.raises(expected.type) as found:
                        machine.segmenter.segment(given, scale=scale, to_host=to_host)
                    assert str(found.value) == str(expected.value)

    def test_bad_maps_are_refused_as_on_the_host(self, machine):
        for bad in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.float32)):
            with pytest.raises((TypeError, ValueError)) as expected:
                machine.reference.decode(bad)
            for given in (bad, machine.put(bad)):
                with pytest.raises(expected.type) as found:
                    machine.segmenter.decode(given)
                assert str(found.value) == str(expected.value)


class TestSizes:
    @emulated_only
    def test_free_memory_decides_how_large_tiles_are(self):
        sides = []
        for memory in (1 << 28, 1 << 30, 1 << 36):
            native.emulated.set_device_properties(memory=memory, integrated=False)
            segmenter = Segmenter(device=emulated_backend())
            sides.append(segmenter.tile)
            stride = segmenter.model.stride
            assert segmenter.tile % stride == 0
        native.emulated.set_device_properties(memory=MEMORY, integrated=False)
        assert sides == sorted(set(sides))
        assert sides[-1] == 3072
        assert segmenter.batch == 4

    @emulated_only
    def test_what_the_engine_cannot_take_is_refused(self):
        with pytest.raises(ValueError, match="tile: got 4096; accepted is 1 to 3072, which the en"):
            Segmenter(device=emulated_backend(), tile=4096)
        with pytest.raises(ValueError, match="batch: got 5; accepted is 1 to 4, which the engine"):
            Segmenter(device=emulated_backend(), batch=5)
