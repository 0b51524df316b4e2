"""A slide from its file to the files that are made of it."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg import images
from nucleiseg.model import Model
from nucleiseg.parameters import Decoding
from nucleiseg.slides import executors, manifest, tissue
from nucleiseg.slides.emit import Emitter
from nucleiseg.slides.executors import Executor
from nucleiseg.slides.grid import Region
from nucleiseg.slides.join import Joiner
from nucleiseg.slides.manifest import DONE, FAILED, MANIFEST, SKIPPED, TISSUE
from nucleiseg.slides.nuclei import Output
from nucleiseg.slides.outputs import make
from nucleiseg.slides.plan import Options, Plan, plan
from nucleiseg.slides.store import FOLDER, Store
from nucleiseg.slides.task import Failed, Outcome

FORMATS = "zarr,geojson,csv"

Progress = Callable[[int, int], None]
"""Takes how many regions are done and how many there are."""


@dataclass
class Summary:
    """What came of a slide.

    Attributes
    ----------
    folder : Path
        Of the outputs.
    nuclei : int
    failures : list of str
        A line for each region that failed.
    doubt : str or None
        Why the slide's limits may not be right.
    seconds : dict of str to float
        For reading, network, decoding and writing, of all threads and processes together, and
        "wall" from begin to end.
    is_new : bool
        False where an earlier run had done it all.
    """

    folder: Path
    nuclei: int = 0
    failures: list[str] = field(default_factory=list)
    doubt: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    is_new: bool = True


def segment_planned(
    planned: Plan,
    folder: Path,
    outputs: Sequence[Output],
    executor: Executor,
    resume: bool,
    progress: Progress,
) -> Summary:
    """Compute a slide's regions and write its files.

    Parameters
    ----------
    planned : Plan
    folder : Path
        For the files; it is made.
    outputs : sequence of Output
    executor : Executor
    resume : bool
        Whether to go on with what an earlier run left.
    progress : callable

    Raises
    ------
    ValueError
        The earlier run had other settings, or another one is at work in the folder.
    OSError
        A file cannot be written; FileExistsError where it is one that no run made.
    """
    begin = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    if planned.settings.threads is None:
        planned = replace(planned, settings=replace(planned.settings, threads=executor.threads))
    regions_of = {
        **planned.identity,
        "source": [manifest.checksum(file) for file in planned.files],
        "arithmetic": executor.arithmetic(planned.settings),
    }
    identity = {**regions_of, "outputs": manifest.described(outputs)}
    limits = planned.settings.limits
    summary = Summary(folder, doubt=limits.doubt if limits.low else None)
    with manifest.claimed(folder):
        manifest.check_folder(folder, identity, str(planned.info.settings["tissue"]))
        before = manifest.completed(folder, identity) if resume else None
        if before is not None:
            summary.nuclei, summary.is_new = before, False
            # A run that was killed at its end left it.
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
            return summary
        store = Store(folder / FOLDER, regions_of, resume)
        (folder / MANIFEST).unlink(missing_ok=True)
        run = _Run(planned, store, outputs, executor, summary, progress)
        run.go(folder)
        manifest.write(
            planned,
            folder,
            identity,
            states=run.states,
            notes=run.notes,
            nuclei=summary.nuclei,
            largest=run.joiner.largest,
        )
        if not summary.failures:
            store.clear()
    summary.seconds["wall"] = time.perf_counter() - begin
    return summary


@dataclass
class _Run:
    """One pass over a slide: regions as they come, rows of them in order."""

    planned: Plan
    store: Store
    outputs: Sequence[Output]
    executor: Executor
    summary: Summary
    progress: Progress
    states: dict[int, tuple[str, str]] = field(default_factory=dict)
    notes: dict[int, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings, area, band = self.planned.settings, self.planned.area, self.planned.bands[0]
        model = settings.decoding.model(Model.load(Path(settings.model)))
        side = band[0].width if len(band) > 1 else max(area.shape)
        self.joiner = Joiner(area.shape, side, model)
        self.emitter = Emitter(self.planned.info, self.outputs, settings.decoding, area.rectangle)

    def go(self, folder: Path) -> None:
        info, mask = self.planned.info, self.planned.area.mask
        if mask is not None:
            picture, outline = (folder / name for name in TISSUE)
            images.write_png(picture, mask.view(np.uint8) * 255)
            images.write(outline, tissue.geojson(mask, (info.height, info.width)))
        try:
            for output in self.outputs:
                output.begin(info, folder)
            bands = iter(self.planned.bands)
            band = next(bands, None)
            for _ in self._computed():
                while band and all(region.index in self.states for region in band):
                    self._take(band)
                    band = next(bands, None)
            self.emitter.finish()
            with self._timed("writing"), ThreadPoolExecutor(len(self.outputs) or 1) as pool:
                list(pool.map(lambda output: output.finish(), self.outputs))
        except BaseException:
            for output in self.outputs:
                with contextlib.suppress(Exception):
                    output.discard()  # type: ignore[attr-defined]
            raise
        self.summary.nuclei = self.emitter.count

    def _computed(self) -> Iterator[None]:
        """Compute what is missing; return whenever more is known of some region."""
        area, missing = self.planned.area, []
        for region in itertools.chain(*self.planned.bands):
            if area.part(region) is None:
                self.states[region.index] = SKIPPED, "no tissue"
            elif self.store.has(region.index):
                self.states[region.index] = DONE, ""
            else:
                missing.append(region)
        done = sum(state == DONE for state, _ in self.states.values())
        total = done + len(missing)
        self.progress(done, total)
        yield
        tasks = ((region, part) for region in missing if (part := area.part(region)))
        for region, found in self.executor.run(self.planned.settings, tasks):
            self._note(region, found)
            done += 1
            self.progress(done, total)
            yield

    def _note(self, region: Region, found: Outcome) -> None:
        for stage, took in found.seconds.items():
            self._add_seconds(stage, took)
        if isinstance(found, Failed):
            self.states[region.index] = FAILED, found.why
            line = f"region {region.index} at {region.column}, {region.row}: {found.why}"
            self.summary.failures.append(line)
            return
        with self._timed("writing"):
            self.store.write(region.index, found)
        self.states[region.index] = DONE, ""

    def _take(self, band: list[Region]) -> None:
        """Join a row of regions to those above, and hand on what is complete."""
        found = [
            (region, self.store.read(region.index))
            for region in band
            if self.states[region.index][0] == DONE
        ]
        for region, one in found:
            self.emitter.note_blurs(region, one.blurs)
            if one.notes:
                self.notes[region.index] = one.notes
        with self._timed("decoding"):
            open_pixels = [(region, one.open_pixels) for region, one in found]
            joined, row = self.joiner.add(band, open_pixels)
        with self._timed("writing"):
            self.emitter.add([*(one.nuclei for _, one in found), *joined], row)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._add_seconds(stage, time.perf_counter() - begin)

    def _add_seconds(self, stage: str, took: float) -> None:
        self.summary.seconds[stage] = self.summary.seconds.get(stage, 0.0) + took


def segment_slide(
    path: str | Path,
    output: str | Path,
    *,
    formats: str = FORMATS,
    measurements: str = "few",
    compression: str = "none",
    resume: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Summary:
    """Find the nuclei of a whole slide and write them to files.

    Parameters
    ----------
    path : str or Path
        See `nucleiseg.slides.open`.
    output : str or Path
        The files are written to a folder below it that is named after the slide.
    formats : str
        Names of `nucleiseg.slides.outputs.OUTPUTS`, separated by commas.
    measurements : {"few", "all", "none"}
        Of each nucleus, in GeoJSON.
    compression : {"none", "gz", "zip"}
        Of GeoJSON.
    resume : bool
        Go on with what an earlier run with the same settings left.
    workers : int, optional
        Processes on this machine, through dask.distributed.
    scheduler : str, optional
        Address of a dask cluster, whose workers see the slide under the same path.
    progress : callable, optional
        Is given how many regions are done and how many there are.
    **options
        Fields of `nucleiseg.slides.plan.Options`: ``model``, ``device`` and ``threads`` as
        `nucleiseg.Segmenter` takes them; ``mpp``, micrometres per pixel of level 0 instead of what
        the file says; ``channel``, from 0; ``stain`` of the whole slide, as
        `nucleiseg.Segmenter.segment` takes it; ``tissue``, "auto", "none", or the path of a picture
        or of GeoJSON; ``region``, (x, y, width, height) in level 0; ``memory`` in bytes, which
        decides how large regions are, or ``side``, their side. For its field ``decoding``:
        ``nucleus_threshold``, ``separation``, ``min_area``, ``min_diameter``, ``max_diameter`` and
        ``exclude_border`` as `nucleiseg.Segmenter.segment` takes them, in pixels of level 0, where
        the border is that of the slide or of the region.

    Returns
    -------
    Summary

    Raises
    ------
    FileNotFoundError
        There is no such slide.
    ValueError
        The slide cannot be used, or an argument is none of those above.
    ModuleNotFoundError
        A package that a format or a cluster needs is not installed.
    OSError
        A file cannot be written.
    """
    path = Path(path)
    made = make(formats, measurements, compression)
    decoding = {
        each.name: options.pop(each.name) for each in fields(Decoding) if each.name in options
    }
    planned = plan(path, Options(**options, decoding=Decoding(**decoding)))
    with executors.chosen(workers, scheduler) as executor:
        shown = progress or (lambda done, total: None)
        folder = Path(output) / path.stem
        return segment_planned(planned, folder, made, executor, resume, shown)
