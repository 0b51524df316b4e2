"""How much of ``segment()`` is not the network: ``python benchmarks/share.py``.

Times the steps of the driver one by one on a 2048 x 2048 RGB uint8 image made of real tissue, and
says what share of ``segment(output="mask")`` and ``segment(output="labels")`` is not the engine's.
"""

import argparse
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg import Segmenter, images

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


class Watched:
    """A backend, or its steps of one image, that adds up what some of them take."""

    def __init__(self, steps: Any, seconds: dict[str, float]) -> None:
        self._steps, self._seconds = steps, seconds

    def __getattr__(self, name: str) -> Any:
        """Give what the backend has; a step is timed."""
        value = getattr(self._steps, name)
        return functools.partial(self._timed, name, value) if name in self._seconds else value

    @contextlib.contextmanager
    def session(self, to_host: bool) -> Iterator["Watched"]:
        """Watch the steps of one image."""
        with self._steps.session(to_host) as steps:
            yield Watched(steps, self._seconds)

    def _timed(self, name: str, step: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        result = step(*arguments, **options)
        self._seconds[name] += time.perf_counter() - begin
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    image = picture(options.size)
    segmenter = Segmenter(threads=options.threads)
    steps = ("percentiles", "normalize", "gather", "infer", "assemble", "mask", "label")
    seconds = dict.fromkeys(steps, 0.0)
    segmenter._backend = Watched(segmenter._backend, seconds)
    print(f"{options.size} x {options.size} RGB uint8, {segmenter.threads} threads, medians of ms")
    for output in ("mask", "labels"):
        segmenter.segment(image, output)
        totals, parts = [], []
        for _ in range(options.repeats):
            seconds.update(dict.fromkeys(steps, 0.0))
            begin = time.perf_counter()
            segmenter.segment(image, output)
            totals.append(time.perf_counter() - begin)
            parts.append(list(seconds.values()))
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
