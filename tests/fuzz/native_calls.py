"""Calls of the native functions, each with arguments of which some are wrong."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

HUGE = (2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**64, -1, -(2**31), -(2**63))
SMALL = (0, 1, 2, 3, 5, 17, 255, 256)
DTYPES = ("uint8", "uint16", "int16", "float32", "float64", "int32", "int64", "bool", "int8")
OTHERS = ("complex64", "U3", "S0", "float16", "uint64", ">f8", ">i4", "M8[s]", "i4,f8")
SIDES = (1, 1, 2, 3, 4, 5, 8, 16, 33, 0)
NUMBERS = (0.0, 1.0, 99.8, 100.0, -0.5, 1e-300, 1e308, float("nan"), float("inf"), -float("inf"))
ACCEPTED = (TypeError, ValueError)


class Calls:
    """Makes arguments by a random number generator, and calls with them."""

    def __init__(self, cpu: ModuleType, rng: Random) -> None:
        self.cpu = cpu
        self.rng = rng
        self.values = np.random.default_rng(rng.randrange(2**32))

    def one(self) -> tuple[str, str]:
        """Call one function: what became of it, and details."""
        function = self.rng.choice(FUNCTIONS)
        try:
            result = function(self)
        except ACCEPTED as error:
            # What pybind11 says of wrong types names the object by its address.
            words = re.sub(r" at 0x[0-9a-f]+", "", repr(error))
            return "refused", f"{function.__name__}: {words}"[:300]
        except Exception as error:
            return "error", f"{function.__name__}: {error!r}"
        digest = hashlib.blake2b(digest_size=8)
        add(digest.update, result)
        return "read", f"{function.__name__} {digest.hexdigest()}"

    def array(self, dtype: str, *shape: int) -> np.ndarray:
        """Return an array as it should be, but with any layout."""
        low, high = (0, 6) if dtype == "int32" else (0, 2) if dtype == "bool" else (-100, 100)
        values = self.values.integers(low, high, shape).astype(dtype)
        layout = self.rng.randrange(12)
        if layout == 0 and values.ndim:
            return np.repeat(values, 2, axis=0)[::2]
        if layout == 1 and values.ndim:
            return values[::-1]
        if layout == 2:
            memory = np.zeros(values.nbytes + 1, np.uint8)
            unaligned = memory[1:].view(dtype) if values.size else values.reshape(-1)
            unaligned[...] = values.reshape(-1)
            return unaligned.reshape(shape)
        if layout == 3:
            return np.asfortranarray(values)
        if layout == 4:
            return values.astype(values.dtype.newbyteorder())
        if layout == 5:
            values.flags.writeable = False
        if layout == 6 and dtype == "bool":
            return np.full(shape, 2, np.uint8).view(bool)
        return values

    def wrong(self) -> Any:
        """Return what is hardly ever right."""
        rng = self.rng
        kind = rng.randrange(8)
        if kind == 0:
            return rng.choice((None, "text", b"bytes", [], {}, object(), True, 1 + 2j, [1, 2, 3]))
        if kind == 1:
            return rng.choice(HUGE)
        if kind == 2:
            return rng.choice((*SMALL, *NUMBERS))
        shape = tuple(rng.choice(SIDES) for _ in range(rng.randrange(5)))
        if kind == 3:
            return np.zeros(shape, rng.choice(OTHERS))
        if kind == 4:
            sides = [rng.choice((1, 3, 8, 2**15, 2**20, 2**31, 2**40)) for _ in range(4)]
            try:
                return np.broadcast_to(np.zeros((), rng.choice(DTYPES)), sides[: rng.randrange(5)])
            except ValueError:  # NumPy's own limit
                return None
        if kind == 5:
            return self.array("int32", *shape) * rng.choice((-1, 2**20, 2**22, 2**30))
        return self.array(rng.choice(DTYPES), *shape)

    def spoil(self, *arguments: Any, **named: Any) -> tuple[list[Any], dict[str, Any]]:
        """Replace arguments by wrong ones: none, one or two."""
        places: list[int | str] = [*range(len(arguments)), *named]
        changed = list(arguments)
        for place in self.rng.sample(places, min(len(places), self.rng.choice((0, 1, 1, 2)))):
            if isinstance(place, int):
                changed[place] = self.wrong()
            else:
                named[place] = self.wrong()
        return changed, named

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        changed, known = self.spoil(*arguments, **named)
        return function(*changed, **known)

    @property
    def sides(self) -> tuple[int, int]:
        return self.rng.choice(SIDES), self.rng.choice(SIDES)

    @property
    def threads(self) -> int:
        return self.rng.choice((1, 1, 2, 3))

    def image(self) -> np.ndarray:
        colours = self.rng.choice(((), (1,), (3,), (4,), (7,)))
        return self.array(self.rng.choice(DTYPES[:5]), *self.sides, *colours)

    def maps(self) -> np.ndarray:
        return self.array("uint8", *self.sides, 2)


def limits(calls: Calls) -> Any:
    return calls.call(calls.cpu.limits, calls.image(), 1.0, 99.8, threads=calls.threads)


def normalize(calls: Calls) -> Any:
    image = calls.image()
    out = calls.rng.choice((None, calls.array("uint8", *image.shape[:2], 3)))
    return calls.call(calls.cpu.normalize, image, 0.0, 90.0, 80.0, threads=calls.threads, out=out)


def check_image(calls: Calls) -> Any:
    return calls.call(calls.cpu.check, calls.image(), "image")


def check_maps(calls: Calls) -> Any:
    return calls.call(calls.cpu.check, calls.maps(), "maps")


def gather(calls: Calls) -> Any:
    image, (height, width) = calls.array("uint8", *calls.sides, 3), calls.sides
    origins = calls.array("int64", calls.rng.choice(SIDES), 2)
    return calls.call(calls.cpu.gather, image, origins, height, width, threads=calls.threads)


def assemble(calls: Calls) -> Any:
    count, (height, width) = calls.rng.choice((1, 2, 3)), calls.sides
    cells = calls.array("uint8", count, height, width, 8)
    cores = np.array([[0, 2 * height, 0, 2 * width]] * count)
    out = np.zeros((2 * height + 1, 2 * width, 2), np.uint8)
    origins = np.zeros((count, 2), np.int64)
    return calls.call(calls.cpu.assemble, cells, origins, cores, out, threads=calls.threads)


def mask(calls: Calls) -> Any:
    return calls.call(calls.cpu.mask, calls.maps(), 128, threads=calls.threads)


def label(calls: Calls) -> Any:
    return calls.call(
        calls.cpu.label, calls.maps(), 100, 120, 20, 4, 30, 130, threads=calls.threads
    )


def nuclei(calls: Calls) -> Any:
    return calls.call(
        *(calls.cpu.nuclei, calls.maps(), 100, 120, 20, 4, 30, 130, None, 75),
        threads=calls.threads,
    )


def label_bands(calls: Calls) -> Any:
    """Label maps in two bands, of which any argument may be wrong."""
    height, width = (side + 1 for side in calls.sides)
    maps = calls.array("uint8", height, width, 2)
    rows, columns = np.arange(0, height, 2), np.arange(width)
    bands = calls.call(calls.cpu.LabelBands, height, width, rows, columns, 100, 120, 20, 4, 30)
    for end in (height // 2, height):
        first = max(0, bands.next - bands.margin)
        calls.call(bands.add, maps[first : end + bands.margin], first, end, calls.threads)
    return calls.call(bands.finish, calls.threads)


def keep_largest_pieces(calls: Calls) -> Any:
    labels = calls.array("int32", *calls.sides)
    return calls.call(calls.cpu.keep_largest_pieces, labels), labels


def resize(calls: Calls) -> Any:
    image, (height, width) = calls.image()[..., :4], calls.sides
    part = calls.rng.choice((None, (0, 1), (1, 3)))
    named = {"rows": part, "columns": part, "above": 0, "below": 0, "threads": calls.threads}
    return calls.call(calls.cpu.resize, image, height, width, **named)


def measure(calls: Calls) -> Any:
    height, width = calls.sides
    image = calls.array(calls.rng.choice(DTYPES[:5]), height, width, calls.rng.choice((1, 3)))
    named = {"image": image, "maps": calls.array("uint8", height, width, 2), "ring": 3}
    labels = calls.array("int32", height, width)
    return calls.call(calls.cpu.measure, labels, **named, threads=calls.threads)


def areas(calls: Calls) -> Any:
    return calls.call(calls.cpu.areas, calls.array("int32", *calls.sides))


def outline(calls: Calls) -> Any:
    labels = calls.array("int32", *calls.sides)
    return calls.call(calls.cpu.outline, labels, tolerance=0.5, threads=calls.threads)


def csv_rows(calls: Calls) -> Any:
    rows = calls.rng.choice(SIDES)
    kinds = ("float64", "int64", "bool", "float32", "int32")
    columns, _ = calls.spoil(*(calls.array(calls.rng.choice(kinds), rows) for _ in range(3)))
    return calls.call(calls.cpu.csv_rows, columns)


def enlarge_maps(calls: Calls) -> Any:
    maps = calls.maps()
    height, width = (side + calls.rng.choice(SMALL) for side in maps.shape[:2])
    return calls.call(calls.cpu.enlarge_maps, maps, height, width, threads=calls.threads)


def plan(calls: Calls) -> Any:
    height, width = (side * calls.rng.choice((1, 7, 99)) for side in calls.sides)
    bands = calls.call(calls.cpu.plan, height, width, 64, 16, 8, tall=calls.rng.choice((40, 64)))
    parts = ("rows", "kept", "sources", "targets", "cores", "size")
    return [getattr(band, part) for band in bands[:9] for part in parts]


def own_size(calls: Calls) -> Any:
    """Decode maps in two bands, of which any argument may be wrong."""
    height, width = (side + 1 for side in calls.sides)
    seen = height + calls.rng.choice(SMALL[:5]), width + calls.rng.choice(SMALL[:5])
    maps = calls.array("uint8", *seen, 2)
    rule = (100, 120, 20, 4, 30)
    names = calls.rng.choice((["mask"], ["labels"], ["maps", "labels", "mask"]))
    arguments = (names, (height, width), seen, rule, calls.threads)
    make = calls.cpu.OwnSize
    own = calls.call(make, *arguments) if calls.rng.randrange(4) == 0 else make(*arguments)
    for part in (maps[: seen[0] // 2], maps[seen[0] // 2 :]):
        calls.call(own.add, part)
    return own.results()


def pipeline(calls: Calls) -> Any:
    """Take an image through the smallest network there is."""
    network, ones, few = calls.cpu.Network(), np.ones(16, np.float32), np.ones(8, np.float32)
    values = np.random.default_rng(7)
    network.stem(values.integers(-9, 9, (16, 3, 3, 3), np.int8), ones * 0.01, ones)
    network.cells(0, values.integers(-9, 9, (8, 16, 3, 3), np.int8), few * 0.01, few)
    is_broken = calls.rng.randrange(4) == 0
    device = calls.cpu.Device(network, calls.threads)
    settings = {"stride": 8, "halo": 8, "tile": calls.rng.choice((24, 64)), "batch": 2}
    settings |= {"percentiles": (1.0, 99.0), "rule": (100, 120, 20, 4, 30)}
    make = calls.cpu.Pipeline
    made = calls.call(make, device, **settings) if is_broken else make(device, **settings)
    names = calls.rng.choice((["mask"], ["labels"], ["maps", "labels", "mask"]))
    scale = calls.rng.choice((1.0, 1.0, 0.5, 1.7))
    limits = calls.rng.choice((None, (1.0, 90.0, 80.0, 0.1)))
    kind = calls.rng.randrange(3)
    if kind == 0:
        return calls.call(made.run, calls.image(), names, scale, limits)
    if kind == 1:
        return calls.call(made.maps, calls.image(), scale, limits)
    return calls.call(made.decode, calls.maps(), names, scale, calls.rng.choice((None, (5, 8))))


def network(calls: Calls) -> Any:
    """Build a small network, of which any layer may be wrong, and run it."""
    network = calls.cpu.Network(calls.rng.choice(("", *calls.cpu.convolution_levels())))
    ones = np.ones(16, np.float32)
    few = np.ones(8, np.float32)
    kernel = calls.array("int8", 16, 16, 3, 3)
    steps: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (network.stem, (calls.array("int8", 16, 3, 3, 3), ones * 0.01, ones)),
        (network.convolution, ([0], [kernel], ones * 0.01, ones)),
        (network.pool, (1,)),
        (network.grow, (2, calls.array("int8", 16, 16, 2, 2), ones * 0.01, ones)),
        (network.convolution, ([1, 3], [kernel, kernel], ones * 0.01, ones)),
        (network.cells, (4, calls.array("int8", 8, 16, 3, 3), few * 0.01, few)),
    ]
    broken = calls.rng.choice((None, *range(len(steps))))
    for place, (layer, arguments) in enumerate(steps):
        for _ in range(calls.rng.choice((1, 1, 1, 1, 0, 2, 40))):
            calls.call(layer, *arguments) if place == broken else layer(*arguments)
            if layer is not network.pool:
                break
    tiles = calls.array("uint8", calls.rng.choice((1, 2)), 8, 16, 3)
    return calls.call(network.run, tiles, threads=calls.threads)


def set_simd_level(calls: Calls) -> Any:
    level = calls.rng.choice(("baseline", "avx2", "avx512", "none"))
    return calls.call(calls.cpu.set_simd_level, level)


FUNCTIONS = (
    *(limits, normalize, check_image, check_maps, gather, assemble, mask, label, nuclei),
    *(label_bands, keep_largest_pieces, resize, measure, areas, outline, csv_rows, csv_rows),
    *(network, network, set_simd_level, enlarge_maps, plan, own_size, pipeline, pipeline),
)


def add(update: Callable[[bytes], None], result: Any) -> None:
    """Add all that a function gave to a digest."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        for part in result:
            add(update, part)
    elif isinstance(result, np.ndarray):
        update(f"{result.shape} {result.dtype}".encode() + result.tobytes())
    else:
        update(repr(result).encode())
