"""The process of one tool: ``python -m benchmarks.peers.worker PROGRAM``.

It reads a request a line from standard input and answers a line on standard output, both JSON
objects. A request names what to ``do``; the other entries are its arguments:

| do | with | answer |
|---|---|---|
| load | threads, files | weights, about, versions |
| take | image, labels (names of .npy files) | seconds of each output, warmed up |
| time | calls, seconds | seconds of each output in each call, until either is reached |

``peak_memory_mb`` is in every answer. What fails is answered with ``error``, one line.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks.peers.machine import entries

DEATH_OF_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl: an orphan that is stopped would stay for ever."""

WARM_UP = {"calls": 4, "seconds": 1.0}
"""TorchScript still compiles in its third call."""


class Worker:
    def __init__(self, program: str) -> None:
        self.name = program
        self.program: Any = None

    def load(self, threads: int, files: dict[str, str]) -> dict[str, Any]:
        module = importlib.import_module(f"benchmarks.peers.programs.{self.name}")
        self.program = module.Program(threads, files)
        return {
            "weights": self.program.weights,
            "about": self.program.about,
            "versions": _versions(self.program.packages),
        }

    def take(self, image: str, labels: str) -> dict[str, Any]:
        self.program.take(np.load(image), np.load(labels))
        runs = self.time(**WARM_UP)["seconds"]
        return {"seconds": {output: taken[-1] for output, taken in runs.items()}}

    def time(self, calls: int, seconds: float) -> dict[str, Any]:
        runs: list[dict[str, float]] = []
        end = time.perf_counter() + seconds
        while not runs or (len(runs) < calls and time.perf_counter() < end):
            runs.append(self.program.run())
        return {"seconds": {output: [run[output] for run in runs] for output in runs[0]}}


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those that are installed; some go by several names."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    do = request.pop("do")
    if do not in ("load", "take", "time"):
        return {"error": f"do: got {do!r}; accepted are 'load', 'take', 'time'"}
    try:
        answer: dict[str, Any] = getattr(worker, do)(**request)
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines()
        return {"error": f"{type(error).__name__}: {lines[0] if lines else 'without a word'}"}
    return {**answer, "peak_memory_mb": _peak_memory()}


def _peak_memory() -> int | None:
    """Return the peak resident memory of this process in MB, None where it is not known."""
    kilobytes = entries("/proc/self/status").get("VmHWM", "").split()
    return round(int(kilobytes[0]) / 1000) if kilobytes else None


def main() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_OF_PARENT, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print must not come between the answers
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(_answer(worker, request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
