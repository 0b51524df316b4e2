"""The CUDA kernels on this machine's GPU, beside what their bytes need at its copying rate.

Pictures are an example image and its mirror images. A time is that of the step in a graph; the last
column is how many times the least it is that ``roofline`` counts, at the rate at
which this GPU copies a gigabyte. An image that fits into the GPU's cache can be below 1. Needs a
build with CUDA kernels.
"""

import argparse

import nucleiseg._native as native
from benchmarks.steps import roofline
from benchmarks.steps.ceilings import Cost
from benchmarks.steps.common import picture
from nucleiseg import Model, backends
from nucleiseg.device import available_threads

LARGE = 1 << 30
REPEATS = 20
STEPS = ("limits", "normalize", "gather", "assemble", "mask", "label")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048, 4096])


def main(options: argparse.Namespace) -> None:
    from nucleiseg.engines.cuda import Engine

    if not hasattr(native, "cuda") or not native.cuda.device_count():
        raise SystemExit("no GPU, or a build without CUDA kernels: see `nucleiseg doctor`")
    model = Model.load()
    backend = backends.on_gpu(model, native.cuda, Engine(model, native.cuda), available_threads())
    pipeline = backend.pipeline(backend.tile, 1).native
    rate = 2 * LARGE / native.cuda.copy_milliseconds(LARGE, REPEATS) * 1e3
    print(f"{native.cuda.devices()[0]['name']}: copies at {rate / 1e12:.2f} TB/s, read and written")
    least = {step.name: step.bytes for step in roofline.steps(Cost())}
    print(f"{'step':<12}{'side':>6}{'us':>10}{'GB/s':>8}{'of least':>10}")
    for side in options.sides:
        _, times = pipeline.step_milliseconds(picture(side, "hematoxylin_eosin"), REPEATS)
        for name in STEPS:
            took = 1e3 * times[name]
            size = least[name] * side * side
            of_least = took / (size / rate * 1e6)
            print(f"{name:<12}{side:>6}{took:>10.1f}{size / took / 1e3:>8.0f}{of_least:>10.1f}")
