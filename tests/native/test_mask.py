"""The mask, against a NumPy comparison."""

import numpy as np
import pytest
from machines import LAYOUTS, Machine, sizes

from nucleiseg._native import cpu


def random_maps(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 2), np.uint8)


@pytest.mark.parametrize("shape", [(0, 0, 2), (0, 5, 2), (5, 0, 2)])
def test_empty_maps_are_refused(shape):
    with pytest.raises(ValueError, match=r"maps: got shape .*, which is empty"):
        cpu.mask(np.zeros(shape, np.uint8), 128)


@pytest.mark.parametrize("shape", [(1, 1), (1, 333), (257, 1), (63, 129), (300, 500)])
@pytest.mark.parametrize("threshold", [0, 1, 127, 128, 255])
def test_it_is_the_comparison(rng, shape, threshold, level):
    maps = random_maps(rng, *shape)
    np.testing.assert_array_equal(cpu.mask(maps, threshold), maps[..., 0] >= threshold, strict=True)


def test_the_memory_layout_does_not_matter(rng, layout):
    maps = random_maps(rng, 45, 67)
    np.testing.assert_array_equal(cpu.mask(layout(maps), 100), maps[..., 0] >= 100)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_thread_count_does_not_matter(rng, threads):
    maps = random_maps(rng, 513, 511)
    np.testing.assert_array_equal(cpu.mask(maps, 77, threads=threads), maps[..., 0] >= 77)


def test_it_writes_into_part_of_a_larger_mask(rng):
    whole = np.zeros((40, 60), bool)
    maps = random_maps(rng, 20, 30)
    part = whole[10:30, 5:35]
    assert cpu.mask(maps, 90, out=part) is part
    np.testing.assert_array_equal(part, maps[..., 0] >= 90)
    assert whole.sum() == part.sum()


def test_wrong_arguments_are_named():
    maps = np.zeros((4, 4, 2), np.uint8)
    with pytest.raises(TypeError, match="maps: got dtype float32; accepted is uint8"):
        cpu.mask(maps.astype(np.float32), 1)
    with pytest.raises(ValueError, match=r"maps: got shape \(4, 4\); accepted is \(H, W, 2\)"):
        cpu.mask(maps[..., 0], 1)
    for threshold in (-1, 256):
        with pytest.raises(ValueError, match=f"threshold: got {threshold}; accepted is 0 to 255"):
            cpu.mask(maps, threshold)
    with pytest.raises(ValueError, match="threads: got 0"):
        cpu.mask(maps, 1, threads=0)
    with pytest.raises(TypeError, match="out: got dtype uint8; accepted is bool"):
        cpu.mask(maps, 1, out=np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="contiguous in its last axis"):
        cpu.mask(maps, 1, out=np.zeros((4, 8), bool)[:, ::2])


class TestOnDevices:
    def test_it_is_the_cpus_bit_for_bit(self, rng, machine: Machine):
        for seed, (height, width) in enumerate(sizes(rng, 25, 700)):
            machine.shuffle(seed)
            maps, threshold = random_maps(rng, height, width), int(rng.integers(256))
            found = machine.kernels.mask(machine.put(maps), threshold, stream=machine.stream)
            expected = cpu.mask(maps, threshold)
            np.testing.assert_array_equal(machine.get(found), expected, strict=True)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_the_memory_layout_does_not_matter(self, rng, machine: Machine, layout):
        maps = random_maps(rng, 45, 67)
        found = machine.kernels.mask(LAYOUTS[layout](machine, maps), 100, stream=machine.stream)
        np.testing.assert_array_equal(machine.get(found), maps[..., 0] >= 100)

    def test_it_writes_into_rows_of_a_larger_mask(self, rng, machine: Machine):
        whole = machine.put(np.zeros((40, 30), bool))
        maps = random_maps(rng, 20, 30)
        part = whole[10:30]
        assert machine.kernels.mask(machine.put(maps), 90, stream=machine.stream, out=part) is part
        expected = np.zeros((40, 30), bool)
        expected[10:30] = maps[..., 0] >= 90
        np.testing.assert_array_equal(machine.get(whole), expected)

    def test_wrong_arguments_are_named(self, machine: Machine):
        mask, stream = machine.kernels.mask, machine.stream
        maps = machine.put(np.zeros((4, 4, 2), np.uint8))
        with pytest.raises(TypeError, match="maps: got ndarray; accepted is an array on the dev"):
            mask(np.zeros((4, 4, 2), np.uint8), 1, stream=stream)
        with pytest.raises(TypeError, match="maps: got dtype float32; accepted is uint8"):
            mask(machine.put(np.zeros((4, 4, 2), np.float32)), 1, stream=stream)
        with pytest.raises(ValueError, match=r"maps: got shape \(4, 4\); accepted is \(H, W, 2\)"):
            mask(maps[:, :, 0], 1, stream=stream)
        with pytest.raises(ValueError, match="threshold: got 256; accepted is 0 to 255"):
            mask(maps, 256, stream=stream)
        with pytest.raises(TypeError, match="out: got dtype uint8; accepted is bool"):
            mask(maps, 1, stream=stream, out=machine.kernels.Buffer([4, 4]))
        with pytest.raises(ValueError, match="not C-contiguous"):
            mask(maps, 1, stream=stream, out=machine.kernels.Buffer([4, 8], "bool")[:, ::2])
        with pytest.raises(ValueError, match="out: got memory that maps uses"):
            mask(maps, 1, stream=stream, out=maps.view([4, 4], "bool"))
