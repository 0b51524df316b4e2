"""How fast nucleiseg is on this machine: ``nucleiseg benchmark``.

- Images are in memory before the clock starts: an example image and its mirror images
  (`nucleiseg.data`), or those of a folder. They are segmented at ``scale=1``, or as ``scale`` says.
- *Batch* is the number of images given to one `Segmenter.map`; a batch of 1 is one
  `Segmenter.segment`. Latency is of the whole call.
- After a warm-up, calls are repeated in rounds until the coefficient of variation of the rounds'
  mean times is under 2.5 % (`STEADY`), or a time limit is reached: then the row is not steady, and
  the table marks it.
- The split is of other calls, of one image each, by the counters of `Segmenter.times`.

The JSON file is an object:

| entry | what it holds |
|---|---|
| ``schema`` | 2 |
| ``time`` | UTC, ISO 8601 |
| ``machine`` | ``cpu`` (name, usable threads, instructions), ``gpu``, ``kernels`` (the level of instructions in use), ``system`` |
| ``versions`` | of ``nucleiseg``, ``python``, ``numpy`` |
| ``model`` | ``name``, ``version``, ``sha256`` |
| ``settings`` | ``images`` (the example, or the folder), ``scale``, ``seconds`` (limit of a row) |
| ``rows`` | see below |

and each row:

| entry | what it holds |
|---|---|
| ``device``, ``threads``, ``input``, ``batch``, ``output`` | what was run; together they name the row |
| ``input_sha256`` | of shapes, types and pixels of the images |
| ``calls``, ``images`` | that were timed |
| ``pixels_per_image`` | their mean |
| ``variation``, ``steady`` | the coefficient of variation, and whether it is under 0.025 |
| ``images_per_s``, ``mpixel_per_s`` | throughput |
| ``latency_ms`` | ``p50``, ``p90``, ``p99``, ``max`` of a call |
| ``split`` | shares of a call of one image: ``prepare`` (limits, normalise, tiles), ``infer``, ``assemble``, ``decode``, ``other``; they add up to 1. null on a GPU, where ``nucleiseg doctor --gpu`` times the steps |
| ``infer_mpixel_per_s`` | of the network within those calls, halos included; null where unknown |
"""  # noqa: E501 (tables)

from __future__ import annotations

import hashlib
import itertools
import json as jsons
import math
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray

from nucleiseg import data, resizing
from nucleiseg._native import cpu
from nucleiseg.command_options import ModelOption
from nucleiseg.console import INTERRUPTED, bar, cannot_start, number_or_text, say
from nucleiseg.model import DEFAULT
from nucleiseg.resizing import Scale
from nucleiseg.segmenter import IN_FLIGHT, Segmenter

if TYPE_CHECKING:
    from rich.console import Console

Output = Literal["mask", "labels"]
OUTPUTS: tuple[Output, ...] = ("mask", "labels")

STEADY = 0.025
"""Coefficient of variation below which a measurement is called steady."""

ROUNDS, FEWEST_ROUNDS = 10, 3
"""Fewest rounds of a steady row, and of one that ran out of time."""

PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}

FEWEST_PASSES = 3
"""Passes over the images from which a split is computed, at least."""

Images = Sequence[NDArray[Any]]
Call = Callable[[], object]
Row = dict[str, Any]


def benchmark(
    size: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Pixels per side; may be repeated.", show_default="512, 1024 and 2048"
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Images of one Segmenter.map; likewise.", show_default="1 and 8"),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|gpu", help="Where to run.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="Processor threads; all by default.")] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of images to take instead.")
    ] = None,
    scale: Annotated[
        str, typer.Option(metavar="auto|NUMBER", help="As of nucleiseg segment.")
    ] = "1",
    seconds: Annotated[
        float | None, typer.Option(help="Longest time for a row.", show_default="10")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Size 512, batches of 1 and 4, half a second a row.")
    ] = False,
    model: ModelOption = DEFAULT,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the results there.")
    ] = None,
) -> None:
    """Measure latency, throughput, and how a call divides into its steps.

    Every row is warmed up and repeated until its coefficient of variation is under 2.5 %, or is
    marked as not steady. Nothing else should run meanwhile.
    """
    sizes = size or ([512] if quick else [512, 1024, 2048])
    batches = batch or ([1, 4] if quick else [1, 8])
    limit = seconds if seconds is not None else 0.5 if quick else 10.0
    with cannot_start():
        if json is not None and (json.is_dir() or not os.access(json.parent, os.W_OK | os.X_OK)):
            raise ValueError(f"json: cannot write {json}; accepted is a file in a writable folder")
        segmenter = Segmenter(model, device=device, threads=threads)
        report, steps = prepared(segmenter, sizes, batches, images, number_or_text(scale), limit)
        is_whole = _carry_out(report, steps)
    _show(report["rows"])
    if not is_whole:
        raise typer.Exit(INTERRUPTED)
    if json is not None:
        from nucleiseg.images import write

        with cannot_start("json: "):
            write(json, jsons.dumps(report, indent=2).encode() + b"\n")


def prepared(
    segmenter: Segmenter,
    sizes: Sequence[int],
    batches: Sequence[int],
    folder: Path | None,
    scale: Scale,
    limit: float,
) -> tuple[dict[str, Any], list[Call]]:
    """Return what the JSON file holds, without rows yet, and the steps, each of which adds one.

    Parameters
    ----------
    segmenter : Segmenter
    sizes, batches, folder, scale, limit
        As the options of ``nucleiseg benchmark``.

    Raises
    ------
    ValueError, OSError
        Whatever cannot be used, before anything is measured.
    """
    if not 0 < limit < float("inf"):
        raise ValueError(f"seconds: got {limit}; accepted are numbers above 0")
    resizing.requested(scale, None, None, segmenter.model)
    if folder is None:
        inputs = {f"{size}x{size}": partial(_example, size) for size in sizes}
    else:
        found = _read(folder, segmenter, scale)
        name = f"{len(found)} image{'s' if len(found) > 1 else ''}"
        inputs = {name: partial(list, found)}
    settings = {"images": str(folder or "stained"), "scale": scale, "seconds": limit}
    report = {**_machine(segmenter), "settings": settings, "rows": []}

    def step(name: str, batch: int, output: Output) -> None:
        row = _row(segmenter, inputs[name](), batch, output, scale, limit)
        report["rows"].append({"input": name} | row)

    combinations = itertools.product(inputs, batches, OUTPUTS)
    return report, [partial(step, *one) for one in combinations]


def _row(
    segmenter: Segmenter, images: Images, batch: int, output: Output, scale: Scale, limit: float
) -> Row:
    calls = make_calls(segmenter, images, batch, output, scale)
    seconds, variation = repeat(calls, limit)
    singles = make_calls(segmenter, images, 1, output, scale)
    sizes = [math.prod(image.shape[:2]) for image in images]
    pixels = float(np.mean([sizes[n % len(sizes)] for n in range(batch * len(calls))]))
    speed = batch / float(seconds.mean())
    return {
        "device": segmenter.backend_name,
        "threads": segmenter.threads,
        "input_sha256": _digest(images),
        "batch": batch,
        "output": output,
        "calls": len(seconds),
        "images": batch * len(seconds),
        "pixels_per_image": pixels,
        "variation": variation,
        "steady": variation < STEADY,
        "images_per_s": speed,
        "mpixel_per_s": speed * pixels / 1e6,
        "latency_ms": {
            part: float(1e3 * np.percentile(seconds, percent))
            for part, percent in PERCENTILES.items()
        },
        **split(segmenter, singles, limit / 10),
    }


def make_calls(
    segmenter: Segmenter, images: Images, batch: int, output: Output, scale: Scale
) -> list[Call]:
    """Return one pass: the fewest calls of ``batch`` images each in which all images come."""
    if batch == 1:
        return [partial(segmenter.segment, image, output, scale=scale) for image in images]
    endless = itertools.cycle(images)
    chunks = [list(itertools.islice(endless, batch)) for _ in range(-(-len(images) // batch))]

    def call(chunk: Images) -> None:
        deque(segmenter.map(chunk, output, scale=scale), 0)

    return [partial(call, chunk) for chunk in chunks]


def repeat(
    calls: Sequence[Call], limit: float, clock: Callable[[], float] = time.perf_counter
) -> tuple[NDArray[np.float64], float]:
    """Make all the calls, pass after pass, until they are steady or ``limit`` seconds are over.

    A round is as many whole passes as fill a hundredth of the limit, after a warm-up of a
    twentieth.

    Returns
    -------
    seconds : ndarray, (n,) float64
        Of each call.
    variation : float
        Coefficient of variation of the rounds' mean times.
    """
    _round(calls, limit / 20, clock)
    rounds: list[list[float]] = []
    deadline = clock() + limit
    while True:
        rounds.append(_round(calls, limit / 100, clock))
        means = [np.mean(one) for one in rounds]
        varies = float(np.std(means, ddof=1) / np.mean(means)) if len(means) > 1 else math.inf
        is_late = clock() > deadline and len(rounds) >= FEWEST_ROUNDS
        if is_late or (len(rounds) >= ROUNDS and varies < STEADY):
            return np.concatenate(rounds), varies


def _round(calls: Sequence[Call], length: float, clock: Callable[[], float]) -> list[float]:
    taken: list[float] = []
    end = clock() + length
    while not taken or clock() < end:
        for call in calls:
            begin = clock()
            call()
            taken.append(clock() - begin)
    return taken


def split(segmenter: Segmenter, calls: Sequence[Call], seconds: float) -> Row:
    """Return a row's entries ``split`` and ``infer_mpixel_per_s``, of calls of one image each."""
    before, begin = segmenter.times(), time.perf_counter()
    for passes in itertools.count():
        if passes >= FEWEST_PASSES and time.perf_counter() > begin + seconds:
            break
        for call in calls:
            call()
    whole, after = time.perf_counter() - begin, segmenter.times()
    if before is None or after is None:
        return {"split": None, "infer_mpixel_per_s": None}
    spent = {name: after[name] - before[name] for name in after}
    pixels = spent.pop("pixels")
    shares = {part: one / whole for part, one in spent.items()}
    shares["other"] = 1 - sum(shares.values())
    speed = pixels / spent["infer"] / 1e6 if pixels else None
    return {"split": shares, "infer_mpixel_per_s": speed}


def _example(size: int) -> Images:
    return [data.example("stained", (size, size))]


def _read(folder: Path, segmenter: Segmenter, scale: Scale) -> Images:
    """Read a folder's images; one that cannot be segmented is found out before the work."""
    from nucleiseg import images, walk

    found: list[NDArray[Any]] = []
    for path in walk.find([folder]).images:
        found.append(images.read(path))
        try:
            segmenter.segment(found[-1], scale=scale)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
    return found


def _machine(segmenter: Segmenter) -> dict[str, Any]:
    from nucleiseg import __version__
    from nucleiseg.doctor import examine

    subjects = dict(line.split(": ", 1) for line in examine())
    return {
        "schema": 2,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "cpu": subjects["CPU"],
            "gpu": subjects["GPU"],
            "kernels": cpu.features()["level"],
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {
            "nucleiseg": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "model": dict(segmenter.model.identity),
    }


def _digest(images: Images) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.shape} {image.dtype.str}".encode())
        digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _carry_out(report: dict[str, Any], steps: Sequence[Call]) -> bool:
    """Do all steps, shown on a terminal; return whether the user let them end."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    model = "model {name} {version}, SHA-256 {sha256:.12}".format_map(report["model"])
    kernels = f"{report['machine']['cpu']}; kernels {report['machine']['kernels']}"
    try:
        _console().print(f"{versions}; {kernels}; {model}")
        with bar() as shown:
            for step in shown.track(steps):
                step()
    except KeyboardInterrupt:
        say(f"interrupted after {len(report['rows'])} rows; no file was written")
        return False
    return True


Columns = Mapping[str, Callable[[Row], str]]
LABEL: Columns = {
    "input": lambda row: row["input"],
    "batch": lambda row: str(row["batch"]),
    "output": lambda row: row["output"],
    "on": lambda row: f"{row['device']} {row['threads']}",
}
SPEED: Columns = {
    "images/s": lambda row: f"{row['images_per_s']:.1f}",
    "Mpixel/s": lambda row: f"{row['mpixel_per_s']:.2f}",
    "CV %": lambda row: f"{100 * row['variation']:.1f}{'' if row['steady'] else '*'}",
    "p50 ms": lambda row: f"{row['latency_ms']['p50']:.2f}",
    "p99 ms": lambda row: f"{row['latency_ms']['p99']:.2f}",
}


def _show(rows: Sequence[Row]) -> None:
    """Print throughput and latency, and the split where a device counts its steps."""
    if not rows:
        return
    out = _console()
    _table(out, "Throughput, and latency of a call", {**LABEL, **SPEED}, rows)
    if counted := [row for row in rows if row["split"]]:
        parts = {part: partial(_percent, part) for part in counted[0]["split"]}
        _table(out, "Split of a call of one image, %", {**LABEL, **parts}, counted)
    out.print(
        f"\nBatch: images of one Segmenter.map, up to {IN_FLIGHT} of them at once; 1 is one "
        "segment(). CV: of the mean times of rounds of calls."
    )
    if unsteady := sum(not row["steady"] for row in rows):
        out.print(
            f"* {unsteady} of {len(rows)} rows did not get below a CV of {100 * STEADY:g} % in "
            "their time: something else runs here, or they need more --seconds."
        )


def _percent(part: str, row: Row) -> str:
    return f"{100 * row['split'][part]:.1f}"


def _table(out: Console, title: str, columns: Columns, rows: Sequence[Row]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(columns):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(write(row) for write in columns.values()))
    out.print(f"\n{title}")
    out.print(table)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False)
