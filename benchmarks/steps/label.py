"""Labelling of real maps, from sparse to crowded, in Mpixel/s.

The maps are those of the example images, laid side by side with their mirror images.
"""

import argparse

import numpy as np

from benchmarks.steps.common import EXAMPLES, best
from nucleiseg import Segmenter, images
from nucleiseg._native import cpu
from nucleiseg.data import mirrored


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5, help="time spent on each image")


def main(options: argparse.Namespace) -> None:
    segmenter = Segmenter(device="cpu", threads=options.threads)
    rule = segmenter.model.label_rule()
    rates = []
    print(f"{'maps of':<28}{'nuclei':>8}{'ms':>8}{'Mpixel/s':>10}")
    for path in sorted(EXAMPLES.iterdir()):
        maps = segmenter.segment(images.read(path), "maps", scale=1)
        maps = mirrored(np.ascontiguousarray(maps), options.size, options.size)
        count = cpu.label(maps, *rule, threads=options.threads)[1]
        took = best(
            lambda maps=maps: cpu.label(maps, *rule, threads=options.threads), options.seconds
        )
        rates.append(options.size**2 / took / 1e6)
        print(f"{path.stem:<28}{count:>8}{1e3 * took:>8.2f}{rates[-1]:>10.0f}")
    print(f"slowest to fastest: {max(rates) / min(rates):.2f}")
