"""Time labelling on real maps, from sparse to crowded: ``python benchmarks/label.py``.

The maps are those of the example images, laid side by side to 2048 x 2048 pixels with their mirror
images. Prints nuclei, Mpixel/s, and the ratio of the slowest to the fastest.
"""

import argparse
from pathlib import Path

import numpy as np
from share import mirrored

from nucleiseg import Segmenter, images
from nucleiseg._native import cpu
from nucleiseg.benchmark.timing import best

IMAGES = sorted((Path(__file__).parents[1] / "tests" / "data" / "images").iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5, help="time spent on each image")
    options = parser.parse_args()
    segmenter = Segmenter(device="cpu", threads=options.threads)
    rule = segmenter.model.label_rule()
    rates = []
    print(f"{'maps of':<28}{'nuclei':>8}{'ms':>8}{'Mpixel/s':>10}")
    for path in IMAGES:
        maps = segmenter.segment(images.read(path), "maps", scale=1)
        maps = mirrored(np.ascontiguousarray(maps), options.size)
        count = cpu.label(maps, *rule, threads=options.threads)[1]
        seconds = best(lambda maps=maps: cpu.label(maps, *rule, options.threads), options.seconds)
        rates.append(options.size**2 / seconds / 1e6)
        print(f"{path.stem:<28}{count:>8}{1e3 * seconds:>8.2f}{rates[-1]:>10.0f}")
    print(f"slowest to fastest: {max(rates) / min(rates):.2f}")


if __name__ == "__main__":
    main()
