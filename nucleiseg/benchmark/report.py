"""What was measured, as it is printed and as it is kept."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg._native import cpu
from nucleiseg.benchmark.ceilings import Ceilings, multiply_adds
from nucleiseg.model import Model

SCHEMA = 1

NAMES = ("device", "threads", "input", "batch", "output")
"""Entries that together name a row."""


@dataclass(frozen=True)
class KernelRow:
    """One native kernel; see `nucleiseg.benchmark`."""

    name: str
    threads: int
    size: int
    bytes: int
    ms: float
    gb_per_s: float
    of_copy: float


@dataclass(frozen=True)
class Row:
    """One way of segmenting; see `nucleiseg.benchmark`."""

    device: str
    threads: int
    input: str
    input_sha256: str
    batch: int
    output: str
    calls: int
    images: int
    pixels_per_image: float
    variation: float
    steady: bool
    images_per_s: float
    mpixel_per_s: float
    mm2_per_s: float
    latency_ms: dict[str, float]
    split: dict[str, float] | None
    infer_gmac_per_s: float | None
    of_int8_peak: float | None
    peak_memory_mb: float | None


@dataclass
class Report:
    """A run: where and with what, and what was measured so far; see `nucleiseg.benchmark`."""

    time: str
    machine: dict[str, str]
    versions: dict[str, str]
    model: dict[str, Any]
    settings: dict[str, Any]
    schema: int = SCHEMA
    ceilings: list[Ceilings] = field(default_factory=list)
    kernels: list[KernelRow] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def begin(cls, model: Model, settings: dict[str, Any]) -> Report:
        """Say where and with what, before anything is measured."""
        return cls(
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            machine=_machine(),
            versions=_versions(),
            model={**model.identity, "multiply_adds_per_pixel": multiply_adds(model)},
            settings=settings,
        )

    @property
    def title(self) -> str:
        """Versions, machine and model in one line."""
        versions = self.versions
        return (
            f"nucleiseg {versions['nucleiseg']}, Python {versions['python']}, "
            f"NumPy {versions['numpy']}; "
            f"{self.machine['cpu']}; kernels {self.machine['kernels']}; model "
            f"{self.model['name']} {self.model['version']}, SHA-256 {self.model['sha256'][:12]}"
        )

    def as_json(self) -> dict[str, Any]:
        """Give the object that the JSON file holds."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write the JSON file, whole or not at all."""
        from nucleiseg import images

        images.write(path, json.dumps(self.as_json(), indent=2).encode() + b"\n")


def check_writable(path: Path) -> None:
    """Find out before the work whether a file can be written.

    Raises
    ------
    ValueError
        It is a folder, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise ValueError(f"json: {path} is a folder; accepted is the name of a file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(
            f"json: {path.parent} is no folder that can be written to; accepted is a file's name "
            "in one that can"
        )


def _machine() -> dict[str, str]:
    from nucleiseg.doctor import examine

    subjects = dict(line.split(": ", 1) for line in examine())
    return {
        "cpu": subjects["CPU"],
        "gpu": subjects["GPU"],
        "kernels": cpu.features()["level"],
        "system": f"{platform.system()} {platform.machine()}",
    }


def _versions() -> dict[str, str]:
    from nucleiseg import __version__

    return {
        "nucleiseg": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
