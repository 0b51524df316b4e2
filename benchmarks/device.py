"""Time the CUDA kernels on this machine's GPU beside what their bytes need at its copying rate.

    python benchmarks/device.py [--sides 512 1024 2048 4096]

Pictures are an example image and its mirror images. A time is that of the step in a graph; the last
column is how many times the least it is that ``benchmarks/roofline.py`` counts, at the rate at
which this GPU copies a gigabyte. An image that fits into the GPU's cache can be below 1. Needs a
build with CUDA kernels, and onnx.
"""

import argparse
from pathlib import Path

import roofline
from share import mirrored

import nucleiseg._native as native
from nucleiseg import Model, gpu_proof, images
from nucleiseg.engines.clock import Clock
from nucleiseg.engines.cuda import Engine

EXAMPLE = Path(__file__).parents[1] / "tests" / "data" / "images" / "hematoxylin_eosin.png"
LARGE = 1 << 30
STEPS = ("limits", "normalize", "gather", "assemble", "mask", "label")


def copying_rate(clock: Clock) -> float:
    """Give bytes a second, read and written."""
    one, other = (clock.kernels.Buffer((LARGE,)) for _ in range(2))
    clock.kernels.fill(one, 7, stream=clock.stream)
    took = clock.milliseconds(lambda: clock.kernels.copy(other, one, stream=clock.stream))
    return 2 * LARGE / took * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048, 4096])
    options = parser.parse_args()
    if not hasattr(native, "cuda") or not native.cuda.device_count():
        raise SystemExit("no GPU, or a build without CUDA kernels: see `nucleiseg doctor`")
    clock, model = Clock(native.cuda), Model.load()
    engine = Engine(model, native.cuda)
    rate = copying_rate(clock)
    print(f"{native.cuda.devices()[0]['name']}: copies at {rate / 1e12:.2f} TB/s, read and written")
    example = images.read(EXAMPLE)
    least = {step.name: step.bytes for step in roofline.steps(roofline.Network(0, 0, 0))}
    print(f"{'step':<12}{'side':>6}{'us':>10}{'GB/s':>8}{'of least':>10}")
    for side in options.sides:
        works = gpu_proof.steps(model, clock, engine, mirrored(example, side))
        for work in works.values():
            work()  # so that each finds what the ones before make
        for name in STEPS:
            took = 1e3 * clock.milliseconds(works[name])
            size = least[name] * side * side
            of_least = took / (size / rate * 1e6)
            print(f"{name:<12}{side:>6}{took:>10.1f}{size / took / 1e3:>8.0f}{of_least:>10.1f}")


if __name__ == "__main__":
    main()
