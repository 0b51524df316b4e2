"""Check the kernels on a GPU against the CPU's, and time them; `tools/gpu_check.sh` runs all of it.

python tools/gpu_check.py [--device cuda] digests|times|whole|small|profile
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import sys
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
from nucleiseg import gpu_proof  # noqa: E402
from nucleiseg.benchmark import pictures  # noqa: E402
from nucleiseg.engines.clock import Clock  # noqa: E402
from training.topology import ACCURATE, FAST, Topology  # noqa: E402

EXAMPLES = ROOT / "tests" / "data" / "images"
THREADS = len(os.sched_getaffinity(0))
SIZES = {"cuda": ((2048, 2048), (1088, 1920)), "emulated": ((64, 96),)}
"""Of tiles that are timed; 1080 rows become 1088."""
REPEATS = {"cuda": 20, "emulated": 1}

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


picture = functools.partial(pictures.draw, "stained")


class Check:
    """The device's module with a stream."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kernels: ModuleType = getattr(native, name)
        self.clock = Clock(self.kernels, REPEATS[name])
        self.stream, self.put, self.get = self.clock.stream, self.clock.put, self.clock.get
        self.wrong = 0

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
                found, expected = device.analyze(image), cpu.analyze(image)
                for what in ("mask", "labels"):
                    pair = getattr(found, what), getattr(expected, what)
                    self.compare(f"{what} {level} {path.stem}", *pair)

    def backend(self, level: str) -> Any:
        """Make the backend with the package's own engine."""
        from nucleiseg import Model
        from nucleiseg.backends.cuda import CudaBackend
        from nucleiseg.engines.cuda import Engine

        model = Model.load()
        return CudaBackend(model, self.kernels, Engine(model, self.kernels, level), THREADS)

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
        whole = self.clock.milliseconds(lambda: network.run(tiles, **options))
        print(f"NETWORK {name}: {whole:.4f} ms, workspace {memory.nbytes / 1e6:.0f} MB")
        rows = []
        for layer, words in enumerate(network.layers):
            took = self.clock.milliseconds(
                lambda layer=layer: network.run(tiles, only=layer, **options)
            )
            rows.append(f"{layer}:{words}={1e3 * took:.1f}us")
        print("  " + "  ".join(rows), flush=True)

    def step_times(self, height: int, width: int) -> None:
        """Print what each step around the network takes, on the device alone."""
        from nucleiseg import Model
        from nucleiseg.engines.cuda import Engine

        model, image = Model.load(), picture(height, width)
        works = gpu_proof.steps(model, self.clock, Engine(model, self.kernels), image)

        def all_steps() -> None:
            for work in works.values():
                work()

        found = {name: self.clock.milliseconds(work) for name, work in works.items()}
        found["all, page-locked to page-locked"] = self.clock.milliseconds(all_steps)
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
        took, rate = gpu_proof.call_times(segmenter, image, 20 if self.name == "cuda" else 2)
        print(f"WHOLE {label}: labels {took:.3f} ms, map {rate:.0f} frames/s", flush=True)

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
