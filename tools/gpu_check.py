"""Compare the kernels on a GPU with the CPU's, and time each layer of the networks.

    python tools/gpu_check.py [--device cuda] digests|layers|small|profile

`tools/gpu_check.sh` runs all of it; `nucleiseg doctor --gpu` compares and times the whole.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "native")]

from test_device_network import ACCURATE, FAST, Unet  # noqa: E402

import nucleiseg._native as native  # noqa: E402
from nucleiseg import Model, Segmenter, backends, data, images  # noqa: E402
from nucleiseg.engines import cuda  # noqa: E402
from nucleiseg.engines.native import add_layers  # noqa: E402

EXAMPLES = ROOT / "tests" / "data" / "images"
THREADS = len(os.sched_getaffinity(0))
SHAPES = ((1, 64, 96), (3, 512, 480), (1, 1088, 1920), (1, 2048, 2048))
"""Shapes of tiles; 1080 rows become 1088."""
SMALL, SLOW = (1, 64, 96), 512
"""The only shape of the emulated device, and the most rows for a CPU without vector kernels."""

Array = NDArray[Any]


class Check:
    """The kernels of a device, with the networks that they run."""

    def __init__(self, name: str) -> None:
        self.kernels: ModuleType = getattr(native, name)
        self.repeats = 20 if name == "cuda" else 1  # of work in the graph that is timed
        self.stream = self.kernels.Stream()
        self.shapes = SHAPES if name == "cuda" else (SMALL,)
        self.wrong = 0
        self.model = model = Model.load()
        self.adders: dict[str, Callable[[Any], object]] = {
            model.name: lambda network: add_layers(model, network),
            "fast, random": lambda network: Unet(network, 7, FAST),
            "accurate, random": lambda network: Unet(network, 7, ACCURATE, 6),
        }

    def put(self, array: Array) -> Any:
        """Copy to the device."""
        return self.kernels.to_device(array, stream=self.stream)

    def milliseconds(self, work: Callable[[], object]) -> float:
        """Return the median of seven launches, by the device's own events."""
        work()
        with self.stream.capture() as graph:
            for _ in range(self.repeats):
                work()
        begin, end = (self.kernels.Event(timing=True) for _ in range(2))
        times = []
        for _ in range(8):
            begin.record(self.stream)
            graph.launch(self.stream)
            end.record(self.stream)
            end.synchronize()
            times.append(end.milliseconds_since(begin) / self.repeats)
        return float(statistics.median(times[1:]))

    def networks(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield each network, and the CPU's."""
        for name, add in self.adders.items():
            expected = native.cpu.Network()
            add(expected)
            network = self.kernels.Network()
            add(network)
            yield name, network, expected

    def compare(self, what: str, found: Array, expected: Array) -> None:
        """Print whether arrays are equal, a digest, and where they differ."""
        same = np.array_equal(found, expected)
        line = f"{'EQUAL' if same else 'DIFFERS'} {hashlib.sha256(found).hexdigest()[:12]} {what}"
        if not same and found.shape == expected.shape:
            where = np.argwhere(found != expected)
            line += f": {len(where)} of {found.size}, first {where[0].tolist()}"
        self.wrong += not same
        print(line, flush=True)

    def cells(self, name: str, network: Any, expected: Any, tiles: Array) -> None:
        """Compare the cells of tiles."""
        found = network.run(self.put(tiles), stream=self.stream)
        found = self.kernels.to_host(found, stream=self.stream)
        self.compare(f"cells {name} {tiles.shape}", found, expected.run(tiles, threads=THREADS))

    def digests(self) -> None:
        """Compare cells of every network, and masks and labels of the example images."""
        is_slow = native.cpu.convolution_levels()[-1] == "portable"
        for name, network, expected in self.networks():
            for count, height, width in self.shapes:
                if not (is_slow and height > SLOW):
                    tile = data.example("stained", (height, width))
                    self.cells(name, network, expected, np.repeat(tile[None], count, 0))
        cpu = Segmenter(device="cpu")
        engine = cuda.Engine(self.model, self.kernels)
        device = Segmenter(device=backends.on_gpu(self.model, self.kernels, engine, THREADS))
        for path in sorted(EXAMPLES.iterdir()):
            image = images.read(path)
            found, expected = device.analyze(image), cpu.analyze(image)
            for what in ("mask", "labels"):
                pair = getattr(found, what), getattr(expected, what)
                self.compare(f"{what} {path.stem}", *pair)

    def layers(self) -> None:
        """Print the time of each network and of each of its layers."""
        for _, height, width in self.shapes[-2:]:
            tiles = self.put(data.example("stained", (height, width))[None])
            for name, network, _ in self.networks():
                self.layer_times(f"{name} {height}x{width}", network, tiles)

    def layer_times(self, name: str, network: Any, tiles: Any) -> None:
        """Print the time of a network on tiles and of each of its layers."""
        count, height, width, _ = tiles.shape
        memory = self.kernels.Buffer([network.workspace(count, height, width)])
        cells = self.kernels.Buffer((count, height // 2, width // 2, 8))

        def time(**only: int) -> float:
            options = {"stream": self.stream, "out": cells, "workspace": memory, **only}
            return self.milliseconds(lambda: network.run(tiles, **options))

        print(f"{name}: {time():.4f} ms, workspace {memory.nbytes / 1e6:.0f} MB")
        times = [f"{words}={1e3 * time(only=i):.1f}us" for i, words in enumerate(network.layers)]
        print("  " + "  ".join(times), flush=True)

    def small(self) -> None:
        """Run every form of the network's kernels once, for the sanitizers."""
        tiles = np.random.default_rng(7).integers(0, 256, (*SMALL, 3), np.uint8)
        for name, network, expected in self.networks():
            self.cells(name, network, expected, tiles)

    def profile(self) -> None:
        """Run each once at the largest size, for Nsight Compute."""
        tiles = self.put(data.example("stained", self.shapes[-1][1:])[None])
        for name, network, _ in self.networks():
            if "random" in name:
                network.run(tiles, stream=self.stream)
        self.stream.synchronize()


def main() -> None:
    """Run one part; fail if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "emulated"))
    parser.add_argument("part", choices=("digests", "layers", "small", "profile"))
    arguments = parser.parse_args()
    check = Check(arguments.device)
    device = check.kernels.devices()[0]
    print(f"{arguments.part} on {device['name']} {device['compute_capability']}", flush=True)
    getattr(check, arguments.part)()
    print(f"{arguments.part}: {check.wrong} differ", flush=True)
    sys.exit(check.wrong > 0)


if __name__ == "__main__":
    main()
