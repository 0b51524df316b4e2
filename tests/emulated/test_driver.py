"""The driver of a GPU, on the emulated device and on a real one where there is one.

Work of the emulated device is done when something waits for it, so what is tested for its values is
tested for its waits.
"""

import dataclasses
import gc
import threading

import numpy as np
import pytest
from compare import differences
from driver_machines import (
    DATA,
    EVERY_DEVICE,
    OUTPUTS,
    Machine,
    both,
    check,
    emulated_backend,
    example,
    missing,
    noise,
    own_backend,
    watched_backend,
)

import nucleiseg._native as native
from nucleiseg import Model, Segmenter, autoscale, images

SMALLEST_TILE = 2 * Model.load().halo + Model.load().stride
REASON = missing("emulated")
emulated_only = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture(scope="module", params=EVERY_DEVICE)
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20241122)


class TestAnswers:
    def test_real_images_are_the_cpus_bit_for_bit(self, machine):
        """Of all sizes and stains, scales found by looking."""
        found = dict(differences(DATA, machine.segmenter, machine.reference))
        assert len(found) == 7
        assert not any(found.values()), found

    @emulated_only
    def test_the_network_on_the_device_gives_the_cpus_answers(self):
        device = Segmenter(device=own_backend("emulated"))
        found = dict(differences(DATA, device, Segmenter(device="cpu")))
        assert len(found) == 7
        assert not any(found.values()), found

    @emulated_only
    def test_the_network_on_the_device_in_tiles_and_graphs(self):
        device, cpu = (
            Segmenter(device=own_backend("emulated"), tile=480, batch=3),
            Segmenter(device="cpu"),
        )
        image = np.tile(example("purple_on_violet"), (2, 2, 1))[:481, :497]
        expected = both(cpu, image, scale=1)
        for _ in range(4):
            for one, other in zip(both(device, image, scale=1), expected, strict=True):
                np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize(
        "shape", [(1, 1), (1, 131), (127, 1), (31, 37), (257, 263), (200, 100, 3), (97, 89, 4)]
    )
    def test_any_size(self, rng, machine, shape):
        check(machine, noise(rng, *shape))

    @pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
    def test_any_dtype(self, machine, dtype):
        image = (example().astype(float) * 7 - 100).clip(0 if dtype == "uint16" else None)
        check(machine, image.astype(dtype)[:90, :120])

    def test_any_layout_of_memory(self, machine):
        image = example("hematoxylin_eosin")[:101, :153]
        for view in (image[::2, ::3], image[::-1, ::-1], image[..., 1], np.asfortranarray(image)):
            check(machine, view)
        check(machine, image.astype(">u2"))

    @pytest.mark.parametrize("value", [0, 200])
    def test_a_constant_image_has_nothing_in_it(self, machine, value):
        image = np.full((70, 90), value, np.uint8)
        for _ in range(3):
            check(machine, image)
            check(machine, image, scale=1)
            check(machine, image, scale=2)
        for output in OUTPUTS:
            left = machine.segmenter.segment(image, output, to_host=False)
            assert not machine.get(left).any()
        assert machine.segmenter.find_scale(image) == 1

    @pytest.mark.parametrize("scale", [0.6, 1, 1.7, "auto"])
    def test_any_scale(self, machine, scale):
        check(machine, example()[:120, :140], scale=scale)

    def test_the_scale_is_found_as_on_the_cpu(self, machine):
        small = example("fluorescence_crowded")[:256:2, :256:2]
        large = np.kron(example()[:64, :64], np.ones((4, 4), np.uint8))
        for image in (small, large):
            assert machine.segmenter.find_scale(image) == machine.reference.find_scale(image)
            check(machine, image)

    def test_images_too_large_to_be_looked_at_as_a_whole(self, machine, monkeypatch):
        monkeypatch.setattr("nucleiseg.driver.WHOLE", 20_000)
        small = dataclasses.replace(autoscale.SETTINGS, window=64)
        monkeypatch.setattr("nucleiseg.autoscale.SETTINGS", small)
        image = example("fluorescence_wide")[:180, :260]
        large = np.kron(image[:80, :100], np.ones((3, 3), np.uint8))
        for picture in (image, large):
            expected = machine.reference.segment(picture, "labels")
            np.testing.assert_array_equal(machine.segmenter.segment(picture, "labels"), expected)
            mirrored = np.ascontiguousarray(picture[:, ::-1])
            found = machine.segmenter.segment(machine.put(picture)[:, ::-1], "labels")
            np.testing.assert_array_equal(found, machine.reference.segment(mirrored, "labels"))

    @pytest.mark.parametrize("scale", [0.3, 0.6, 1.4])
    def test_images_that_are_resized_part_by_part(self, machine, scale):
        image = example("hematoxylin_eosin")[:150, :170]
        expected = [machine.expected(image, output, scale=scale) for output in OUTPUTS]
        mirrored = machine.put(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
        small = machine.new(tile=SMALLEST_TILE, batch=2)
        small._pipeline.native.whole = 0
        for given in (image, machine.put(image), mirrored):
            for output, answer in zip(OUTPUTS, expected, strict=True):
                found = small.segment(given, output, scale=scale)
                np.testing.assert_array_equal(found, answer)

    @pytest.mark.parametrize("batch", [1, 3])
    def test_images_larger_than_a_tile(self, machine, batch):
        image = np.tile(example("purple_on_violet"), (2, 2, 1))[
            : SMALLEST_TILE + 49, : SMALLEST_TILE + 81
        ]
        small = machine.new(tile=SMALLEST_TILE + 64, batch=batch)
        for output in ("mask", "labels"):
            for scale in ("auto", 1, 1):
                expected = machine.expected(image, output, scale=scale)
                found = small.segment(image, output, scale=scale)
                np.testing.assert_array_equal(found, expected)

    def test_both_and_decode(self, machine):
        image = example()[:110, :130]
        for scale in ("auto", 0.7, 1, 2):
            mask, labels = both(machine.segmenter, image, scale=scale)
            expected = both(machine.reference, image, scale=scale)
            np.testing.assert_array_equal(mask, expected[0])
            np.testing.assert_array_equal(labels, expected[1])
        maps = machine.segmenter.segment(image, "maps")
        there = machine.segmenter.segment(image, "maps", to_host=False)
        for output in ("mask", "labels"):
            expected = machine.reference.decode(maps, output, scale=1.5)
            for given in (maps, there):
                found = machine.segmenter.decode(given, output, scale=1.5)
                np.testing.assert_array_equal(found, expected)

    def test_an_image_on_the_device_is_measured(self, machine):
        image = example("hematoxylin_eosin")[:110, :130]
        expected = machine.reference.analyze(image, scale=1)
        for given in (image, machine.put(image)):
            found = machine.segmenter.analyze(given, scale=1)
            np.testing.assert_array_equal(found.labels, expected.labels)
            for name, values in expected.table.items():
                np.testing.assert_array_equal(found.table[name], values, err_msg=name)

    def test_brown_nuclei_of_an_image_on_the_device(self, machine):
        image = np.ascontiguousarray(example("hematoxylin_eosin")[:110, :130, ::-1])
        he, *others = (
            machine.reference.segment(image, "labels", stain=one)
            for one in ("he", "dab", "hematoxylin")
        )
        assert not any(np.array_equal(he, other) for other in others)
        for stain, expected in zip(
            ("auto", "he", "dab", "hematoxylin"), (he, he, *others), strict=True
        ):
            found = machine.segmenter.segment(machine.put(image), "labels", stain=stain)
            np.testing.assert_array_equal(found, expected)

    @emulated_only
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_the_order_of_the_threads_does_not_matter(self, machine, seed):
        native.emulated.set_seed(seed)
        check(machine, example("fluorescence_crowded")[:120, :130])


class TestRepetition:
    @pytest.mark.parametrize("scale", ["auto", 1, 1.5])
    def test_other_images_of_one_shape(self, rng, machine, scale):
        """The third and later ones are done by graphs."""
        first = example()[:100, :110].copy()
        for image in (first, 255 - first, first[::-1], np.roll(first, 40), first):
            check(machine, np.ascontiguousarray(image), scale=scale)

    def test_shapes_in_turn(self, rng, machine):
        pictures = [noise(rng, 40 + 20 * i, 50 + 15 * i) for i in (2, 0, 3, 1, 4)]
        for _ in range(4):
            for picture in pictures:
                found = machine.segmenter.segment(picture, "labels", scale=1)
                np.testing.assert_array_equal(found, machine.expected(picture, scale=1))

    def test_graphs_are_used(self, machine):
        """The engine is called for the first image, for the second, and for the capture."""
        backend = watched_backend(machine.name)
        segmenter, image = Segmenter(device=backend), example()[:100, :100]
        for turn in range(5):
            found = segmenter.segment(np.roll(image, turn), scale=1)
            expected = machine.expected(np.roll(image, turn), "mask", scale=1)
            np.testing.assert_array_equal(found, expected)
            assert len(backend.engine.calls) == (1, 3, 3, 3, 3)[turn]

    @pytest.mark.parametrize("scale", [2, 0.7])
    def test_limits_that_are_given_and_found_in_turn(self, machine, scale):
        """A graph of maps reads the limits of its image, wherever they come from."""
        image = example()[:120, :110]
        pipeline, expected = machine.segmenter._pipeline, machine.reference._pipeline
        given = expected.limits(image)._replace(high=250.0)
        for limits in (None, given, None, given, given, None):
            maps, found = pipeline.maps(image, scale, limits)
            answer, wanted = expected.maps(image, scale, limits)
            assert found == wanted
            np.testing.assert_array_equal(pipeline.host(maps), answer)

    def test_a_bad_image_spoils_nothing(self, machine):
        good = example()[:110, :120].astype(np.float32)
        bad = good.copy()
        bad[3, 5] = np.nan
        for _ in range(4):
            for scale in (1, "auto", 2):
                with pytest.raises(ValueError, match=r"image.*1 of 13200"):
                    machine.segmenter.segment(bad, scale=scale)
                check(machine, good, scale=scale)

    @emulated_only
    @pytest.mark.parametrize("output", OUTPUTS)
    def test_a_graph_that_cannot_be_captured_costs_a_line(self, caplog, output):
        """What allocates fails in a capture, as an engine may that worked before."""
        segmenter = Segmenter(device=emulated_backend())
        image = example()[:80, :90]
        segmenter._backend.engine.before = lambda: native.emulated.Buffer([16])
        expected = Segmenter(device="cpu").segment(image, output, scale=1)
        for _ in range(5):
            found = segmenter.segment(image, output, scale=1)
            np.testing.assert_array_equal(found, expected)
        (record,) = caplog.records
        words = "images of 80 x 90 pixels run without a graph: CUDA: "
        assert record.getMessage().startswith(words)

    @emulated_only
    @pytest.mark.parametrize(
        "error", [RuntimeError("TensorRT: no"), ValueError("bad"), KeyError(7)]
    )
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_an_engine_that_fails_is_heard_and_spoils_nothing(self, number, error):
        """At the first image, step by step in a stream of its own, and in the capture."""
        segmenter = Segmenter(device=emulated_backend())
        engine, image = segmenter._backend.engine, example()[:80, :90]
        expected, raised = Segmenter(device="cpu").segment(image, scale=1), 0

        def fail() -> None:
            if len(engine.calls) == number:
                raise error

        engine.before = fail
        for _ in range(5):
            try:
                found = segmenter.segment(image, scale=1)
            except type(error):
                raised += 1
            else:
                np.testing.assert_array_equal(found, expected)
        # What a capture does not survive, the steps before it do.
        assert raised == (number < 3 or not isinstance(error, RuntimeError))

    @emulated_only
    def test_a_graphs_stream_sees_one_shape(self, rng):
        """An engine's state goes with a stream, and a graph relies on that state."""
        segmenter = Segmenter(device=emulated_backend())
        pieces = Segmenter(device=segmenter._backend, tile=SMALLEST_TILE, batch=2)
        engine = segmenter._backend.engine
        for size in (40, 120):
            for _ in range(4):
                for scale in (1, 1.5):
                    image = example()[:size, :size].copy()
                    segmenter.segment(image, "labels", scale=scale)
        for _ in range(4):  # three tiles: two, and one
            pieces.segment(noise(rng, 40, SMALLEST_TILE + 48), "labels", scale=1)
        shapes: dict[int, set[tuple[int, int, int]]] = {}
        for stream, shape in engine.calls:
            shapes.setdefault(stream, set()).add(shape)
        # That of work step by step, one for each of four graphs, and that of tiles of two shapes.
        assert sorted(map(len, shapes.values()))[:4] == [1] * 4
        assert len(shapes) == 6
        engine.calls.clear()
        for scale in (1, 1.5):
            segmenter.segment(example()[:120, :120].copy(), "labels", scale=scale)
        assert not engine.calls

    @emulated_only
    def test_streams_are_used_again_when_graphs_go(self, rng):
        """So that an engine has state for few streams, however many shapes there are."""
        segmenter = Segmenter(device=emulated_backend())
        for side in range(40, 80, 2):
            for _ in range(3):
                picture = noise(rng, side, side)
                found = segmenter.segment(picture, "labels", scale=1)
        expected = Segmenter(device="cpu").segment(picture, "labels", scale=1)
        np.testing.assert_array_equal(found, expected)
        assert len({stream for stream, _ in segmenter._backend.engine.calls}) <= 8


class TestResultsOnTheHost:
    def test_they_stay_as_they_are(self, rng, machine):
        """Each has memory of its own, which is used again only when nobody has it."""
        image = example()[:80, :90]
        kept = [machine.segmenter.segment(image, output, scale=1)[3:] for output in OUTPUTS * 3]
        for _ in range(5):
            both(machine.segmenter, noise(rng, 80, 90), scale=1)
        for found, output in zip(kept, OUTPUTS * 3, strict=True):
            np.testing.assert_array_equal(found, machine.expected(image, output, scale=1)[3:])

    def test_their_memory_is_used_again_when_the_last_view_is_gone(self, rng, machine):
        segmenter, images = machine.new(), [noise(rng, 80, 90) for _ in range(3)]
        view = segmenter.segment(images[0], "labels", scale=1)[3:]
        address, expected = view.ctypes.data, machine.expected(images[0], scale=1)[3:]
        others = [segmenter.segment(image, "labels", scale=1) for image in images[1:]]
        assert address - 3 * 90 * 4 not in [other.ctypes.data for other in others]
        np.testing.assert_array_equal(view, expected)
        del view
        again = segmenter.segment(images[0], "labels", scale=1)
        assert again.ctypes.data == address - 3 * 90 * 4
        del segmenter, others
        gc.collect()
        np.testing.assert_array_equal(again[3:], expected)

    @emulated_only
    def test_no_more_memory_is_kept_than_eight_results_need(self, rng):
        segmenter, picture = Segmenter(device=emulated_backend()), noise(rng, 80, 90)
        used = []
        for count in (8, 12):
            for to_host in (True, False):
                results = [
                    segmenter.segment(picture, scale=1, to_host=to_host) for _ in range(count)
                ]
                del results
            gc.collect()
            used.append(native.emulated.usage())
        assert used[0] == used[1]

    @emulated_only
    def test_who_keeps_many_gets_memory_that_is_not_page_locked(self):
        backend, image = emulated_backend(), example()[:80, :90]
        few = 3 * 80 * 90
        device = native.emulated.Device(backend.engine.enqueue, 2, print, page_locked=few)
        segmenter = Segmenter(device=dataclasses.replace(backend, native=device))
        expected = segmenter.segment(image, "mask", scale=1)
        before = native.emulated.usage()["pinned_bytes"]
        kept = [segmenter.segment(image, "mask", scale=1) for _ in range(9)]
        assert native.emulated.usage()["pinned_bytes"] - before <= few + image.nbytes
        for found in kept:
            np.testing.assert_array_equal(found, expected)


class TestManyImages:
    def test_map_gives_them_in_order(self, machine):
        paths = [DATA / "fluorescence_small.png", DATA / "purple_on_white.png"]
        for output in ("mask", "labels"):
            found = machine.segmenter.map([*paths, *paths], output)
            for path, result in zip([*paths, *paths], found, strict=True):
                expected = machine.expected(images.read(path), output)
                np.testing.assert_array_equal(result, expected)

    def test_map_of_frames_of_a_camera(self, rng, machine):
        """One shape again and again, each result its own memory."""
        frames = [noise(rng, 70, 90) for _ in range(12)]
        for to_host in (True, False):
            found = list(machine.segmenter.map(frames, "labels", to_host=to_host))
            for frame, result in zip(frames, found, strict=True):
                labels = result if to_host else machine.get(result)
                np.testing.assert_array_equal(labels, machine.expected(frame))

    def test_several_threads(self, rng, machine):
        pictures = [noise(rng, 80 + 7 * (i % 3), 90) for i in range(6)]
        expected = [machine.expected(picture) for picture in pictures]
        wrong = []

        def work(start: int) -> None:
            for turn in range(8):
                which = (start + turn) % len(pictures)
                found = machine.segmenter.segment(pictures[which], "labels")
                if not np.array_equal(found, expected[which]):
                    wrong.append(which)

        threads = [threading.Thread(target=work, args=[i]) for i in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    @emulated_only
    def test_nothing_is_allocated_for_shapes_that_come_again(self, rng):
        segmenter = Segmenter(device=emulated_backend())

        def some() -> None:
            for shape in ((90, 70), (64, 128, 3), (33, 77)):
                for scale in (1, 2):
                    segmenter.segment(noise(rng, *shape), "labels", scale=scale)
                left = segmenter.segment(noise(rng, *shape), scale=1, to_host=False)
                del left

        gc.collect()
        for _ in range(4):
            some()
        before = native.emulated.usage()
        for _ in range(10):
            some()
            assert native.emulated.usage() == before

    @emulated_only
    def test_the_streams_of_a_lane_share_what_is_between_the_layers(self, rng):
        """Each graph has a stream of its own, and only one of them is at work."""
        backend = watched_backend("emulated")
        segmenter = Segmenter(device=backend)
        shapes = ((90, 70), (40, 50, 3), (60, 33))
        pictures = {shape: noise(rng, *shape) for shape in shapes}
        for turn in range(4):
            for picture in pictures.values():
                found = segmenter.segment(picture, "labels", scale=1)
                answer = Segmenter(device="cpu").segment(picture, "labels", scale=1)
                np.testing.assert_array_equal(found, answer)
            if turn == 2:
                called = len(backend.engine.calls)
        assert len(backend.engine.calls) == called  # graphs
        assert len({stream for stream, _, _ in backend.engine.calls}) == 4
        assert len({memory for _, _, memory in backend.engine.calls}) == 1

    @emulated_only
    def test_everything_is_given_back(self, rng):
        gc.collect()
        before = native.emulated.usage()
        segmenter = Segmenter(device=emulated_backend())
        for _ in range(4):
            left = segmenter.segment(noise(rng, 90, 70), "labels", to_host=False)
            list(segmenter.map([noise(rng, 90, 70)] * 4))
        assert native.emulated.usage() != before
        del segmenter, left
        assert native.emulated.usage() == before
