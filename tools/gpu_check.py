"""Check the kernels on a GPU against the CPU's, and time them; `tools/gpu_check.sh` runs all of it.

python tools/gpu_check.py [--device cuda] digests|times|whole|small|profile
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import nucleiseg._native as native  # noqa: E402
from training.topology import ACCURATE, FAST, Topology  # noqa: E402

EXAMPLES = ROOT / "tests" / "data" / "images"
THREADS = len(os.sched_getaffinity(0))
SIZES = {"cuda": ((2048, 2048), (1088, 1920)), "emulated": ((64, 96),)}
"""Of tiles that are timed; 1080 rows become 1088."""
REPEATS = {"cuda": 20, "emulated": 1}
PASSES = 7

Array = NDArray[Any]


class Random:
    """Adds a network of random weights, always the same, to whatever takes layers."""

    def __init__(self, network: Any, topology: Topology) -> None:
        self.network, self.rng = network, np.random.default_rng(20241122)
        widths, last = topology.widths, len(topology.widths) - 1
        x = network.stem(self.kernel(widths[0], 3, topology.stem), *self.rounding(widths[0], 3))
        skips = []
        for level, width in enumerate(widths):
            inputs = width
            if level:
                skips.append(x)
                x, inputs = network.pool(x), widths[level - 1]
            for _ in range(topology.down[level]):
                x, inputs = self.convolution([x], inputs, width), width
        for level in reversed(range(last)):
            width, below = widths[level], widths[level + 1]
            grown = network.grow(
                x, self.rng.integers(-127, 128, (below, width, 2, 2), np.int8),
                *self.rounding(width, below),
            )  # fmt: skip
            x = self.convolution([skips[level], grown], width, width)
            for _ in range(topology.up[level] - 1):
                x = self.convolution([x], width, width)
        network.cells(x, self.kernel(8, widths[0], 3), *self.rounding(8, widths[0]))

    def convolution(self, sources: list[int], inputs: int, outputs: int) -> int:
        """Add a convolution of random weights."""
        kernels = [self.kernel(outputs, inputs, 3) for _ in sources]
        return int(self.network.convolution(sources, kernels, *self.rounding(outputs, inputs)))

    def kernel(self, outputs: int, inputs: int, side: int) -> Array:
        """Draw weights."""
        return self.rng.integers(-127, 128, (outputs, inputs, side, side), np.int8)

    def rounding(self, outputs: int, inputs: int) -> tuple[Array, Array]:
        """Draw factors that spread sums of so many random products over the levels."""
        factors = self.rng.uniform(0.3, 1.5, outputs) / (60 * np.sqrt(9 * inputs))
        return factors.astype(np.float32), self.rng.uniform(-40, 60, outputs).astype(np.float32)


def digest(*arrays: Array) -> str:
    """Name what arrays hold."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
    return found.hexdigest()[:12]


def read(path: Path) -> Array:
    """Read an image without the package's readers, whose codecs may be missing here."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 2::-1])


def picture(height: int, width: int) -> Array:
    """Give a colour image of this size out of the examples."""
    tile = read(EXAMPLES / "hematoxylin_eosin.png")
    rows, columns = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    return np.ascontiguousarray(np.tile(tile, (rows, columns, 1))[:height, :width])


class Check:
    """The device's module with a stream."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kernels: ModuleType = getattr(native, name)
        self.stream = self.kernels.Stream()
        self.wrong = 0

    def put(self, array: Array) -> Any:
        """Copy to the device."""
        return self.kernels.to_device(array, stream=self.stream)

    def get(self, array: Any) -> Array:
        """Copy from the device."""
        found: Array = self.kernels.to_host(array, stream=self.stream)
        return found

    def compare(self, what: str, found: Array, expected: Array) -> None:
        """Print both digests' verdict, and where the arrays differ."""
        same = np.array_equal(found, expected)
        line = f"{'EQUAL' if same else 'DIFFERS'} {digest(found)} {what}"
        if not same and found.shape == expected.shape:
            where = np.argwhere(found != expected)
            line += f": {len(where)} of {found.size}, first {where[0].tolist()}"
        self.wrong += not same
        print(line, flush=True)

    def networks(self) -> Iterator[tuple[str, Any, Any]]:
        """Give each network of each level, and the CPU's."""
        from nucleiseg import Model
        from nucleiseg.engines import native as engine

        model = Model.load()
        adders: dict[str, Callable[[Any], object]] = {
            "nuclei-fast": lambda network: engine.add_layers(model, network),
            "fast, random": lambda network: Random(network, FAST),
            "wide, random": lambda network: Random(network, ACCURATE),
        }
        for name, add in adders.items():
            expected = native.cpu.Network()
            add(expected)
            for level in self.kernels.convolution_levels():
                network = self.kernels.Network(level)
                add(network)
                yield f"{name}, {level}", network, expected

    def digests(self) -> None:
        """Compare cells, masks and labels with the CPU's."""
        is_slow = native.cpu.convolution_levels()[-1] == "portable"
        shapes = {"cuda": ((1, 64, 96), (3, 512, 480), (1, 1088, 1920), (1, 2048, 2048))}
        for name, network, expected in self.networks():
            for shape in shapes.get(self.name, ((2, 64, 96),)):
                if is_slow and shape[1] > 512:
                    continue
                tiles = np.random.default_rng(7).integers(0, 256, (*shape, 3), np.uint8)
                if "random" not in name:
                    tiles[:] = picture(*shape[1:])
                found = self.get(network.run(self.put(tiles), stream=self.stream))
                self.compare(f"cells {name} {shape}", found, expected.run(tiles, threads=THREADS))
        self.answers()

    def answers(self) -> None:
        """Compare masks and labels of the example images, through the whole package."""
        from nucleiseg import Segmenter

        cpu = Segmenter(device="cpu")
        for level in self.kernels.convolution_levels():
            device = Segmenter(device=self.backend(level))
            for path in sorted(EXAMPLES.iterdir()):
                image = read(path)
                pairs = zip(device.segment_both(image), cpu.segment_both(image), strict=True)
                for what, (found, expected) in zip(("mask", "labels"), pairs, strict=True):
                    self.compare(f"{what} {level} {path.stem}", found, expected)

    def backend(self, level: str) -> Any:
        """Make the backend with the package's own engine."""
        from nucleiseg import Model
        from nucleiseg.backends.cuda import CudaBackend
        from nucleiseg.engines.cuda import Engine

        model = Model.load()
        return CudaBackend(model, self.kernels, Engine(model, self.kernels, level), THREADS)

    def milliseconds(self, work: Callable[[], object]) -> float:
        """Time work by events around a graph of many times the same: the median of passes."""
        repeats = REPEATS[self.name]
        work()
        with self.stream.capture() as graph:
            for _ in range(repeats):
                work()
        begin, end = (self.kernels.Event(timing=True) for _ in range(2))
        times = []
        for _ in range(PASSES + 1):
            begin.record(self.stream)
            graph.launch(self.stream)
            end.record(self.stream)
            end.synchronize()
            times.append(end.milliseconds_since(begin) / repeats)
        return statistics.median(times[1:])

    def times(self) -> None:
        """Time networks, their layers, and the steps before and after."""
        for height, width in SIZES[self.name]:
            tiles = self.put(picture(height, width)[None])
            for name, network, _ in self.networks():
                if name.startswith("fast"):
                    continue
                self.network_times(f"{name} {height}x{width}", network, tiles)
            self.step_times(height, width)

    def network_times(self, name: str, network: Any, tiles: Any) -> None:
        """Print what a network and each of its layers take."""
        count, height, width, _ = tiles.shape
        memory = self.kernels.Buffer([network.workspace(count, height, width)])
        cells = self.kernels.Buffer((count, height // 2, width // 2, 8))
        options = {"stream": self.stream, "out": cells, "workspace": memory}
        whole = self.milliseconds(lambda: network.run(tiles, **options))
        print(f"NETWORK {name}: {whole:.4f} ms, workspace {memory.nbytes / 1e6:.0f} MB")
        rows = []
        for layer, words in enumerate(network.layers):
            took = self.milliseconds(lambda layer=layer: network.run(tiles, only=layer, **options))
            rows.append(f"{layer}:{words}={1e3 * took:.1f}us")
        print("  " + "  ".join(rows), flush=True)

    def step_times(self, height: int, width: int) -> None:
        """Print what each step around the network takes, on the device alone."""
        from nucleiseg import Model

        model, kernels, stream = Model.load(), self.kernels, self.stream
        image = picture(height, width)
        pinned = kernels.PinnedBuffer(image.shape)
        pinned.array[...] = image
        there = self.put(image)
        search = kernels.Buffer([kernels.limits_workspace()])
        limits = kernels.Buffer([6], np.float64)
        normal, tiles = kernels.Buffer(image.shape), kernels.Buffer((1, *image.shape))
        cells = kernels.Buffer((1, height // 2, width // 2, 8))
        maps, labels = kernels.Buffer((height, width, 2)), kernels.Buffer((height, width), np.int32)
        mask, count = kernels.Buffer((height, width), np.bool_), kernels.Buffer([1], np.int32)
        work = kernels.Buffer([kernels.label_workspace(height, width)])
        answer = kernels.PinnedBuffer(labels.shape, np.int32)
        origins, cores = np.zeros((1, 2), np.int64), np.array([[0, height, 0, width]])
        network = kernels.Network()
        from nucleiseg.engines import native as engine

        engine.add_layers(model, network)
        memory = kernels.Buffer([network.workspace(1, height, width)])
        rule = model.label_rule(1.0, None)
        steps: dict[str, Callable[[], object]] = {
            "upload": lambda: kernels.copy(there, pinned, stream=stream),
            "limits": lambda: kernels.limits(
                there, *model.percentiles, stream=stream, workspace=search, out=limits
            ),
            "normalize": lambda: kernels.normalize(
                there, limits=limits, stream=stream, out=normal
            ),
            "gather": lambda: kernels.gather(
                normal, origins, height, width, stream=stream, out=tiles
            ),
            "network": lambda: network.run(tiles, stream=stream, out=cells, workspace=memory),
            "assemble": lambda: kernels.assemble(cells, origins, cores, maps, stream=stream),
            "mask": lambda: kernels.mask(
                maps, model.nucleus_threshold, stream=stream, out=mask
            ),
            "label": lambda: kernels.label(
                maps, *rule, stream=stream, workspace=work, out=labels, count=count
            ),
            "download": lambda: kernels.copy(answer, labels, stream=stream),
        }  # fmt: skip

        def all_steps() -> None:
            for step in steps.values():
                step()

        found = {name: self.milliseconds(step) for name, step in steps.items()}
        found["all, page-locked to page-locked"] = self.milliseconds(all_steps)
        rows = (f"{name}={1e3 * took:.1f}us" for name, took in found.items())
        print(f"STEPS {height}x{width} RGB: " + "  ".join(rows), flush=True)

    def whole(self) -> None:
        """Time calls from image to labels, and how they divide into steps."""
        from nucleiseg import Segmenter
        from nucleiseg.benchmark import split

        for level in reversed(self.kernels.convolution_levels()):
            segmenter = Segmenter(device=self.backend(level))
            for height, width in SIZES[self.name]:
                height = 1080 if height == 1088 else height
                colour = picture(height, width)
                for kind, image in (
                    ("RGB", colour),
                    ("grey", np.ascontiguousarray(colour[..., 1])),
                ):
                    label = f"{level} {height}x{width} {kind}"
                    self.call_times(label, segmenter, image)
                call = functools.partial(segmenter.segment, colour, "labels", scale=1)
                parts = split.measure(segmenter, [call], 0.3)
                shares = "  ".join(f"{name}={share:.1%}" for name, share in parts.shares.items())
                print(f"SPLIT {level} {height}x{width} labels, step by step: {shares}", flush=True)

    def call_times(self, label: str, segmenter: Any, image: Array) -> None:
        """Print the latency of `segment` and the frames a second of `map`."""
        passes = 20 if self.name == "cuda" else 2
        times = []
        for _ in range(passes + 4):
            begin = time.perf_counter()
            segmenter.segment(image, "labels", scale=1)
            times.append(time.perf_counter() - begin)
        median = 1e3 * statistics.median(times[4:])
        frames = passes * 4
        for _ in segmenter.map([image] * 12, "labels", scale=1):
            pass
        begin = time.perf_counter()
        for _ in segmenter.map(itertools.repeat(image, frames), "labels", scale=1):
            pass
        rate = frames / (time.perf_counter() - begin)
        print(
            f"WHOLE {label}: labels {median:.3f} ms (least {1e3 * min(times[4:]):.3f}), "
            f"map {rate:.0f} frames/s",
            flush=True,
        )

    def profile(self) -> None:
        """Run the fastest networks once at the largest size, for Nsight Compute."""
        tiles = self.put(picture(*SIZES[self.name][0])[None])
        level = self.kernels.convolution_levels()[-1]
        for topology in (FAST, ACCURATE):
            network = self.kernels.Network(level)
            Random(network, topology)
            network.run(tiles, stream=self.stream)
            self.stream.synchronize()

    def small(self) -> None:
        """Run every form of the network's kernels once, for the sanitizers."""
        tiles = np.random.default_rng(7).integers(0, 256, (1, 64, 96, 3), np.uint8)
        for topology in (FAST, ACCURATE):
            expected = native.cpu.Network()
            Random(expected, topology)
            for level in self.kernels.convolution_levels():
                network = self.kernels.Network(level)
                Random(network, topology)
                found = self.get(network.run(self.put(tiles), stream=self.stream))
                self.compare(f"cells {topology.name} {level}", found, expected.run(tiles))


def main() -> None:
    """Run one part; fail if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "emulated"))
    parser.add_argument("part", choices=("digests", "times", "whole", "small", "profile"))
    arguments = parser.parse_args()
    check = Check(arguments.device)
    device = check.kernels.devices()[0]
    print(f"{arguments.part} on {device['name']} {device['compute_capability']}", flush=True)
    getattr(check, arguments.part)()
    print(f"{arguments.part}: {check.wrong} differ", flush=True)
    sys.exit(check.wrong > 0)


if __name__ == "__main__":
    main()
