"""The proof that a GPU returns the CPU's bytes, and the time of each step there.

``nucleiseg doctor --gpu`` runs it and writes the findings as one JSON file.
"""

from __future__ import annotations

import importlib.util
import itertools
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import __version__, backends, data, tensorrt
from nucleiseg._native import cpu
from nucleiseg.device import available_threads
from nucleiseg.engines import cuda, known_answer, native
from nucleiseg.model import Model
from nucleiseg.segmenter import Segmenter
from nucleiseg.tensorrt_cache import LIBRARIES

Array = NDArray[Any]

SIZES = ((1080, 1920), (2048, 2048))
"""Heights and widths of the images: a camera's frame, and a large one."""

REPEATS = 20
"""How often work stands in the graph that is timed."""

CALLS = 20
"""Calls for the median latency; four times as many frames give the rate."""


def prove(
    model: Model,
    kernels: ModuleType,
    tell: Callable[[str], None],
    sizes: tuple[tuple[int, int], ...] = SIZES,
    repeats: int = REPEATS,
    calls: int = CALLS,
) -> dict[str, Any]:
    """Return what every engine on the current device computes and takes, compared with the CPU.

    Parameters
    ----------
    model : Model
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    tell : callable
        Called with each line for people as soon as it is known.
    sizes : tuple
        Heights and widths of images.
    repeats, calls : int
        See `REPEATS` and `CALLS`.

    Returns
    -------
    dict
        For JSON. ``passed`` is whether the package's own engine returned the CPU's bytes everywhere
        and every graph the bytes of the run without it.
    """
    device = kernels.devices()[kernels.current_device()]
    tell(f"{device['name']}, compute capability {'.'.join(map(str, device['compute_capability']))}")
    images = [data.example("stained", size) for size in sizes]
    engines, found = [], []
    tiles = [_network_answer(model, image) for image in images]
    for name, make in _makers(model, kernels):
        engines.append(_examine_engine(name, make, model, kernels, tiles, repeats))
        tell(_engine_line(engines[-1]))
    for image in images:
        found.append(_examine_image(model, kernels, image, repeats, calls))
        tell(_image_line(found[-1]))
    checks = [one for entry in engines for one in entry["checks"].values()]
    passed = bool(checks) and all([*checks, *(entry["equal"] for entry in found)])
    tell("passed" if passed else "FAILED: the GPU differs from the CPU")
    return {
        "nucleiseg": __version__,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "CUDA": {"build": kernels.runtime_version(), "driver": kernels.driver_version()},
        "GPU": device,
        "model": model.identity,
        "engines": engines,
        "sizes": found,
        "passed": passed,
    }


def _both(segmenter: Segmenter, image: Array) -> tuple[Array, Array]:
    """Return the mask and the labels of an image."""
    found = segmenter.analyze(image, scale=1, maps=False)
    return found.mask, found.labels


def _network_answer(model: Model, image: Array) -> tuple[str, Array, Array]:
    """Return an image's size, its tile, and the CPU's cells of that."""
    picture = cpu.normalize(image, *cpu.limits(image, *model.percentiles)[:3])
    around = [(0, -side % model.stride) for side in image.shape[:2]]
    tile = np.pad(picture, (*around, (0, 0)), mode="reflect")[np.newaxis]
    return _size(image), tile, native.Engine(model, available_threads()).infer(tile)


def _makers(model: Model, kernels: ModuleType) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "own, mma", partial(cuda.Engine, model, kernels)
    for name, title in LIBRARIES.items():
        if importlib.util.find_spec(name):
            yield title, partial(tensorrt.Engine, model, kernels, library=name)


def _examine_engine(
    name: str,
    make: Callable[[], Any],
    model: Model,
    kernels: ModuleType,
    tiles: list[tuple[str, Array, Array]],
    repeats: int,
) -> dict[str, Any]:
    """Compare an engine with the CPU and time it; an error becomes part of the findings."""
    is_own = name.startswith("own")
    checks: dict[str, bool] = {}
    entry: dict[str, Any] = {"name": name, "milliseconds": {}, "checks": checks}
    try:
        begin = time.perf_counter()
        engine = make()
        entry["seconds to start"] = round(time.perf_counter() - begin, 3)
        mean, most = known_answer.difference(model, engine, kernels)
        entry["known answer"] = {"mean": mean, "most": most}
        if is_own:
            checks["known answer"] = most == 0
        device = cuda.device(kernels, engine)
        for size, tile, cells in tiles:
            plain, captured = device.infer(tile), device.infer(tile, by_graph=True)
            took = device.milliseconds(tile, repeats)
            apart = np.abs(plain.astype(int) - cells)
            entry["milliseconds"][size] = round(took, 4)
            entry[size] = {"mean": float(apart.mean()), "most": int(apart.max())}
            checks[f"graph, {size}"] = bool(np.array_equal(plain, captured))
            if is_own:
                checks[f"cells, {size}"] = not apart.any()
    except Exception as error:  # any library's, on any machine
        entry["error"] = " ".join(f"{type(error).__name__}: {error}".split())
        if is_own:
            checks["it runs"] = False
    return entry


def _examine_image(
    model: Model, kernels: ModuleType, image: Array, repeats: int, calls: int
) -> dict[str, Any]:
    """Compare mask and labels of an image with the CPU's; time the steps and the whole."""
    engine = cuda.Engine(model, kernels)
    backend = backends.on_gpu(model, kernels, engine, available_threads())
    segmenter = Segmenter(model, device=backend)
    expected = _both(Segmenter(model, device="cpu"), image)
    # Step by step at first, then captured, then by the graph.
    found = [_both(segmenter, image) for _ in range(4)]
    _, times = backend.pipeline(backend.tile, 1).native.step_milliseconds(image, repeats)
    latency, rate = call_times(segmenter, image, calls)
    return {
        "image": _size(image),
        "nuclei": int(expected[1].max()),
        "equal": all(all(map(np.array_equal, pair, expected)) for pair in found),
        "steps, milliseconds": {name: round(took, 4) for name, took in times.items()},
        "image to labels, milliseconds": round(latency, 3),
        "frames a second": round(rate, 1),
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


def _size(image: Array) -> str:
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


def _image_line(entry: dict[str, Any]) -> str:
    times = ", ".join(f"{name} {took}" for name, took in entry["steps, milliseconds"].items())
    verdict = "are the CPU's" if entry["equal"] else "DIFFER from the CPU's"
    return (
        f"{entry['image']}, {entry['nuclei']} nuclei: mask and labels {verdict}; "
        f"{entry['image to labels, milliseconds']} ms to labels, "
        f"{entry['frames a second']} frames/s; steps, ms: {times}"
    )
