"""One region of a slide, from the file to its nuclei: what a thread or a worker runs."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import stains
from nucleiseg._native import cpu
from nucleiseg.limits import Limits
from nucleiseg.model import Model
from nucleiseg.parameters import Decoding
from nucleiseg.slides import focus, readers, scaled
from nucleiseg.slides.area import Part
from nucleiseg.slides.columns import Columns
from nucleiseg.slides.decode import OpenPixels, decode
from nucleiseg.slides.grid import Region
from nucleiseg.slides.network import Network
from nucleiseg.slides.slide import Slide


@dataclass(frozen=True)
class Settings:
    """What the tasks of a slide share.

    Attributes
    ----------
    path : str
        Of the slide, as every worker sees it.
    channel : int or None
    size : Size
    limits : Limits
    model, device : str
        The model's file, and where it runs.
    checksum : str
        SHA-256 of the model.
    threads : int or None
    tile : int
    decoding : Decoding
    stain : str
        "he", "dab" or "hematoxylin": how `nucleiseg.stains.recoloured` shows it to the network.
    """

    path: str
    channel: int | None
    size: scaled.Size
    limits: Limits
    model: str
    checksum: str
    device: str
    threads: int | None
    tile: int
    decoding: Decoding = field(default_factory=Decoding)
    stain: str = "he"


@dataclass(frozen=True)
class Found:
    """What came of a region.

    Attributes
    ----------
    nuclei : Columns
        Of closed objects.
    open_pixels : OpenPixels
    blurs : ndarray
        Of the region's cells; see `nucleiseg.slides.focus`.
    notes : list of str
        What was done for lack of memory.
    seconds : dict of str to float
        For reading, network and decoding.
    """

    nuclei: Columns
    open_pixels: OpenPixels
    blurs: NDArray[np.float32]
    notes: list[str]
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """Why nothing came of a region, and the seconds that it took all the same."""

    why: str
    seconds: dict[str, float] = field(default_factory=dict)


Outcome = Found | Failed


_loading = threading.Lock()


@lru_cache(2)
def _slide(path: str, channel: int | None) -> Slide:
    return readers.open(path, channel=channel)


@lru_cache(1)
def _network(settings: Settings) -> Network:
    network = Network(Path(settings.model), settings.device, settings.threads, settings.tile)
    if network.model.checksum != settings.checksum:
        raise ValueError(
            f"model: {settings.model} is another file here than where the run was begun"
        )
    return network


def network_of(settings: Settings) -> Network:
    """Return the network, loaded once in a process."""
    with _loading:
        return _network(settings)


def arithmetic(settings: Settings) -> str:
    """Return what decides the bits of the network's answer here."""
    return network_of(settings).arithmetic


def forget() -> None:
    """Close what this process keeps open between tasks."""
    with _loading:
        _slide.cache_clear()
        _network.cache_clear()


def compute(settings: Settings, region: Region, part: Part) -> Outcome:
    """Return what came of a region; what is damaged fails it, and nothing else.

    Parameters
    ----------
    settings : Settings
    region : Region
    part : Part
        Which of its pixels are looked at.
    """
    network = network_of(settings)
    clock = _Clock()
    try:
        with _loading:
            slide = _slide(settings.path, settings.channel)
        inside = part.pixels()
        top, left, bottom, right = seen = _seen(inside, region, network.model, settings.size.shape)
        values = scaled.read(
            slide, settings.size, top, left, bottom - top, right - left, network.threads
        )
        clock.note("reading")
        shown = stains.recoloured(values, settings.stain)
        whole, notes = _maps(settings.limits, network, shown)
        pixels, maps = (_cut(each, seen, region) for each in (values, whole))
        del values, shown, whole  # before decoding takes memory
        clock.note("network")
        if not inside.all():
            maps *= inside[..., None]
        model = settings.decoding.model(network.model)
        is_nucleus = maps[..., 0] >= model.nucleus_threshold
        blurs = focus.blurs(pixels, is_nucleus, inside)
        nuclei, open_pixels = decode(
            maps, pixels, region, settings.size.shape, model, network.threads
        )
        clock.note("decoding")
        return Found(nuclei, open_pixels, blurs, notes, clock.seconds)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        return Failed(words, clock.seconds)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now


def _seen(
    inside: NDArray[np.bool_], region: Region, model: Model, shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return what the network sees: what is looked at and a halo, in whole strides."""
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    begins = region.row + int(rows[0]), region.column + int(columns[0])
    ends = region.row + int(rows[-1]) + 1, region.column + int(columns[-1]) + 1
    first = [max(0, (one - model.halo) // model.stride * model.stride) for one in begins]
    last = [
        min(length, -(-(one + model.halo) // model.stride) * model.stride)
        for one, length in zip(ends, shape, strict=True)
    ]
    return first[0], first[1], last[0], last[1]


def _maps(
    limits: Limits, network: Network, values: NDArray[Any]
) -> tuple[NDArray[np.uint8], list[str]]:
    if limits.is_blank:
        return np.zeros((*values.shape[:2], 2), np.uint8), []
    ends = limits.low, limits.high, limits.ceiling
    return network.maps(cpu.normalize(values, *ends, threads=network.threads))


def _cut(values: NDArray[Any], seen: tuple[int, int, int, int], region: Region) -> NDArray[Any]:
    """Return a region's part of values of what the network sees; zeros where it sees nothing."""
    top, left = region.row - seen[0], region.column - seen[1]
    part = values[max(0, top) : top + region.height, max(0, left) : left + region.width]
    found = np.zeros((region.height, region.width, *values.shape[2:]), values.dtype)
    found[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]] = part
    return found
