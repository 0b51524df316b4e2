"""Arguments that would take any memory or any time are refused, and any layout is read."""

import numpy as np
import pytest
from machines import EVERY_DEVICE, Machine

from nucleiseg._native import cpu

HUGE = (2**18, 2**18)
IMAGE = np.zeros((4, 5, 3), np.uint8)
LABELS = np.array([[0, 1], [1, 0]], np.int32)


def repeated(dtype, *shape):
    """A view of one value, as large as one likes."""
    return np.broadcast_to(np.zeros((), dtype), shape)


CALLS = {
    "limits": lambda: cpu.limits(repeated("uint8", *HUGE), 1, 99),
    "normalize": lambda: cpu.normalize(repeated("float32", *HUGE), 1, 99),
    "mask": lambda: cpu.mask(repeated("uint8", *HUGE, 2), 100),
    "label": lambda: cpu.label(repeated("uint8", 2**15, 2**15, 2), 100, 100, 10, 0),
    "nuclei": lambda: cpu.nuclei(
        repeated("uint8", 2**15, 2**15, 2), 100, 100, 10, 0, 0, 0, None, 75
    ),
    "areas": lambda: cpu.areas(repeated("int32", 2**15, 2**15)),
    "measure": lambda: cpu.measure(repeated("int32", 2**15, 2**15)),
    "outline": lambda: cpu.outline(repeated("int32", 2**15, 2**15)),
    "csv_rows": lambda: cpu.csv_rows([repeated("float64", 2**22)] * 2),
    "gather": lambda: cpu.gather(IMAGE, repeated("int64", 2**40, 2), 4, 4),
}


@pytest.mark.parametrize("name", CALLS)
def test_large_views_that_repeat_their_memory_are_refused(name):
    with pytest.raises(ValueError, match="a view that repeats its memory; accepted is an array"):
        CALLS[name]()


def test_small_views_and_repeated_colours_are_read():
    grey = np.random.default_rng(1).integers(0, 255, (1200, 1000), dtype=np.uint8)
    colours = np.broadcast_to(grey[..., None], (*grey.shape, 3))
    assert cpu.limits(colours, 1, 99) == cpu.limits(grey, 1, 99)
    assert cpu.limits(repeated("uint8", 9, 9), 1, 99)[:2] == (0, 0)


@pytest.mark.parametrize("threads", [0, -1, 1025, 2**31 - 1])
def test_threads_have_a_limit(threads):
    with pytest.raises(ValueError, match=f"threads: got {threads}; accepted is 1 to 1024"):
        cpu.gather(IMAGE, np.zeros((1, 2), int), 4, 4, threads=threads)


def check_sides(gather):
    for sides in ((2**62, 2**62), (2**17 + 1, 1), (1, 2**63 - 1)):
        with pytest.raises(ValueError, match="accepted is 1 to 131072"):
            gather(*sides)
    with pytest.raises(ValueError, match="height, width: got sizes that need more than 4294967296"):
        gather(2**17, 2**17)


def test_plans_have_a_limit():
    message = "sizes that do not fit each other; accepted are pixels"
    for sizes in ((2**40, 5, 64, 0, 32), (2**20, 2**20, 64, 0, 32), (5, 5, 2**62, 2**62, 32)):
        with pytest.raises(ValueError, match=message):
            cpu.plan(*sizes)


def test_the_sizes_of_tiles_have_a_limit():
    check_sides(lambda *sides: cpu.gather(IMAGE, np.zeros((1, 2), int), *sides))


@pytest.mark.parametrize("name", EVERY_DEVICE)
def test_the_sizes_of_tiles_on_a_device_have_a_limit(name):
    machine = Machine(name)
    image, one = machine.put(IMAGE), np.zeros((1, 2), int)
    check_sides(lambda *sides: machine.kernels.gather(image, one, *sides, stream=machine.stream))


def test_rings_labels_and_channels_have_a_limit():
    with pytest.raises(ValueError, match="ring: got 9223372036854775807; accepted is 0 to 131072"):
        cpu.measure(LABELS, ring=2**63 - 1)
    with pytest.raises(
        ValueError, match="labels: got the label 2097153; accepted are 0 to 2097152"
    ):
        cpu.measure(LABELS * (2**21 + 1))
    image = np.zeros((2, 2, 1025), np.uint8)
    with pytest.raises(ValueError, match="accepted are up to 1024 channels"):
        cpu.measure(LABELS, image)
    with pytest.raises(
        ValueError, match="got the label 2000000 for 1024 channels; accepted are up"
    ):
        cpu.measure(LABELS * 2_000_000, image[..., :1024])


def test_columns_of_csv_may_lie_anywhere_and_have_a_limit():
    memory = np.zeros(4 * 8 + 1, np.uint8)
    unaligned = memory[1:].view(np.float64)
    unaligned[...] = (0.5, 1, 2, np.nan)
    assert not unaligned.flags.aligned
    true = np.full(4, 2, np.uint8).view(bool)
    assert cpu.csv_rows([unaligned, true]) == b"0.5,True\r\n1.0,True\r\n2.0,True\r\n,True\r\n"
    rows = np.arange(4.0).reshape(2, 2)
    assert cpu.csv_rows(rows) == b"0.0,2.0\r\n1.0,3.0\r\n"
    with pytest.raises(ValueError, match="columns: got 1048576 of them; accepted are 2 to 10000"):
        cpu.csv_rows(repeated("float64", 2**20, 1))


def test_layers_of_a_network_have_a_limit():
    network = cpu.Network()
    ones, kernel = np.ones(16, np.float32), np.zeros((16, 3, 3, 3), np.int8)
    with pytest.raises(ValueError, match=r"factors: got shape .* repeats its memory"):
        network.stem(kernel, repeated("float32", 2**40), ones)
    network.stem(kernel, ones, ones)
    with pytest.raises(ValueError, match="sources, kernels: got 1048576"):
        network.convolution(np.zeros(2**20, int), [kernel], ones, ones)
    with pytest.raises(TypeError, match="sources: accepted are numbers of tensors"):
        network.convolution(["a"], [np.zeros((16, 16, 3, 3), np.int8)], ones, ones)


@pytest.mark.parametrize("name", ["cpu", *EVERY_DEVICE])
def test_sides_are_halved_at_most_eight_times(name):
    """63 times would shift a size out of its 64 bits."""
    kernels = cpu if name == "cpu" else Machine(name).kernels
    network, ones = kernels.Network(), np.ones(16, np.float32)
    source = network.stem(np.zeros((16, 3, 3, 3), np.int8), ones, ones)
    for _ in range(7):
        source = network.pool(source)
    with pytest.raises(ValueError, match="at most 8 times halved sides"):
        network.pool(source)


@pytest.mark.parametrize("kind", ["Buffer", "PinnedBuffer"])
@pytest.mark.parametrize("name", EVERY_DEVICE)
def test_shapes_of_buffers_have_a_limit(name, kind):
    make = getattr(Machine(name).kernels, kind)
    for shape in ([2**62, 2**62], [2**46 + 1], [3, 2**63 - 1]):
        with pytest.raises(ValueError, match=r"shape: got .* accepted are up to 70368744177664"):
            make(shape)
    with pytest.raises(ValueError, match=r"shape: got \(-1,\); accepted is no negative length"):
        make([-1])
