"""The run: every device, number of threads, input, batch and output in turn."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nucleiseg import resizing
from nucleiseg.benchmark import ceilings, pictures, split
from nucleiseg.benchmark.kernels import kernels
from nucleiseg.benchmark.memory import Peak
from nucleiseg.benchmark.report import KernelRow, Report, Row
from nucleiseg.benchmark.timing import QUICK, Pace, best, repeat
from nucleiseg.model import DEFAULT, Model
from nucleiseg.resizing import Scale
from nucleiseg.segmenter import Segmenter

OUTPUTS: tuple[Literal["mask", "labels"], ...] = ("mask", "labels")

MM2_PER_MPIXEL = 0.25
"""At 0.5 um a pixel, the usual one of a scanner at 20 times."""

DISTINCT = 2
"""Pictures that are drawn of each size, so that no call finds its picture in the cache."""

PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}

Images = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes
    ----------
    sizes : tuple of (int, int)
        Rows and columns of the pictures that are drawn.
    kind : {"stained", "fluorescence"}
        Of these pictures.
    folder : Path, optional
        Whose images are taken instead.
    batches : tuple of int
        Images of a call.
    devices : tuple of str
        As `Segmenter` takes them.
    threads : tuple of int or None
    scale : float or "auto"
    seconds : float
        Longest time of a row.
    pace : Pace
    kernel_size : int
        Pixels of the side of the picture that kernels are timed on. The usual one is beyond most
        caches.
    ceiling_seconds : float
        Spent on each ceiling.
    model : str or Path
        As `Segmenter` takes it.
    """

    sizes: tuple[tuple[int, int], ...] = ((512, 512), (1024, 1024), (2048, 2048))
    kind: str = "stained"
    folder: Path | None = None
    batches: tuple[int, ...] = (1, 8)
    devices: tuple[str, ...] = ("auto",)
    threads: tuple[int | None, ...] = (None,)
    scale: Scale = 1.0
    seconds: float = 10.0
    pace: Pace = Pace()  # noqa: RUF009 (it is frozen)
    kernel_size: int = 4096
    ceiling_seconds: float = 1.0
    model: str | Path = DEFAULT

    @classmethod
    def quick(cls) -> Settings:
        """Give those of a rough run of a few seconds."""
        return cls(
            sizes=((512, 512),),
            batches=(1, 4),
            seconds=0.5,
            pace=QUICK,
            kernel_size=512,
            ceiling_seconds=0.2,
        )


class Run:
    """A run that can be stopped between its steps.

    Parameters
    ----------
    settings : Settings

    Attributes
    ----------
    report : Report
        Of what was measured so far.

    Raises
    ------
    ModelError, ValueError, RuntimeError, OSError
        Whatever cannot be used, before anything is measured.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._model = Model.load(settings.model)
        resizing.requested(settings.scale, None, None, self._model)
        if not 0 < settings.seconds < float("inf"):
            raise ValueError(f"seconds: got {settings.seconds}; accepted are numbers above 0")
        pictures.check(settings.kind)
        self._files = _read(settings.folder) if settings.folder else {}
        self._inputs = _inputs(settings, list(self._files.values()))
        for place in self._places():
            segmenter = self.segmenter(*place)
        if settings.folder is not None:
            _check(self._files, segmenter, settings.scale)
        self.report = Report.begin(self._model, self._described())

    def _places(self) -> Iterator[tuple[str, int | None]]:
        return itertools.product(self._settings.devices, self._settings.threads)

    def _described(self) -> dict[str, Any]:
        return {
            "images": str(self._settings.folder or self._settings.kind),
            "scale": self._settings.scale,
            "seconds": self._settings.seconds,
            "quick": self._settings.pace == QUICK,
        }

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Give what is to be done, each with its words; each adds to the report."""
        steps: list[tuple[str, Callable[[], None]]] = []
        for threads in dict.fromkeys(self._threads(wanted) for wanted in self._settings.threads):
            steps.append((f"ceilings, {threads} threads", partial(self._ceilings, threads)))
            steps.append((f"kernels, {threads} threads", partial(self._kernels, threads)))
        for place, name, batch, output in itertools.product(
            self._places(), self._inputs, self._settings.batches, OUTPUTS
        ):
            words = f"{name}, batch {batch}, {output}"
            steps.append((words, partial(self._row, *place, name, batch, output)))
        return steps

    def _threads(self, wanted: int | None) -> int:
        from nucleiseg.backends import available_threads

        return available_threads() if wanted is None else wanted

    def _ceilings(self, threads: int) -> None:
        found = ceilings.measure(threads, self._settings.ceiling_seconds)
        self.report.ceilings.append(found)

    def _kernels(self, threads: int) -> None:
        size = self._settings.kernel_size
        copy = self._ceiling(threads).copy_gb_per_s
        for kernel in kernels(size, threads, self._model):
            seconds = best(kernel.run, self._settings.pace.round)
            speed = kernel.bytes_moved / seconds / 1e9
            self.report.kernels.append(
                KernelRow(
                    kernel.name,
                    threads,
                    size,
                    kernel.bytes_moved,
                    1e3 * seconds,
                    speed,
                    speed / copy,
                )
            )

    def _ceiling(self, threads: int) -> ceilings.Ceilings:
        return next(one for one in self.report.ceilings if one.threads == threads)

    def _row(
        self,
        device: str,
        threads: int | None,
        name: str,
        batch: int,
        output: Literal["mask", "labels"],
    ) -> None:
        images = self._inputs[name]()
        peak = Peak()
        segmenter = self.segmenter(device, threads)
        scale = self._settings.scale
        calls = make_calls(segmenter, images, batch, output, scale)
        times = repeat(calls, self._settings.pace, self._settings.seconds)
        memory = peak.megabytes
        singles = make_calls(segmenter, images, 1, output, scale)
        parts = split.measure(segmenter, singles, self._settings.seconds / 10)
        pixels = _mean_pixels(images, batch * len(calls))
        speed = batch / float(times.seconds.mean())
        engine = self._engine_speed(parts)
        self.report.rows.append(
            Row(
                device=segmenter.backend_name,
                threads=segmenter.threads,
                input=name,
                input_sha256=_digest(images),
                batch=batch,
                output=output,
                calls=len(times.seconds),
                images=batch * len(times.seconds),
                pixels_per_image=pixels,
                variation=times.variation,
                steady=times.is_steady,
                images_per_s=speed,
                mpixel_per_s=speed * pixels / 1e6,
                mm2_per_s=speed * pixels / 1e6 * MM2_PER_MPIXEL,
                latency_ms=_latency(times.seconds),
                split=parts.shares if parts else None,
                infer_gmac_per_s=engine,
                of_int8_peak=self._of_peak(engine, segmenter),
                peak_memory_mb=memory,
            )
        )

    def segmenter(self, device: str, threads: int | None) -> Segmenter:
        """Return a Segmenter of the settings' model."""
        return Segmenter(self._model, device=device, threads=threads)

    def _engine_speed(self, parts: split.Split | None) -> float | None:
        """Give 10^9 multiply-adds a second; None if the network was not seen at work."""
        if parts is None or not parts.pixels:
            return None
        cost = float(self.report.model["multiply_adds_per_pixel"])
        return cost * parts.pixels / parts.parts["infer"] / 1e9

    def _of_peak(self, speed: float | None, segmenter: Segmenter) -> float | None:
        if speed is None or segmenter.backend_name != "cpu":
            return None
        return speed / self._ceiling(segmenter.threads).int8_gmac_per_s


def _inputs(settings: Settings, files: Images) -> dict[str, Callable[[], Images]]:
    """Name the inputs; each gives its images, which are not held in between if they are drawn."""
    if files:
        return {f"{len(files)} image{'s' if len(files) > 1 else ''}": lambda: files}
    return {
        f"{height}x{width}": partial(_drawn, settings.kind, height, width)
        for height, width in settings.sizes
    }


def _read(folder: Path) -> dict[Path, NDArray[Any]]:
    from nucleiseg import images, walk

    return {path: images.read(path) for path in walk.find([folder]).images}


def _check(files: dict[Path, NDArray[Any]], segmenter: Segmenter, scale: Scale) -> None:
    """Find out before the work which file cannot be segmented."""
    for path, image in files.items():
        try:
            segmenter.segment(image, scale=scale)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error


def _digest(images: Images) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.shape} {image.dtype.str}".encode())
        digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _drawn(kind: str, height: int, width: int) -> Images:
    return [pictures.draw(kind, height, width, seed) for seed in range(DISTINCT)]


def make_calls(
    segmenter: Segmenter,
    images: Images,
    batch: int,
    output: Literal["mask", "labels"],
    scale: Scale,
) -> list[Callable[[], object]]:
    """Return one pass: the fewest calls of ``batch`` images each in which all images come."""
    if batch == 1:
        return [partial(segmenter.segment, image, output, scale=scale) for image in images]
    endless = itertools.cycle(images)
    chunks = [list(itertools.islice(endless, batch)) for _ in range(-(-len(images) // batch))]

    def call(chunk: Images) -> None:
        deque(segmenter.map(chunk, output, scale=scale), 0)

    return [partial(call, chunk) for chunk in chunks]


def _mean_pixels(images: Images, count: int) -> float:
    """Give the mean size of so many images, taken in turn."""
    sizes = [math.prod(image.shape[:2]) for image in images]
    return sum(sizes[index % len(sizes)] for index in range(count)) / count


def _latency(seconds: NDArray[np.float64]) -> dict[str, float]:
    return {
        name: float(1e3 * np.percentile(seconds, percent)) for name, percent in PERCENTILES.items()
    }
