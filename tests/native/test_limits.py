"""The two intensities that become 0 and 255, against their definition in NumPy."""

import numpy as np
import pytest
from limits_reference import colours, find
from machines import LAYOUTS, Machine
from numpy.typing import NDArray

from nucleiseg import images, walk
from nucleiseg._native import cpu

DTYPES = ["uint8", "uint16", "int16", "float32", "float64"]
USUAL = (1.0, 99.8)
EXAMPLES = "tests/data/images"


def agrees(image: NDArray, low: float = 1.0, high: float = 99.8, threads: int = 1) -> bool:
    found, expected = cpu.limits(image, low, high, threads=threads), find(image, low, high)
    above = int((colours(image).astype(np.float32) > found[2]).sum())
    return (found[0], found[1], above, found[3]) == pytest.approx(expected, rel=1e-12, abs=0)


def noise(rng: np.random.Generator) -> NDArray:
    """Return a field of noise on a background, with squares of any brightness."""
    height, width, channels = *rng.integers(1, 200, 2), rng.choice([1, 3, 4])
    field = rng.normal(100, rng.uniform(0, 12), (height, width, channels))
    for _ in range(rng.integers(0, 12)):
        top, left = rng.integers(0, height), rng.integers(0, width)
        field[top : top + 8, left : left + 8] += rng.uniform(-300, 2000)
    return field


def border(rng: np.random.Generator) -> NDArray:
    field = noise(rng)
    field[:, : max(1, field.shape[1] // 50)] = rng.choice([-32768, -9999, -1e30, 0, 65535])
    return field


def hot_pixels(rng: np.random.Generator) -> NDArray:
    field = noise(rng)
    field[rng.random(field.shape) < 0.003] = 60000
    return field


def few_values(rng: np.random.Generator) -> NDArray:
    return np.round(noise(rng) / 50) * 50


def wide(rng: np.random.Generator) -> NDArray:
    field = noise(rng)
    return rng.normal(0, 1, field.shape) * 10.0 ** rng.uniform(-30, 30, field.shape)


SCENES = {scene.__name__: scene for scene in (noise, border, hot_pixels, few_values, wide)}


def as_dtype(field: NDArray, dtype: str) -> NDArray:
    if np.issubdtype(dtype, np.integer):
        field = np.clip(field, np.iinfo(dtype).min, np.iinfo(dtype).max)
    return field.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scene", SCENES)
def test_they_are_those_of_the_definition(rng, dtype, scene):
    for number in range(12):
        image = as_dtype(SCENES[scene](rng), dtype)
        assert agrees(image)
        assert agrees(image, *np.sort(rng.uniform(0, 100, 2)).tolist(), threads=1 + number % 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_memory_layout_does_not_matter(rng, dtype, layout):
    image = as_dtype(noise(rng), dtype)
    assert cpu.limits(layout(image), *USUAL) == cpu.limits(image, *USUAL)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_thread_count_does_not_matter(rng, dtype, threads):
    image = as_dtype(rng.normal(100, 20, (301, 333, 3)), dtype)
    assert agrees(image, threads=threads)


def test_a_field_of_nuclei_has_its_percentiles():
    for path in walk.find([EXAMPLES]).images:
        image = images.read(path)
        low, high, ceiling, apart = cpu.limits(image, *USUAL)
        expected = np.percentile(colours(image), USUAL, method="lower")
        assert (low, high) == tuple(expected), path
        assert (ceiling, apart) == (np.inf, 0), path


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_image_is_blank(dtype):
    assert cpu.limits(np.full((300, 300), 7, dtype), 0, 100) == (7.0, 7.0, np.inf, 0.0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_noise_is_blank(rng, dtype):
    low, high, _, _ = cpu.limits(as_dtype(rng.normal(100, 5, (400, 400)), dtype), *USUAL)
    assert low == high


def test_squares_above_the_noise_are_not_blank(rng):
    image = rng.normal(100, 5, (400, 400))
    image[10:20, 10:20] += 100
    low, high, _, _ = cpu.limits(image.astype(np.uint16), *USUAL)
    assert 80 < low < 100
    assert 195 < high < 215


@pytest.mark.parametrize("value", [-32768, 32767])
def test_a_border_is_set_apart(rng, value):
    image = np.round(rng.normal(100, 5, (400, 400)))
    image[100:200, 100:200] = 300 + np.round(rng.normal(0, 5, (100, 100)))
    expected = cpu.limits(image.astype(np.int16), *USUAL)
    image[:, :12] = value
    low, high, ceiling, apart = cpu.limits(image.astype(np.int16), *USUAL)
    assert (low, high) == pytest.approx(expected[:2], abs=1)
    assert apart == pytest.approx(0.03)
    assert 320 < ceiling < 32767


def test_alpha_does_not_count():
    image = np.zeros((4, 4, 4), np.float32)
    image[..., 3] = np.nan
    assert cpu.limits(image, 0, 100)[:2] == (0.0, 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted(dtype, bad):
    image = np.zeros((3, 4), dtype)
    image[1, 2] = bad
    with pytest.raises(ValueError, match="image: 1 of 12 values is not finite"):
        cpu.limits(image, 0, 100)
    with pytest.raises(ValueError, match="image: all 12 values are not finite"):
        cpu.limits(np.full((3, 4), bad, dtype), 0, 100)


def test_doubles_beyond_float32_are_refused():
    image = np.zeros((3, 4))
    image[0, 0] = image[2, 2] = -1e300
    with pytest.raises(ValueError, match="2 of 12 values are beyond the range of float32"):
        cpu.limits(image, 0, 100)


@pytest.mark.parametrize("limits", [(-1, 50), (50, 101), (60, 40), (float("nan"), 50)])
def test_percentages_out_of_range_are_refused(limits):
    with pytest.raises(ValueError, match="accepted is 0 <= low <= high <= 100"):
        cpu.limits(np.zeros((2, 2), np.uint8), *limits)


class TestOnDevices:
    def limits(self, machine: Machine, image: object, low: float, high: float) -> NDArray:
        workspace = machine.scratch(machine.kernels.limits_workspace())
        found = machine.kernels.limits(image, low, high, stream=machine.stream, workspace=workspace)
        return machine.get(found)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("scene", SCENES)
    def test_they_are_the_cpus_bit_for_bit(self, rng, machine: Machine, dtype, scene):
        for seed in range(6):
            machine.shuffle(seed)
            image = as_dtype(SCENES[scene](rng), dtype)
            low, high = USUAL if seed % 2 else np.sort(rng.uniform(0, 100, 2)).tolist()
            found = self.limits(machine, machine.put(image), low, high)
            seen = machine.kernels.check_limits(found, colours(image).size)
            assert seen == cpu.limits(image, low, high)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_the_memory_layout_does_not_matter(self, rng, machine, dtype, layout, channels):
        image = as_dtype(rng.normal(100, 40, (29, 48, channels)), dtype)
        found = self.limits(machine, LAYOUTS[layout](machine, image), *USUAL)
        assert tuple(found[:4]) == cpu.limits(image, *USUAL)

    def test_they_go_from_kernel_to_kernel(self, rng, machine: Machine):
        image = as_dtype(hot_pixels(rng), "uint16")
        there = machine.put(image)
        workspace = machine.scratch(machine.kernels.limits_workspace())
        limits = machine.kernels.limits(there, *USUAL, stream=machine.stream, workspace=workspace)
        found = machine.kernels.normalize(there, limits=limits, stream=machine.stream)
        expected = cpu.normalize(image, *cpu.limits(image, *USUAL)[:3])
        np.testing.assert_array_equal(machine.get(found), expected)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_values_that_are_not_finite_are_counted(self, machine: Machine, dtype):
        for values in ([0, np.nan, 1, 2], [np.inf, -np.inf, np.nan, np.nan], [0, 1e300, 1, 2]):
            with np.errstate(over="ignore"):
                image = np.array([values], dtype)
            with pytest.raises(ValueError, match="image: ") as expected:
                cpu.limits(image, 0, 100)
            found = self.limits(machine, machine.put(image), 0, 100)
            with pytest.raises(ValueError, match="image: ") as raised:
                machine.kernels.check_limits(found, image.size)
            assert str(raised.value) == str(expected.value)

    def test_too_little_workspace_is_refused(self, machine: Machine):
        image = machine.put(np.zeros((4, 4), np.uint8))
        with pytest.raises(ValueError, match="workspace: got 8 bytes; accepted are at least"):
            machine.kernels.limits(image, 0, 1, stream=machine.stream, workspace=machine.scratch(8))
