"""How much of ``segment()`` is not the network, on real tissue, to a mask and to labels.

Steps are those of `nucleiseg.Segmenter.times`: limits, normalise and tiles are "prepare".
"""

import argparse

import numpy as np

from benchmarks.steps.common import picture, seconds
from nucleiseg import Segmenter

PARTS = ("prepare", "infer", "assemble", "decode")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=15)


def main(options: argparse.Namespace) -> None:
    image = picture(options.size)
    segmenter = Segmenter(device="cpu", threads=options.threads)
    print(f"{options.size} x {options.size} RGB uint8, {segmenter.threads} threads, medians of ms")
    for output in ("mask", "labels"):
        segmenter.segment(image, output)
        totals, parts = [], []
        for _ in range(options.repeats):
            before = segmenter.times()
            totals.append(seconds(lambda output=output: segmenter.segment(image, output)))
            after = segmenter.times()
            parts.append([after[part] - before[part] for part in PARTS])
        print_shares(output, options.size**2, np.array(totals), np.array(parts))


def print_shares(output: str, pixels: int, totals: np.ndarray, parts: np.ndarray) -> None:
    medians = zip(PARTS, 1e3 * np.median(parts, axis=0), strict=True)
    listed = ", ".join(f"{name} {value:.1f}" for name, value in medians)
    others = np.median(1 - parts[:, PARTS.index("infer")] / totals)
    print(f'segment(output="{output}"): {1e3 * np.median(totals):.1f} ({listed})')
    print(f"  {pixels / np.median(totals) / 1e6:.1f} Mpixel/s; not the network: {others:.1%}")
