"""How much of ``segment()`` is not the network: ``python benchmarks/share.py``.

Times the steps of the driver one by one on a 2048 x 2048 RGB uint8 image made of real tissue, and
says what share of ``segment(output="mask")`` and ``segment(output="labels")`` is not the engine's.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from nucleiseg import Segmenter, images
from nucleiseg.benchmark.split import Split, Watched

EXAMPLE = Path(__file__).parents[1] / "tests" / "data" / "images" / "purple_on_violet.png"


def picture(size: int) -> np.ndarray:
    """Give real tissue, RGB, repeated to a size."""
    return mirrored(images.read(EXAMPLE), size)


def mirrored(image: np.ndarray, size: int) -> np.ndarray:
    """Tile an image with its mirror images, so that there are no seams."""
    pair = np.concatenate([image, image[:, ::-1]], axis=1)
    block = np.concatenate([pair, pair[::-1]])
    counts = [-(-size // length) for length in block.shape[:2]]
    return np.ascontiguousarray(np.tile(block, (*counts, 1))[:size, :size])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    image = picture(options.size)
    segmenter = Segmenter(threads=options.threads)
    steps = ("limits", "normalize", "gather", "infer", "assemble", "mask", "label")
    split = Split(parts=dict.fromkeys(steps, 0.0))
    segmenter._backend = Watched(segmenter._backend, split, {step: step for step in steps})
    print(f"{options.size} x {options.size} RGB uint8, {segmenter.threads} threads, medians of ms")
    for output in ("mask", "labels"):
        segmenter.segment(image, output)
        totals, parts = [], []
        for _ in range(options.repeats):
            split.parts.update(dict.fromkeys(steps, 0.0))
            begin = time.perf_counter()
            segmenter.segment(image, output)
            totals.append(time.perf_counter() - begin)
            parts.append(list(split.parts.values()))
        report(output, image.size // 3, np.array(totals), np.array(parts), steps)


def report(
    output: str, pixels: int, totals: np.ndarray, parts: np.ndarray, steps: tuple[str, ...]
) -> None:
    medians = dict(zip(steps, 1e3 * np.median(parts, axis=0), strict=True))
    others = np.median(1 - parts[:, steps.index("infer")] / totals)
    listed = ", ".join(f"{name} {value:.1f}" for name, value in medians.items() if value > 0)
    print(f'segment(output="{output}"): {1e3 * np.median(totals):.1f} ({listed})')
    print(f"  {pixels / np.median(totals) / 1e6:.1f} Mpixel/s; not the engine: {others:.1%}")


if __name__ == "__main__":
    main()
