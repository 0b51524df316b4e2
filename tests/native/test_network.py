"""The integer network against sums that NumPy makes, and itself."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nucleiseg._native import cpu

LEVELS = cpu.convolution_levels()

LOGIT_STEPS, LOGIT_LIMIT = 128, 1024


def kernel(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-127, 128, shape, dtype=np.int8)


def rounding(rng: np.random.Generator, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors that spread sums of so many random products over the levels."""
    factors = rng.uniform(0.3, 1.5, outputs) / (60 * np.sqrt(9 * inputs))
    return factors.astype(np.float32), rng.uniform(-40, 60, outputs).astype(np.float32)


def levels(sums: np.ndarray, factors: np.ndarray, offsets: np.ndarray, low: int) -> np.ndarray:
    """What the sums become: one rounding to single precision, as a fused operation has it."""
    exact = sums.astype(np.float32).astype(np.float64) * factors.astype(np.float64)
    fused = (exact + offsets.astype(np.float64)).astype(np.float32)
    return np.clip(np.rint(fused), low, 127).astype(np.int64)


def convolved(image: np.ndarray, weights: np.ndarray, stride: int = 1) -> np.ndarray:
    """(h, w, inputs) by (outputs, inputs, side, side), padded to the sides over the stride; where
    that is an odd number of pixels, by one more at the end."""
    side = weights.shape[2]
    missing = side - stride
    pads = (missing // 2, missing - missing // 2)
    padded = np.pad(image.astype(np.int64), (pads, pads, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))
    return np.einsum("hwirc,oirc->hwo", windows[::stride, ::stride], weights.astype(np.int64))


def grown(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    height, width, _ = image.shape
    parts = np.einsum("hwi,iorc->hrwco", image, weights.astype(np.int64))
    return parts.reshape(2 * height, 2 * width, -1)


def pooled(image: np.ndarray) -> np.ndarray:
    height, width, channels = image.shape
    return image.reshape(height // 2, 2, width // 2, 2, channels).max((1, 3))


class Pair:
    """The same small U-Net twice: as the kernels have it, and as NumPy computes it."""

    def __init__(
        self, rng: np.random.Generator, level: str, widths: tuple[int, int, int], side: int = 3
    ) -> None:
        first, second, third = widths
        self.native = cpu.Network(level)
        self.steps: list[Callable[[dict[int, np.ndarray]], np.ndarray]] = []
        weights, rule = kernel(rng, first, 3, side, side), rounding(rng, first, 3)
        stem = self.native.stem(weights, *rule)
        self.steps.append(self._with(weights, rule, lambda t, w: convolved(t[-1], w, 2)))
        skip = self._convolution(rng, [stem], first, first)
        middle = self._convolution(rng, [self._pool(skip)], first, second)
        bottom = self._convolution(rng, [self._pool(middle)], second, third)
        up = self._convolution(
            rng, [middle, self._grow(rng, bottom, third, second)], second, second
        )
        last = self._convolution(rng, [skip, self._grow(rng, up, second, first)], first, first)
        self.weights, self.rule, self.last = (
            kernel(rng, 8, first, 3, 3),
            rounding(rng, 8, first),
            last,
        )
        self.native.cells(last, self.weights, *self.rule)

    def _with(self, weights: np.ndarray, rule: tuple, sums: Callable, low: int = 0) -> Callable:
        return lambda tensors: levels(sums(tensors, weights), *rule, low)

    def _convolution(self, rng, sources, inputs, outputs) -> int:
        weights = [kernel(rng, outputs, inputs, 3, 3) for _ in sources]
        rule = rounding(rng, outputs, inputs)
        number = self.native.convolution(sources, weights, *rule)
        pairs = list(zip(sources, weights, strict=True))
        self.steps.append(
            lambda t: levels(sum(convolved(t[source], one) for source, one in pairs), *rule, 0)
        )
        return number

    def _grow(self, rng, source, inputs, outputs) -> int:
        weights, rule = kernel(rng, inputs, outputs, 2, 2), rounding(rng, outputs, inputs)
        number = self.native.grow(source, weights, *rule)
        self.steps.append(self._with(weights, rule, lambda t, w: grown(t[source], w), -128))
        return number

    def _pool(self, source) -> int:
        number = self.native.pool(source)
        self.steps.append(lambda tensors: pooled(tensors[source]))
        return number

    def expected(self, tile: np.ndarray) -> np.ndarray:
        tensors = {-1: tile.astype(np.int64)}
        for number, step in enumerate(self.steps):
            tensors[number] = step(tensors)
        factors, offsets = (one.astype(np.float64) for one in self.rule)
        sums = convolved(tensors[self.last], self.weights).astype(np.float32).astype(np.float64)
        fused = (sums * factors + offsets).astype(np.float32)
        steps = np.clip(np.rint(fused), -LOGIT_LIMIT, LOGIT_LIMIT)
        return np.floor(255 / (1 + np.exp(-steps / LOGIT_STEPS)) + 0.5).astype(np.uint8)


@pytest.fixture(params=LEVELS)
def network_level(request):
    return request.param


@pytest.mark.parametrize(
    "widths",
    [
        (16, 32, 64),
        (32, 16, 16),
        (64, 128, 32),
        (16, 256, 16),
        (32, 96, 160),
        (8, 24, 40),
        (16, 1024, 8),
    ],
)
@pytest.mark.parametrize("shape", [(8, 8), (16, 24), (8, 72), (40, 8)])
def test_every_layer_is_what_numpy_computes(rng, network_level, widths, shape):
    pair = Pair(rng, network_level, widths)
    tile = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pair.native.run(tile[None])[0], pair.expected(tile))


@pytest.mark.parametrize("shape", [(8, 8), (16, 24), (40, 8), (8, 1032), (8, 1024)])
def test_a_first_layer_of_six_by_six_is_what_numpy_computes(rng, network_level, shape):
    pair = Pair(rng, network_level, (32, 16, 16), side=6)
    tile = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pair.native.run(tile[None])[0], pair.expected(tile))


@pytest.mark.parametrize("weight", [127, -127])
@pytest.mark.parametrize("width", [216, 224, 232, 240])
def test_the_largest_sums_are_exact(network_level, weight, width):
    """Above and below the limit up to which convolutions are done in strips, which is 2 ** 25."""
    network = cpu.Network(network_level)
    nothing = np.zeros((width, 3, 3, 3), np.int8)
    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    stem = network.stem(nothing, zeros, 127 * ones)
    full = np.full((width, width, 3, 3), weight, np.int8)
    full[:, ::7] //= 2
    image = np.full((12, 20, width), 127)
    sums = convolved(image, full)
    rule = ones, (50 - sums[5, 5]).astype(np.float32)
    last = network.convolution([stem], [full], *rule)
    expected = levels(sums, *rule, 0)
    assert expected[5, 5, 0] in range(40, 60)
    shown = np.zeros((8, width, 3, 3), np.int8)
    shown[np.arange(8), np.arange(8), 1, 1] = 127
    network.cells(last, shown, np.full(8, 8 / 127, np.float32), np.zeros(8, np.float32))
    found = network.run(np.zeros((1, 24, 40, 3), np.uint8))[0]
    steps = 8 * expected[..., :8] / LOGIT_STEPS
    np.testing.assert_array_equal(found, np.floor(255 / (1 + np.exp(-steps)) + 0.5))


def test_blank_and_full_images_reach_the_ends_of_the_levels(rng, network_level):
    pair = Pair(rng, network_level, (16, 32, 64))
    for value in (0, 255):
        tile = np.full((16, 16, 3), value, np.uint8)
        np.testing.assert_array_equal(pair.native.run(tile[None])[0], pair.expected(tile))


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_number_of_threads_does_not_show(rng, network_level, threads):
    network = Pair(rng, network_level, (16, 32, 64)).native
    tiles = rng.integers(0, 256, (3, 64, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(network.run(tiles), network.run(tiles, threads=threads))


def test_a_batch_is_its_tiles_one_by_one(rng, network_level):
    network = Pair(rng, network_level, (16, 32, 64)).native
    tiles = rng.integers(0, 256, (3, 16, 32, 3), dtype=np.uint8)
    alone = [network.run(tile[None])[0] for tile in tiles]
    np.testing.assert_array_equal(network.run(tiles), np.stack(alone))


def test_memory_of_one_shape_serves_another(rng, network_level):
    pair = Pair(rng, network_level, (16, 32, 64))
    for shape in ((8, 8), (32, 16), (16, 32), (8, 8)):
        tile = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        np.testing.assert_array_equal(pair.native.run(tile[None])[0], pair.expected(tile))


def test_wrong_arguments_are_named(rng):
    network = Pair(rng, "", (16, 32, 64)).native
    with pytest.raises(ValueError, match=r"tiles: got .*7.*multiples of 8"):
        network.run(np.zeros((1, 7, 8, 3), np.uint8))
    with pytest.raises(TypeError, match=r"tiles: .*float32"):
        network.run(np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="threads: "):
        network.run(np.zeros((1, 8, 8, 3), np.uint8), threads=0)
    with pytest.raises(ValueError, match="level: got 'abacus'; this CPU can run portable"):
        cpu.Network("abacus")
    with pytest.raises(ValueError, match="it is complete"):
        network.pool(0)


def test_layers_that_do_not_fit_are_refused(rng):
    network = cpu.Network()
    with pytest.raises(ValueError, match="no last layer"):
        network.run(np.zeros((1, 8, 8, 3), np.uint8))
    stem = network.stem(kernel(rng, 16, 3, 3, 3), *rounding(rng, 16, 3))
    with pytest.raises(ValueError, match="there is no tensor 7"):
        network.pool(7)
    with pytest.raises(ValueError, match="kernel: has 32 input channels, its source has 16"):
        network.convolution([stem], [kernel(rng, 16, 32, 3, 3)], *rounding(rng, 16, 32))
    with pytest.raises(ValueError, match="ends with 3 x 3"):
        network.stem(kernel(rng, 16, 3, 5, 5), *rounding(rng, 16, 3))
    with pytest.raises(ValueError, match="ends with 6 x 6"):
        network.stem(kernel(rng, 16, 3, 3, 6), *rounding(rng, 16, 3))
    one = kernel(rng, 16, 16, 3, 3)
    for sources, kernels in (([], []), ([stem], [one, one]), ([stem] * 3, [one] * 3)):
        with pytest.raises(
            ValueError, match=r"accepted are one or two of each|accepted is one for each source"
        ):
            network.convolution(sources, kernels, *rounding(rng, 16, 16))
    for width in (20, 1032):
        with pytest.raises(ValueError, match=rf"got {width} output channels; .*multiples of 8"):
            network.convolution([stem], [kernel(rng, width, 16, 3, 3)], *rounding(rng, width, 16))
    with pytest.raises(ValueError, match="factors, offsets: "):
        network.convolution([stem], [kernel(rng, 16, 16, 3, 3)], *rounding(rng, 15, 16))
    with pytest.raises(ValueError, match="ends with 3 x 3"):
        network.convolution([stem], [kernel(rng, 16, 16, 5, 5)], *rounding(rng, 16, 16))
    huge = np.full(16, 1e6, np.float32)
    with pytest.raises(ValueError, match="factors, offsets: accepted are finite numbers"):
        network.convolution([stem], [kernel(rng, 16, 16, 3, 3)], huge, huge)


def test_every_logit_becomes_its_probability(rng, network_level):
    """Its last layer sums nothing, so each output's offset is its logit."""
    logits = np.arange(-LOGIT_LIMIT - 8, LOGIT_LIMIT + 8).reshape(-1, 8)
    nothing = np.zeros((8, 16, 3, 3), np.int8)
    for some in logits:
        network = cpu.Network(network_level)
        stem = network.stem(kernel(rng, 16, 3, 3, 3), *rounding(rng, 16, 3))
        network.cells(stem, nothing, np.zeros(8, np.float32), some.astype(np.float32))
        # Four pairs of pixels and one more: both ways in which they are rounded.
        found = network.run(np.zeros((1, 4, 20, 3), np.uint8))
        expected = np.floor(255 / (1 + np.exp(-some / LOGIT_STEPS)) + 0.5)
        np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


def test_simultaneous_calls_give_what_single_ones_give(rng, network_level):
    network = Pair(rng, network_level, (16, 32, 64)).native
    tiles = rng.integers(0, 256, (8, 1, 64, 40, 3), dtype=np.uint8)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda tile: network.run(tile, threads=3), tiles))
    np.testing.assert_array_equal(found, [network.run(tile) for tile in tiles])


def in_process(level: str, *, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a level in its environment."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUCLEISEG_SIMD": level},
        capture_output=True,
        text=True,
        check=False,
    )


CHOICE = """
from nucleiseg._native import cpu
print(cpu.Network().level, cpu.features()["level"], *cpu.convolution_levels())
"""


@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_names_the_best_level(level):
    done = in_process(level, code=CHOICE)
    chosen, rows, *levels = done.stdout.split()
    assert chosen == level, done.stderr
    assert levels == LEVELS[: LEVELS.index(level) + 1]
    if level == "portable":
        assert rows in ("baseline", "neon")
    if level in ("avx2", "avxvnni"):
        assert rows == "avx2"


def test_a_level_that_is_none_is_refused():
    done = in_process("abacus", code=CHOICE)
    accepted = ", ".join(LEVELS)
    expected = f"NUCLEISEG_SIMD: got 'abacus'; this CPU can run {accepted}"
    assert done.stderr.splitlines()[-1] == f"ValueError: {expected}"


def test_the_processor_is_asked_for_what_linux_says_of_it():
    names = {
        "avx2": "avx2",
        "avx_vnni": "avxvnni",
        "avx512_vnni": "avx512vnni",
        "avx512vbmi": "avx512vbmi",
        "amx_int8": "amx",
        "asimd": "neon",
        "asimddp": "neondot",
    }
    text = Path("/proc/cpuinfo").read_text()
    flags = set(re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)[1].split())
    expected = {name for flag, name in names.items() if flag in flags}
    assert expected == set(cpu.features()["cpu"]) - {"avx512"}
