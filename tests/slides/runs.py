"""What tests of whole runs share: a run with every format, its labels, and digests of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from nucleiseg.slides.manifest import MANIFEST
from nucleiseg.slides.outputs import OUTPUTS
from nucleiseg.slides.run import segment_slide

FORMATS = ",".join(OUTPUTS)


def run(path: Path, folder: Path, **options: Any) -> Path:
    """Segment a slide on the CPU; return the folder of its files."""
    return segment_slide(path, folder, formats=FORMATS, device="cpu", **options).folder


def labels_of(folder: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(folder / "labels.ome.zarr/labels/nuclei/0", mode="r")[:])


def digests(folder: Path, manifest: bool = True) -> dict[str, str]:
    """SHA-256 of each file, by its name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (manifest or path.name != MANIFEST)
    }
