"""The affine map to bytes, against NumPy."""

import numpy as np
import pytest
from machines import LAYOUTS, Machine, sizes

from nucleiseg._native import cpu

DTYPES = ["uint8", "uint16", "int16", "float32", "float64"]
SHAPES = [(1, 1), (1, 1, 1), (7, 5, 3), (33, 65), (64, 31, 1), (40, 77, 4), (3, 300, 3)]


def random_image(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.normal(0, 1000, shape).astype(dtype)


def colours(image: np.ndarray) -> np.ndarray:
    return image[..., :3] if image.ndim == 3 else image[..., None]


def expected_bytes(image: np.ndarray, low: float, high: float) -> np.ndarray:
    low32, high32 = np.float32(low), np.float32(high)
    values = np.broadcast_to(colours(image), (*image.shape[:2], 3)).astype(np.float32)
    if high32 <= low32:
        return np.zeros(values.shape, np.uint8)
    scaled = (values - low32) * (np.float32(255) / (high32 - low32))
    rounded = np.floor(np.nan_to_num(scaled, nan=0.0) + np.float32(0.5))
    return np.clip(rounded, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("function", [cpu.limits, cpu.normalize])
class TestArguments:
    @pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0, 3)])
    def test_an_empty_image_is_refused(self, function, shape):
        with pytest.raises(ValueError, match=r"image: got shape \(.*\), which is empty"):
            function(np.zeros(shape, np.uint8), low=0, high=1)

    @pytest.mark.parametrize("dtype", ["complex128", "int64", "bool", "float16", "uint32"])
    def test_another_dtype_is_named(self, function, dtype):
        message = (
            f"image: got dtype {dtype}; accepted are uint8, uint16, int16, float32 and float64"
        )
        with pytest.raises(TypeError, match=message):
            function(np.zeros((2, 2), dtype), low=0, high=1)

    @pytest.mark.parametrize("shape", [(4,), (2, 2, 2), (2, 2, 5), (1, 2, 2, 3), (2, 2, 0)])
    def test_another_shape_is_named(self, function, shape):
        with pytest.raises(ValueError, match=r"image: got shape .*; accepted are \(H, W\), "):
            function(np.zeros(shape, np.uint8), low=0, high=1)

    def test_a_list_is_refused(self, function):
        with pytest.raises(TypeError, match="image: got list; accepted is a NumPy array"):
            function([[1, 2]], low=0, high=1)

    @pytest.mark.parametrize("threads", [0, -1])
    def test_no_threads_are_refused(self, function, threads):
        with pytest.raises(ValueError, match=f"threads: got {threads}; accepted is 1 to 1024"):
            function(np.zeros((2, 2), np.uint8), low=0, high=1, threads=threads)


class TestNormalize:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("limits", [(0, 255), (-1000, 1000), (3.25, 197.125), (100, 101)])
    def test_it_is_the_formula_bit_for_bit(self, rng, dtype, shape, limits, level):
        image = random_image(rng, shape, dtype)
        np.testing.assert_array_equal(
            cpu.normalize(image, *limits), expected_bytes(image, *limits), strict=True
        )

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
    def test_every_integer_is_mapped_bit_for_bit(self, dtype, level):
        limits = np.iinfo(dtype)
        image = np.arange(limits.min, limits.max + 1).astype(dtype)[None]
        for low, high in [(11, 190.5), (-300, 7000), (0.1, 60000)]:
            np.testing.assert_array_equal(
                cpu.normalize(image, low, high), expected_bytes(image, low, high)
            )

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_the_memory_layout_does_not_matter(self, rng, dtype, channels, layout):
        image = random_image(rng, (29, 43, channels), dtype)
        np.testing.assert_array_equal(
            cpu.normalize(layout(image), 10, 200), expected_bytes(image, 10, 200)
        )

    @pytest.mark.parametrize("threads", [1, 2, 4])
    @pytest.mark.parametrize("shape", [(301, 333), (301, 333, 3)])
    def test_the_thread_count_does_not_matter(self, rng, threads, shape):
        image = random_image(rng, shape, "uint16")
        np.testing.assert_array_equal(
            cpu.normalize(image, 500, 50000, threads=threads), expected_bytes(image, 500, 50000)
        )

    @pytest.mark.parametrize("limits", [(5, 5), (9, 5)])
    def test_an_empty_range_gives_zeros(self, rng, limits):
        image = random_image(rng, (9, 9), "uint8")
        assert not cpu.normalize(image, *limits).any()

    def test_nan_becomes_zero_and_infinities_the_ends(self, level):
        image = np.float32([[np.nan, np.inf, -np.inf, 1e38, -1e38, 0.5] * 11])
        expected = np.uint8([0, 255, 0, 255, 0, 128] * 11)
        np.testing.assert_array_equal(cpu.normalize(image, 0, 1)[0, :, 0], expected)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_values_above_the_ceiling_become_zero(self, rng, dtype, level):
        image = random_image(rng, (33, 47, 3), dtype)
        found = cpu.normalize(image, 10, 90, 60.5)
        expected = np.where(image.astype(np.float32) > 60.5, 0, expected_bytes(image, 10, 90))
        np.testing.assert_array_equal(found, expected)

    def test_a_ceiling_that_is_no_number_is_refused(self):
        with pytest.raises(ValueError, match="ceiling: got nan; accepted is a number"):
            cpu.normalize(np.zeros((4, 4), np.uint8), 0, 1, float("nan"))

    def test_it_writes_into_the_array_it_is_given(self, rng):
        image = random_image(rng, (20, 30, 3), "uint8")
        out = np.empty((20, 30, 3), np.uint8)
        assert cpu.normalize(image, 3, 200, out=out) is out
        np.testing.assert_array_equal(out, expected_bytes(image, 3, 200))

    def test_an_output_that_does_not_fit_is_refused(self):
        image = np.zeros((4, 5, 3), np.uint8)
        read_only = np.zeros((4, 5, 3), np.uint8)
        read_only.flags.writeable = False
        with pytest.raises(TypeError, match="out: got dtype int8; accepted is uint8"):
            cpu.normalize(image, 0, 1, out=np.zeros((4, 5, 3), np.int8))
        with pytest.raises(ValueError, match=r"out: got shape \(4, 5\); accepted is .*\(4, 5, 3\)"):
            cpu.normalize(image, 0, 1, out=np.zeros((4, 5), np.uint8))
        with pytest.raises(ValueError, match="not C-contiguous"):
            cpu.normalize(image, 0, 1, out=np.zeros((4, 10, 3), np.uint8)[:, ::2])
        with pytest.raises(ValueError, match="out: got a read-only array"):
            cpu.normalize(image, 0, 1, out=read_only)
        with pytest.raises(ValueError, match="out: got memory that image uses"):
            cpu.normalize(image, 0, 1, out=image)

    @pytest.mark.parametrize("limit", [float("nan"), float("inf"), 1e39])
    def test_a_limit_that_is_not_finite_is_refused(self, limit):
        with pytest.raises(ValueError, match="low: got"):
            cpu.normalize(np.zeros((2, 2), np.uint8), limit, 1)
        with pytest.raises(ValueError, match="high: got"):
            cpu.normalize(np.zeros((2, 2), np.uint8), 0, limit)


LEAST = "neon" if cpu.features()["architecture"] == "aarch64" else "baseline"


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(ValueError, match=f"level: got 'mmx'; this CPU can run {LEAST}"):
        cpu.set_simd_level("mmx")


def test_the_best_instruction_set_is_in_use():
    features = cpu.features()
    assert features["level"] == features["levels"][-1]
    assert features["levels"][0] == LEAST


def on_device(machine: Machine, low: float, high: float, ceiling: float) -> object:
    return machine.put(np.array([low, high, ceiling, 0, 0, 0]))


class TestOnDevices:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_they_are_the_cpus_bit_for_bit(self, rng, machine: Machine, dtype):
        for seed, (height, width) in enumerate(sizes(rng, 12, 300)):
            machine.shuffle(seed)
            shape = (height, width, *[(), (1,), (3,), (4,)][seed % 4])
            image = random_image(rng, shape, dtype)
            limits = (*np.sort(rng.uniform(-300, 1000, 2)).tolist(), 500.0 if seed % 2 else np.inf)
            found = machine.kernels.normalize(
                machine.put(image), on_device(machine, *limits), stream=machine.stream
            )
            np.testing.assert_array_equal(
                machine.get(found), cpu.normalize(image, *limits), strict=True
            )

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_the_memory_layout_does_not_matter(self, rng, machine, dtype, layout, channels):
        image = random_image(rng, (29, 48, channels), dtype)
        there = LAYOUTS[layout](machine, image)
        limits = on_device(machine, 10, 200, np.inf)
        found = machine.kernels.normalize(there, limits, stream=machine.stream)
        np.testing.assert_array_equal(machine.get(found), cpu.normalize(image, 10, 200))

    def test_wrong_arguments_are_named(self, machine: Machine):
        normalize, stream = machine.kernels.normalize, machine.stream
        image = machine.put(np.zeros((4, 4), np.uint8))
        limits = on_device(machine, 0, 1, np.inf)
        with pytest.raises(ValueError, match=r"limits: got shape \(3,\)"):
            normalize(image, machine.kernels.Buffer([3], "float64"), stream=stream)
        with pytest.raises(TypeError, match="image: got dtype int64; accepted are uint8"):
            normalize(machine.put(np.zeros((4, 4), np.int64)), limits, stream=stream)
        with pytest.raises(TypeError, match="incompatible function arguments"):
            normalize(image, limits, stream=None)
