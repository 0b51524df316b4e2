"""A folder of images through the command's run against ``Segmenter.map`` on the same files.

Copies of the example images under other names are segmented by `nucleiseg.batch.run`, with masks,
labels and CSV written and every file noted as done, and by `Segmenter.map`, which reads the same
files and gives labels that go nowhere. Both in turn in one process, part by part; the ratio is that
of each pair. Then the memory: what is resident after each part of the run.
"""

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.steps.common import EXAMPLES
from nucleiseg import Segmenter, batch, images, outputs
from nucleiseg.batch import Job
from nucleiseg.records import Records

SAVED = "mask,labels,csv"


def plate(folder: Path, count: int) -> list[Path]:
    """Copy the examples, in turn, until there are so many."""
    folder.mkdir()
    sources = itertools.cycle(sorted(EXAMPLES.iterdir()))
    return [
        Path(shutil.copy(source, folder / f"{number:05}.png"))
        for number, source in zip(range(count), sources, strict=False)
    ]


def run(segmenter: Segmenter, paths: Sequence[Path], output: Path, jobs: int) -> float:
    """Segment and save; return the seconds that took."""
    output.mkdir(exist_ok=True)
    selection = images.selection()
    records = Records(output, batch.settings(segmenter, {}, selection))
    todo = [Job(path, output / path.stem) for path in paths]
    begin = time.perf_counter()
    formats = outputs.formats(SAVED)
    for outcome in batch.run(
        segmenter, todo, formats, {}, selection, records=records, at_once=jobs
    ):
        assert not outcome.failure, outcome
    return time.perf_counter() - begin


def stream(segmenter: Segmenter, paths: Sequence[Path]) -> float:
    """Segment only; return the seconds that took."""
    begin = time.perf_counter()
    for _ in segmenter.map(paths, "labels"):
        pass
    return time.perf_counter() - begin


def resident() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=batch.AT_ONCE)
    parser.add_argument("--rounds", type=int, default=10, help="parts, each a pair")
    parser.add_argument("--threads", type=int)


def main(options: argparse.Namespace) -> None:
    segmenter = Segmenter(threads=options.threads)
    ratios, memory = [], []
    with tempfile.TemporaryDirectory() as folder:
        paths = plate(Path(folder, "in"), options.images)
        output = Path(folder, "out")
        stream(segmenter, paths[:7])
        size = -(-len(paths) // options.rounds)
        for first in range(0, len(paths), size):
            part = paths[first : first + size]
            alone = stream(segmenter, part)
            saved = run(segmenter, part, output, options.jobs)
            ratios.append(alone / saved)
            memory.append(resident())
            print(
                f"{first + len(part):>6,} images: map {len(part) / alone:6.1f} images/s, "
                f"folder {len(part) / saved:6.1f} images/s, ratio {ratios[-1]:.2f}, "
                f"{memory[-1]:,.0f} MB",
                flush=True,
            )
    print(f"folder over map: median {statistics.median(ratios):.2f}, lowest {min(ratios):.2f}")
    print(f"memory: {memory[-1] - memory[0]:+,.0f} MB from the first part to the last")
