"""Reads changed files of every format, each twice, in workers that are started again.

``python tests/fuzz/run.py [--files N] [--seed S] [--formats png,tiff,...]``. The two readings are
in processes whose new memory is filled with different bytes and that go through the inputs in
opposite orders, so pixels that nobody wrote differ. Inputs that crash, take more than a second of
processor time or a gigabyte, raise what is not documented, or are read differently are offenders:
they are counted, and saved to the folder of ``--save``.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NATIVE = "native"
NAMES = (
    *("png", "jpeg", "bmp", "webp", "tiff", "ome", "imagej", "npy", "zarr"),
    *("nd2", "czi", "lif", "dicom", "plate", "onnx", "json"),
    NATIVE,
)
SLOW = 1.0
"""Seconds of processor time that an input may take."""
PATIENCE = 120.0
"""Seconds without a word after which a worker waits for what never comes."""
FILLS = ("85", "170")
"""Bytes that new memory is filled with: glibc's MALLOC_PERTURB_."""
SMALL_STACKS = ("sh", "-c", 'ulimit -s 1024 && exec "$@"', "sh")
"""Begins a program whose threads have stacks of 1 MiB: some calls ask for 256, which are kept."""


@dataclass
class Report:
    """What became of the inputs of a format: how many of each kind, and the offenders."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    offenders: dict[int, str] = field(default_factory=dict)
    stderr: str = ""

    def add(
        self, index: int, first: tuple[str, str, float], second: tuple[str, str, float]
    ) -> None:
        kinds = {first[0], second[0]}
        kind = next((one for one in ("crash", "hang", "error") if one in kinds), first[0])
        if first[:2] != second[:2] and kind in ("read", "refused"):
            kind = "differ"
        elif kind in ("read", "refused") and min(first[2], second[2]) > SLOW:
            kind = "slow"
        self.counts[kind] += 1
        if kind not in ("read", "refused"):
            self.offenders[index] = f"{kind}: {first} {second}"


class Lane:
    """One of the two readings of all inputs, in workers one after the other."""

    def __init__(self, name: str, seed: int, order: range, fill: str, options: Options) -> None:
        self.command = [sys.executable, str(HERE / "worker.py"), name, str(seed)]
        self.end, self.step = order.stop, order.step
        self.next = order.start
        self.options = options
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",  # libraries print sets in their messages
            "MALLOC_PERTURB_": fill,
            "MALLOC_ARENA_MAX": "2",  # each keeps 64 MB of the address space
            "OPENBLAS_NUM_THREADS": "1",
            **options.environment,
        }
        self.results: dict[int, tuple[str, str, float]] = {}
        self.stderr = ""

    def run(self) -> Lane:
        while self.next != self.end and (self.next < self.end) == (self.step > 0):
            self._worker()
        return self

    def _worker(self) -> None:
        numbers = [str(number) for number in (self.next, self.end, self.step)]
        with (
            tempfile.TemporaryFile("w+", errors="replace") as stderr,
            subprocess.Popen(
                [*SMALL_STACKS, *self.command, *numbers, *self.options.module],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self.environment,
            ) as worker,
        ):
            begun = self._follow(worker)
            code = worker.wait()
            stderr.seek(0)
            said = stderr.read()
        self.stderr += said
        if begun is not None:
            kind = "hang" if code in (-27, -9) else "crash"  # SIGPROF, or killed below
            self.results[begun] = (kind, f"{code} {said[-3000:]}", 0.0)
            self.next = begun + self.step
        elif code:
            raise RuntimeError(f"a worker of {self.command} ended with {code}: {said}")

    def _follow(self, worker: subprocess.Popen[bytes]) -> int | None:
        """Note what a worker prints; returns the input at which it ended, if it did."""
        assert worker.stdout is not None
        descriptor, text = worker.stdout.fileno(), b""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while True:
                if not selector.select(PATIENCE):
                    worker.kill()
                part = os.read(descriptor, 65536)
                if not part:
                    break
                text += part
                *lines, text = text.split(b"\n")
                for line in lines:
                    index, result = line.split(b" ", 1)
                    self.results[int(index)] = tuple(json.loads(result))
                    self.next = int(index) + self.step
        return int(text.split(b" ", 1)[0]) if text else None


@dataclass(frozen=True)
class Options:
    """Another native module to call, and what its processes need in their environment."""

    module: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def fuzz(name: str, files: int, seed: int = 0, options: Options | None = None) -> Report:
    """Read inputs of a format twice, shared out among as many workers as there are processors."""
    shards = max(1, len(os.sched_getaffinity(0)) // len(FILLS))
    given = options or Options()
    lanes = []
    for shard in range(min(shards, files)):
        forward = range(files * shard // shards, files * (shard + 1) // shards)
        for fill, order in zip(FILLS, (forward, forward[::-1]), strict=True):
            lanes.append(Lane(name, seed, order, fill, given))
    with ThreadPoolExecutor(len(lanes)) as pool:
        done = list(pool.map(Lane.run, lanes))
    report = Report(stderr="".join(lane.stderr for lane in done))
    for first, second in zip(done[::2], done[1::2], strict=True):
        for index in sorted(first.results):
            report.add(index, first.results[index], second.results[index])
    return report


def missing(name: str) -> str:
    """Return why a format cannot be fuzzed here, if what writes its seeds is not installed."""
    sys.path.insert(0, str(ROOT))
    import formats

    try:
        formats.seeds(name) if name != NATIVE else []
    except ImportError as error:
        return f"{name}: {error}"
    return ""


def save(folder: Path, name: str, seed: int, report: Report) -> None:
    """Write the offenders, and what they did, to a folder."""
    sys.path.insert(0, str(ROOT))
    import formats

    for index, words in report.offenders.items():
        place = folder / f"{name}-{seed}-{index}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "what.txt").write_text(f"{words}\n")
        for file, data in (formats.made(name, seed, index) if name != NATIVE else {}).items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_bytes(data)


def main() -> int:
    parser = argparse.ArgumentParser(description="Read changed files of every format, each twice.")
    parser.add_argument("--files", type=int, default=20_000, help="of each format")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--formats", default=",".join(NAMES))
    parser.add_argument("--save", type=Path, default=ROOT / "build" / "fuzz")
    options = parser.parse_args()
    print(f"seed {options.seed}; offenders go to {options.save}", flush=True)
    kinds = ("read", "refused", "crash", "hang", "slow", "error", "differ")
    print(f"{'format':8}" + "".join(f"{kind:>9}" for kind in (*kinds, "files/s")), flush=True)
    offenders = 0
    for name in options.formats.split(","):
        if words := missing(name):
            print(f"not read: {words}", flush=True)
            continue
        start = time.monotonic()
        report = fuzz(name, options.files, options.seed)
        rate = f"{options.files / (time.monotonic() - start):.0f}"
        figures = [str(report.counts[kind]) for kind in kinds]
        print(f"{name:8}" + "".join(f"{one:>9}" for one in (*figures, rate)), flush=True)
        save(options.save, name, options.seed, report)
        offenders += len(report.offenders)
    return min(offenders, 1)


if __name__ == "__main__":
    sys.exit(main())
