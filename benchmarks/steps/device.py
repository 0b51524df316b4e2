"""The CUDA kernels on this machine's GPU, beside what their bytes need at its copying rate.

Pictures are an example image and its mirror images. A time is that of the step in a graph; the last
column is how many times the least it is that ``roofline`` counts, at the rate at
which this GPU copies a gigabyte. An image that fits into the GPU's cache can be below 1. Needs a
build with CUDA kernels, and onnx.
"""

import argparse

import nucleiseg._native as native
from benchmarks.steps.common import picture
from nucleiseg import Model, gpu_proof
from nucleiseg.engines.clock import Clock

LARGE = 1 << 30
STEPS = ("limits", "normalize", "gather", "assemble", "mask", "label")


def copying_rate(clock: Clock) -> float:
    """Return the bytes a second, read and written."""
    one, other = (clock.kernels.Buffer((LARGE,)) for _ in range(2))
    clock.kernels.fill(one, 7, stream=clock.stream)
    took = clock.milliseconds(lambda: clock.kernels.copy(other, one, stream=clock.stream))
    return 2 * LARGE / took * 1e3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048, 4096])


def main(options: argparse.Namespace) -> None:
    from benchmarks.steps import roofline
    from nucleiseg.engines.cuda import Engine

    if not hasattr(native, "cuda") or not native.cuda.device_count():
        raise SystemExit("no GPU, or a build without CUDA kernels: see `nucleiseg doctor`")
    clock, model = Clock(native.cuda), Model.load()
    engine = Engine(model, native.cuda)
    rate = copying_rate(clock)
    print(f"{native.cuda.devices()[0]['name']}: copies at {rate / 1e12:.2f} TB/s, read and written")
    least = {step.name: step.bytes for step in roofline.steps(roofline.Network(0, 0, 0))}
    print(f"{'step':<12}{'side':>6}{'us':>10}{'GB/s':>8}{'of least':>10}")
    for side in options.sides:
        works = gpu_proof.steps(model, clock, engine, picture(side, "hematoxylin_eosin"))
        for work in works.values():
            work()  # so that each finds what the ones before make
        for name in STEPS:
            took = 1e3 * clock.milliseconds(works[name])
            size = least[name] * side * side
            of_least = took / (size / rate * 1e6)
            print(f"{name:<12}{side:>6}{took:>10.1f}{size / took / 1e3:>8.0f}{of_least:>10.1f}")
