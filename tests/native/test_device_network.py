"""The integer network on a device: the bytes of the CPU's."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from machines import EVERY_DEVICE, Machine

from nucleiseg._native import cpu

FAST = (16, 32, 64, 128, 256)
ACCURATE = (32, 64, 96, 160, 256)


def kernel(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-127, 128, shape, dtype=np.int8)


def rounding(rng: np.random.Generator, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors that spread sums of so many random products over the levels."""
    factors = rng.uniform(0.3, 1.5, outputs) / (60 * np.sqrt(9 * inputs))
    return factors.astype(np.float32), rng.uniform(-40, 60, outputs).astype(np.float32)


class Unet:
    """Adds a U-Net of random weights, the same for one seed, to whatever takes layers."""

    def __init__(self, network: object, seed: int, widths: Sequence[int], side: int = 3) -> None:
        self.network = network
        self.rng = np.random.default_rng(seed)
        first = widths[0]
        x = network.stem(kernel(self.rng, first, 3, side, side), *rounding(self.rng, first, 3))
        x = self.convolution([x], first, first)
        skips = []
        for above, width in itertools.pairwise(widths):
            skips.append((x, above))
            x = self.convolution([network.pool(x)], above, width)
        below = widths[-1]
        for skip, width in reversed(skips):
            grown = network.grow(
                x, kernel(self.rng, below, width, 2, 2), *rounding(self.rng, width, below)
            )
            x = self.convolution([skip, grown], width, width)
            below = width
        network.cells(x, kernel(self.rng, 8, first, 3, 3), *rounding(self.rng, 8, first))

    def convolution(self, sources: list[int], inputs: int, outputs: int) -> int:
        kernels = [kernel(self.rng, outputs, inputs, 3, 3) for _ in sources]
        return self.network.convolution(sources, kernels, *rounding(self.rng, outputs, inputs))


@pytest.fixture(scope="module", params=EVERY_DEVICE)
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


def check(machine: Machine, tiles: np.ndarray, *network: object) -> None:
    expected, found = cpu.Network(), machine.kernels.Network()
    for one in (expected, found):
        Unet(one, 7, *network)
    assert found.stride == expected.stride
    cells = machine.get(found.run(machine.put(tiles), stream=machine.stream))
    np.testing.assert_array_equal(cells, expected.run(tiles), strict=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("widths", "shape"),
    [
        ((16, 32, 64), (1, 8, 8)),
        ((16, 32, 64), (3, 40, 24)),
        ((32, 16, 16), (2, 24, 72)),
        ((64, 128, 32), (1, 16, 104)),
        ((32, 96, 160), (1, 72, 8)),
    ],
)
def test_the_bytes_are_the_cpus(rng, machine, widths, shape, seed):
    machine.shuffle(seed)
    check(machine, rng.integers(0, 256, (*shape, 3), np.uint8), widths)


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 24, 88)])
def test_a_first_layer_of_six_by_six(rng, machine, shape):
    check(machine, rng.integers(0, 256, (*shape, 3), np.uint8), (32, 16, 16), 6)


@pytest.mark.parametrize(("widths", "side"), [(FAST, 3), (ACCURATE, 6)])
def test_the_shapes_of_the_shipped_networks(rng, machine, widths, side):
    check(machine, rng.integers(0, 256, (1, 64, 96, 3), np.uint8), widths, side)


def test_blank_and_full_images_reach_the_ends_of_the_levels(machine):
    for value in (0, 255):
        check(machine, np.full((1, 16, 16, 3), value, np.uint8), (16, 32, 64))


def test_every_logit_becomes_its_probability(rng, machine):
    """Its last layer sums nothing, so each output's offset is its logit."""
    nothing, none = np.zeros((8, 16, 3, 3), np.int8), np.zeros(8, np.float32)
    for some in np.arange(-1032, 1032).reshape(-1, 8):
        network = machine.kernels.Network()
        stem = network.stem(kernel(rng, 16, 3, 3, 3), *rounding(rng, 16, 3))
        network.cells(stem, nothing, none, some.astype(np.float32))
        tiles = machine.put(np.zeros((1, 4, 4, 3), np.uint8))
        found = machine.get(network.run(tiles, stream=machine.stream))
        expected = np.floor(255 / (1 + np.exp(-some / 128)) + 0.5)
        np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


def test_widths_that_are_other_multiples_of_sixteen(rng, machine):
    check(machine, rng.integers(0, 256, (1, 16, 40, 3), np.uint8), (48, 80, 112), 6)


def test_a_captured_run_can_be_replayed(rng, machine):
    network = machine.kernels.Network()
    Unet(network, 5, (16, 32, 64))
    tiles = machine.put(rng.integers(0, 256, (2, 24, 40, 3), np.uint8))
    memory = machine.kernels.Buffer([network.workspace(2, 24, 40)])
    expected = machine.get(network.run(tiles, stream=machine.stream))
    cells = machine.put(np.zeros(expected.shape, np.uint8))
    with machine.stream.capture() as graph:
        network.run(tiles, stream=machine.stream, out=cells, workspace=memory)
    for _ in range(2):
        machine.kernels.fill(cells, 0, stream=machine.stream)
        graph.launch(machine.stream)
        np.testing.assert_array_equal(machine.get(cells), expected)


def test_layers_run_one_by_one_as_together(rng, machine):
    network = machine.kernels.Network()
    Unet(network, 5, (16, 32, 64))
    tiles = machine.put(rng.integers(0, 256, (1, 24, 40, 3), np.uint8))
    memory = machine.kernels.Buffer([network.workspace(1, 24, 40)])
    expected = machine.get(network.run(tiles, stream=machine.stream))
    for layer in range(len(network.layers)):
        cells = network.run(tiles, stream=machine.stream, workspace=memory, only=layer)
    np.testing.assert_array_equal(machine.get(cells), expected)
    assert network.layers[0] == "stem 3>16 1/2"


def test_wrong_arguments_are_named(rng, machine):
    network = machine.kernels.Network()
    tiles = machine.put(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="no last layer"):
        network.run(tiles, stream=machine.stream)
    stem = network.stem(kernel(rng, 16, 3, 3, 3), *rounding(rng, 16, 3))
    with pytest.raises(ValueError, match="got 24 output channels; accepted are multiples of 16"):
        network.convolution([stem], [kernel(rng, 24, 16, 3, 3)], *rounding(rng, 24, 16))
    with pytest.raises(ValueError, match="there is no tensor 7"):
        network.pool(7)
    network = machine.kernels.Network()
    Unet(network, 1, (16, 32))
    run = network.run
    with pytest.raises(ValueError, match=r"tiles: got .*7.*multiples of 4"):
        run(machine.put(np.zeros((1, 7, 8, 3), np.uint8)), stream=machine.stream)
    with pytest.raises(ValueError, match="workspace: got 16 bytes"):
        run(tiles, stream=machine.stream, workspace=machine.kernels.Buffer([16]))
    with pytest.raises(ValueError, match="out: got "):
        run(tiles, stream=machine.stream, out=machine.kernels.Buffer((1, 4, 4, 7)))
    with pytest.raises(ValueError, match="only: got 99"):
        run(tiles, stream=machine.stream, only=99)
    shifted = machine.put(np.zeros(8 * 8 * 3 + 1, np.uint8)).view((1, 8, 8, 3), offset=1)
    with pytest.raises(ValueError, match="tiles: got an array at another address"):
        run(shifted, stream=machine.stream)
