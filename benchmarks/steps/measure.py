"""Measurements of 5,000 nuclei against scikit-image: milliseconds, and how many times faster.

Needs the extra ``test``. Both measure the same columns of the same labels and image, in turn in one
process; the ratio is that of each pair. Nuclei are ellipses of 20 to 30 pixels, of which some
touch. Outlines are timed too, without anything to compare.
"""

import argparse
import statistics
import time
import warnings

import cv2
import numpy as np

from benchmarks.steps.common import seconds
from nucleiseg._native import cpu

SPACING = 30
PROPERTIES = [
    *("label", "area", "centroid", "bbox", "equivalent_diameter_area", "axis_major_length"),
    *("axis_minor_length", "eccentricity", "orientation", "perimeter_crofton", "solidity"),
    *("intensity_mean", "intensity_std", "intensity_min", "intensity_max"),
]


def scene(nuclei: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) int32 and an image (H, W) uint8, about square."""
    rng = np.random.default_rng(5)
    columns = int(np.ceil(np.sqrt(nuclei)))
    rows = -(-nuclei // columns)
    labels = np.zeros((rows * SPACING, columns * SPACING), np.int32)
    for i in range(nuclei):
        row, column = np.array(divmod(i, columns)) * SPACING + SPACING // 2
        axes = rng.integers(10, 16, 2).tolist()
        centre = (int(column), int(row))
        cv2.ellipse(labels, centre, axes, int(rng.integers(180)), 0, 360, i + 1, cv2.FILLED)
    return labels, rng.integers(0, 256, labels.shape, np.uint8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nuclei", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of all threads, not the clock"
    )


def main(options: argparse.Namespace) -> None:
    from skimage.measure import regionprops_table

    clock = time.process_time if options.cpu_time else time.perf_counter
    warnings.simplefilter("ignore", UserWarning)
    labels, image = scene(options.nuclei)
    threads = options.threads

    def table() -> object:
        return regionprops_table(labels, image, PROPERTIES)

    def measure(ring: int) -> object:
        return cpu.measure(labels, image, ring=ring, threads=threads)

    pairs = []
    for _ in range(options.rounds):
        own = 1e3 * seconds(lambda: measure(ring=0), clock)
        pairs.append((own, 1e3 * seconds(table, clock)))
    ratios = [theirs / own for own, theirs in pairs]
    with_ring = 1e3 * seconds(lambda: measure(ring=5), clock)
    outlines = 1e3 * seconds(lambda: cpu.outline(labels, threads=threads), clock)

    print(f"{options.nuclei} nuclei, {labels.shape[0]} x {labels.shape[1]}, {threads} threads")
    print(f"scikit-image    {statistics.median(theirs for _, theirs in pairs):>10.1f} ms")
    print(f"measure         {statistics.median(own for own, _ in pairs):>10.1f} ms")
    print(f"  and the rings {with_ring:>10.1f} ms")
    print(f"outline         {outlines:>10.1f} ms")
    print(f"ratio, pair by pair: median {statistics.median(ratios):.0f}, lowest {min(ratios):.0f}")
