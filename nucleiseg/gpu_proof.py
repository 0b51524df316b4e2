"""The proof that a GPU gives the CPU's answers, and what each step takes there.

``nucleiseg doctor --gpu`` runs it and writes what it found as one JSON file.
"""

from __future__ import annotations

import importlib.util
import itertools
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import __version__
from nucleiseg._native import cpu
from nucleiseg.backends import available_threads
from nucleiseg.backends.cuda import CudaBackend
from nucleiseg.benchmark import pictures
from nucleiseg.engines import cuda, known_answer, native, tensorrt, tensorrt_library
from nucleiseg.engines.clock import REPEATS, Clock
from nucleiseg.model import Model
from nucleiseg.segmenter import Segmenter

Array = NDArray[Any]

SIZES = ((1080, 1920), (2048, 2048))
"""Of the images: a camera's frame, and a large one."""

CALLS = 20
"""Calls whose median is given; four times as many frames give the rate."""


def prove(
    model: Model,
    kernels: ModuleType,
    say: Callable[[str], None],
    sizes: tuple[tuple[int, int], ...] = SIZES,
    repeats: int = REPEATS,
    calls: int = CALLS,
) -> dict[str, Any]:
    """Run every engine that there is on the current device, and compare it with the CPU.

    Parameters
    ----------
    model : Model
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    say : callable
        Is given each line for people as it is found.
    sizes : tuple
        Heights and widths of images.
    repeats, calls : int
        See `Clock` and `CALLS`.

    Returns
    -------
    dict
        All that was found, for JSON. ``passed`` is whether the package's own engine gave the CPU's
        bytes everywhere.
    """
    device = kernels.devices()[kernels.current_device()]
    say(f"{device['name']}, compute capability {'.'.join(map(str, device['compute_capability']))}")
    found = {
        "nucleiseg": __version__,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "CUDA": {"build": kernels.runtime_version(), "driver": kernels.driver_version()},
        "GPU": device,
        "model": model.identity,
        "engines": [],
        "sizes": [],
    }
    clock = Clock(kernels, repeats)
    images = [pictures.draw("stained", *size) for size in sizes]
    expected = [_of_the_cpu(model, image) for image in images]
    for name, make in _makers(model, kernels):
        entry = _engine(name, make, model, clock, images, expected)
        found["engines"].append(entry)
        say(_engine_line(entry))
    for image, answers in zip(images, expected, strict=True):
        entry = _size(model, clock, image, answers, calls)
        found["sizes"].append(entry)
        say(_size_line(entry))
    checks = [one for entry in found["engines"] for one in entry.get("checks", {}).values()]
    checks += [entry["equal"] for entry in found["sizes"]]
    found["passed"] = all(checks) and bool(checks)
    say("passed" if found["passed"] else "FAILED: the GPU differs from the CPU")
    return found


def _of_the_cpu(model: Model, image: Array) -> tuple[Array, Array, Array, Array]:
    """Return the tile that an image makes, its cells, and the image's mask and labels."""
    limits = cpu.limits(image, *model.percentiles)
    tile = _tile(model, cpu.normalize(image, *limits[:3]))
    cells = native.Engine(model, available_threads()).infer(tile)
    found = Segmenter(model, device="cpu").analyze(image, scale=1, maps=False)
    return tile, cells, found.mask, found.labels


def _tile(model: Model, picture: Array) -> Array:
    sides = [-(-side // model.stride) * model.stride for side in picture.shape[:2]]
    return cpu.gather(picture, np.zeros((1, 2), np.int64), *sides)


def _makers(model: Model, kernels: ModuleType) -> Iterator[tuple[str, Callable[[], Any]]]:
    for level in kernels.convolution_levels():
        yield f"own, {level}", partial(cuda.Engine, model, kernels, level)
    for name, title in tensorrt_library.NAMES.items():
        if importlib.util.find_spec(name):
            yield title, partial(tensorrt.Engine, model, kernels, library=name)


def _engine(
    name: str,
    make: Callable[[], Any],
    model: Model,
    clock: Clock,
    images: list[Array],
    expected: Sequence[tuple[Array, ...]],
) -> dict[str, Any]:
    """Compare an engine with the CPU, and time it; whatever it fails of is part of the answer."""
    entry: dict[str, Any] = {"name": name, "milliseconds": {}}
    try:
        begin = time.perf_counter()
        engine = make()
        entry["seconds to start"] = round(time.perf_counter() - begin, 3)
        mean, most = known_answer.difference(model, engine, clock.kernels)
        entry["known answer"] = {"mean": mean, "most": most}
        is_own = isinstance(engine, cuda.Engine)
        entry["checks"] = {"known answer": most == 0} if is_own else {}
        for image, (tile, cells, *_) in zip(images, expected, strict=True):
            size = _words(image)
            plain, captured, took = _run(engine, clock, tile)
            apart = np.abs(plain.astype(int) - cells)
            entry["milliseconds"][size] = round(took, 4)
            entry[size] = {"mean": float(apart.mean()), "most": int(apart.max())}
            entry["checks"][f"graph, {size}"] = bool(np.array_equal(plain, captured))
            if is_own:
                entry["checks"][f"cells, {size}"] = not apart.any()
    except Exception as error:  # of another's library, on somebody's machine
        entry["error"] = " ".join(f"{type(error).__name__}: {error}".split())
    if name.startswith("own") and "error" in entry:
        entry["checks"] = {"it runs": False}
    return entry


def _run(engine: Any, clock: Clock, tile: Array) -> tuple[Array, Array, float]:
    """Return an engine's cells, those of a graph, and the milliseconds of the network."""
    work, cells = clock.network(engine, tile)
    work()
    plain = clock.get(cells)
    clock.kernels.fill(cells, 0, stream=clock.stream)
    with clock.stream.capture() as graph:
        work()
    graph.launch(clock.stream)
    return plain, clock.get(cells), clock.milliseconds(work)


def _size(
    model: Model, clock: Clock, image: Array, expected: tuple[Array, ...], calls: int
) -> dict[str, Any]:
    """Compare masks and labels of an image, and time its steps and the whole."""
    engine = cuda.Engine(model, clock.kernels)
    backend = CudaBackend(model, clock.kernels, engine, available_threads())
    segmenter = Segmenter(model, device=backend)
    equal = True
    for _ in range(4):  # step by step, then captured, then by the graph
        pair = segmenter.analyze(image, scale=1, maps=False)
        equal &= all(map(np.array_equal, (pair.mask, pair.labels), expected[2:]))
    works = steps(model, clock, engine, image)
    found = {name: clock.milliseconds(work) for name, work in works.items()}
    took, rate = call_times(segmenter, image, calls)
    return {
        "image": _words(image),
        "nuclei": int(expected[3].max()),
        "equal": bool(equal),
        "steps, milliseconds": {name: round(value, 4) for name, value in found.items()},
        "image to labels, milliseconds": round(took, 3),
        "frames a second": round(rate, 1),
    }


def steps(model: Model, clock: Clock, engine: Any, image: Array) -> dict[str, Callable[[], object]]:
    """Return each step's work on an image that is one tile, from host memory to labels there."""
    kernels, stream = clock.kernels, clock.stream
    height, width = image.shape[:2]
    rows, columns = (-(-side // model.stride) * model.stride for side in (height, width))
    pinned = kernels.PinnedBuffer(image.shape, image.dtype)
    pinned.array[...] = image
    there = clock.put(image)
    search = kernels.Buffer([kernels.limits_workspace()])
    limits = kernels.Buffer([6], np.float64)
    normal = kernels.Buffer((height, width, 3))
    tiles = kernels.Buffer((1, rows, columns, 3))
    cells = kernels.Buffer((1, rows // 2, columns // 2, 8))
    maps, mask = kernels.Buffer((height, width, 2)), kernels.Buffer((height, width), np.bool_)
    labels, count = kernels.Buffer((height, width), np.int32), kernels.Buffer([1], np.int32)
    work = kernels.Buffer([kernels.label_workspace(height, width)])
    answer = kernels.PinnedBuffer(labels.shape, np.int32)
    origins, cores = np.zeros((1, 2), np.int64), np.array([[0, height, 0, width]])
    rule = model.label_rule(1.0, None)
    return {
        "upload": lambda: kernels.copy(there, pinned, stream=stream),
        "limits": lambda: kernels.limits(
            there, *model.percentiles, stream=stream, workspace=search, out=limits
        ),
        "normalize": lambda: kernels.normalize(there, limits=limits, stream=stream, out=normal),
        "gather": lambda: kernels.gather(normal, origins, rows, columns, stream=stream, out=tiles),
        "network": lambda: engine.enqueue(tiles, cells, stream, clock.memory),
        "assemble": lambda: kernels.assemble(cells, origins, cores, maps, stream=stream),
        "mask": lambda: kernels.mask(maps, model.nucleus_threshold, stream=stream, out=mask),
        "label": lambda: kernels.label(
            maps, *rule, stream=stream, workspace=work, out=labels, count=count
        ),
        "download": lambda: kernels.copy(answer, labels, stream=stream),
    }


def call_times(segmenter: Segmenter, image: Array, calls: int) -> tuple[float, float]:
    """Return the median milliseconds of a call for labels, and the frames a second of `map`."""
    times = []
    for _ in range(calls + 4):
        begin = time.perf_counter()
        segmenter.segment(image, "labels", scale=1)
        times.append(time.perf_counter() - begin)
    for _ in segmenter.map([image] * 12, "labels", scale=1):
        pass
    begin = time.perf_counter()
    for _ in segmenter.map(itertools.repeat(image, 4 * calls), "labels", scale=1):
        pass
    return 1e3 * statistics.median(times[4:]), 4 * calls / (time.perf_counter() - begin)


def _words(image: Array) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"


def _engine_line(entry: dict[str, Any]) -> str:
    if "error" in entry:
        return f"network, {entry['name']}: {entry['error']}"
    wrong = [check for check, good in entry["checks"].items() if not good]
    verdict = f"DIFFERS in {', '.join(wrong)}" if wrong else "good"
    times = ", ".join(f"{size}: {took} ms" for size, took in entry["milliseconds"].items())
    answer = entry["known answer"]
    return (
        f"network, {entry['name']}: {verdict}; known answer within {answer['most']} levels, "
        f"{answer['mean']:.3f} in the mean; {times}"
    )


def _size_line(entry: dict[str, Any]) -> str:
    times = ", ".join(f"{name} {took}" for name, took in entry["steps, milliseconds"].items())
    verdict = "are the CPU's" if entry["equal"] else "DIFFER from the CPU's"
    return (
        f"{entry['image']}, {entry['nuclei']} nuclei: mask and labels {verdict}; "
        f"{entry['image to labels, milliseconds']} ms to labels, "
        f"{entry['frames a second']} frames/s; steps, ms: {times}"
    )
