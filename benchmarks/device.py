"""Time the CUDA kernels on this machine's GPU beside what their bytes need at its copying rate.

    python benchmarks/device.py [--sides 512 1024 2048 4096]

Pictures and maps are those of an example image and its mirror images. A time is the median of
batches of launches between two events; the last column is how many times the least that
``benchmarks/roofline.py`` counts it is, at the rate at which this GPU copies a gigabyte. An image
that fits into the GPU's cache can be below 1. Needs a build with CUDA kernels, and onnx.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
from roofline import Network, steps
from share import mirrored

import nucleiseg._native as native
from nucleiseg import Model, Segmenter, images

EXAMPLE = Path(__file__).parents[1] / "tests" / "data" / "images" / "hematoxylin_eosin.png"
LAUNCHES = 10
BATCHES = 15
LARGE = 1 << 30


class Clock:
    """Times work in one stream."""

    def __init__(self) -> None:
        self.kernels = native.cuda
        self.stream = self.kernels.Stream()

    def microseconds(self, work: Callable[[], object]) -> float:
        found = []
        for _ in range(BATCHES):
            start, end = (self.kernels.Event(timing=True) for _ in range(2))
            start.record(self.stream)
            for _ in range(LAUNCHES):
                work()
            end.record(self.stream)
            end.synchronize()
            found.append(end.milliseconds_since(start) * 1e3 / LAUNCHES)
        return statistics.median(found[1:])

    def graphed(self, work: Callable[[], object]) -> float:
        """As above, launched as a graph, so that the host's part does not count."""
        with self.stream.capture() as graph:
            work()
        return self.microseconds(lambda: graph.launch(self.stream))


def copying_rate(clock: Clock) -> float:
    """Give bytes a second, read and written."""
    one, other = (clock.kernels.Buffer((LARGE,)) for _ in range(2))
    clock.kernels.fill(one, 7, stream=clock.stream)
    took = clock.microseconds(lambda: clock.kernels.copy(other, one, stream=clock.stream))
    return 2 * LARGE / took * 1e6


def work_of(clock: Clock, picture: np.ndarray, maps: np.ndarray) -> dict[str, Callable[[], object]]:
    """Give each step's work; the memory that it needs is there before."""
    kernels, stream = clock.kernels, clock.stream
    model = Model.load()
    height, width = picture.shape[:2]

    def room(shape: tuple[int, ...], dtype: str = "uint8") -> object:
        return kernels.Buffer(shape, dtype)

    image, there = (kernels.to_device(array, stream=stream) for array in (picture, maps))
    search, limits = room((kernels.limits_workspace(),)), room((6,), "float64")
    kernels.limits(image, *model.percentiles, stream=stream, workspace=search, out=limits)
    normal, tile = room((height, width, 3)), room((1, height, width, 3))
    origins, cores = np.array([[0, 0]]), np.array([[0, 0, height, width]])
    cells, found = room((1, height // 2, width // 2, 8)), room((height, width, 2))
    kernels.fill(cells, 0, stream=stream)
    mask, labels = room((height, width), "bool"), room((height, width), "int32")
    workspace = room((kernels.label_workspace(height, width),))
    count = room((1,), "int32")
    return {
        "limits": lambda: kernels.limits(
            image, *model.percentiles, stream=stream, workspace=search, out=limits
        ),
        "normalize": lambda: kernels.normalize(image, limits=limits, stream=stream, out=normal),
        "gather": lambda: kernels.gather(normal, origins, height, width, stream=stream, out=tile),
        "assemble": lambda: kernels.assemble(cells, origins, cores, found, stream=stream),
        "mask": lambda: kernels.mask(there, model.nucleus_threshold, stream=stream, out=mask),
        "label": lambda: kernels.label(
            there,
            *model.label_rule(),
            stream=stream,
            workspace=workspace,
            out=labels,
            count=count,
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    options = parser.parse_args()
    if not hasattr(native, "cuda") or not native.cuda.device_count():
        raise SystemExit("no GPU, or a build without CUDA kernels: see `nucleiseg doctor`")
    clock = Clock()
    rate = copying_rate(clock)
    print(f"{native.cuda.devices()[0]['name']}: copies at {rate / 1e12:.2f} TB/s, read and written")
    example = images.read(EXAMPLE)
    maps = Segmenter(device="cpu").segment(example, "maps", scale=1)
    least = {step.name: step.bytes for step in steps(Network(0, 0, 0))}
    print(f"{'step':<12}{'side':>6}{'us':>10}{'as a graph':>12}{'GB/s':>8}{'of least':>10}")
    for side in options.sides:
        for name, work in work_of(clock, mirrored(example, side), mirrored(maps, side)).items():
            took, graphed = clock.microseconds(work), clock.graphed(work)
            size = least[name] * side * side
            print(
                f"{name:<12}{side:>6}{took:>10.1f}{graphed:>12.1f}{size / graphed / 1e3:>8.0f}"
                f"{graphed / (size / rate * 1e6):>10.1f}"
            )


if __name__ == "__main__":
    main()
