"""Time each native kernel: milliseconds, bytes moved a second, and the ratio to a plain copy.

python benchmarks/kernels.py [--threads N] [--size PIXELS] [--level LEVEL]

The kernels, their bytes and the copy are those of ``nucleiseg benchmark``; this runs them alone,
and for any level of instructions. Times are the best of many calls.
"""

import argparse
import time

from nucleiseg._native import cpu
from nucleiseg.benchmark.ceilings import copy_speed
from nucleiseg.benchmark.kernels import kernels
from nucleiseg.benchmark.timing import best
from nucleiseg.model import Model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=2048, help="pixels of the image's side")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each kernel")
    parser.add_argument("--level", choices=cpu.features()["levels"])
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of all threads, not the clock"
    )
    arguments = parser.parse_args()
    if arguments.level:
        cpu.set_simd_level(arguments.level)
    clock = time.process_time if arguments.cpu_time else time.perf_counter

    print(f"{cpu.features()['level']}, {arguments.threads} threads, {arguments.size} pixels square")
    copying = copy_speed(arguments.threads, arguments.seconds, clock)
    print(f"copy {copying / 1e9:.2f} GB/s, read and written")
    print(f"{'kernel':<24}{'ms':>9}{'GB/s':>9}{'of copy':>9}")
    for kernel in kernels(arguments.size, arguments.threads, Model.load()):
        seconds = best(kernel.run, arguments.seconds, clock)
        rate = kernel.bytes_moved / seconds
        milliseconds, ratio = 1e3 * seconds, rate / copying
        print(f"{kernel.name:<24}{milliseconds:>9.2f}{rate / 1e9:>9.2f}{ratio:>9.2f}")


if __name__ == "__main__":
    main()
