"""What came of regions, in files that are whole or found not to be.

A file is the SHA-256 of its content and the content, arrays deflated. It is written under another
name and renamed, so a run that is killed leaves no half of one under its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from nucleiseg import images
from nucleiseg.slides.columns import Columns
from nucleiseg.slides.decode import OpenPixels
from nucleiseg.slides.task import Found

FOLDER = ".work"
"""Below the folder of a slide's outputs; it is gone when the run is complete."""

_SETTINGS = "settings.json"
_DIGEST = hashlib.sha256().digest_size
_MOST_BYTES = 1 << 31
"""That a region's arrays may take: 40 bytes per pixel of the largest region are 0.7 GB."""

_NUCLEI = ("run_offsets", "runs", "point_offsets", "points")
_OPEN = ("places", "objects", "maps", "pixels", "boxes")


class Store:
    """The folder in which a run keeps what came of its regions.

    Parameters
    ----------
    folder : Path
    settings : dict
        All that regions depend on; of other settings nothing is used.
    resume : bool
        Whether to use what an earlier run left.

    Raises
    ------
    ValueError
        What is there is of other settings; the message names them.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], resume: bool) -> None:
        self.folder = folder
        kept = folder / _SETTINGS
        settings = json.loads(json.dumps(settings))
        left = _left(kept) if resume else None
        if left is not None:
            _check(left, settings, folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob(".*.part"):
            part.unlink()
        images.write(kept, json.dumps(settings, indent=1, sort_keys=True).encode())

    def has(self, index: int) -> bool:
        """Return whether a region's file is there and whole."""
        try:
            self.read(index)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return False
        return True

    def write(self, index: int, found: Found) -> None:
        """Write what came of a region."""
        arrays = {f"value {name}": column for name, column in found.nuclei.values.items()}
        arrays |= {name: getattr(found.nuclei, name) for name in _NUCLEI}
        arrays |= {name: getattr(found.open_pixels, name) for name in _OPEN}
        arrays["blurs"] = found.blurs
        arrays["notes"] = np.frombuffer(json.dumps(found.notes).encode(), np.uint8)
        memory = io.BytesIO()
        np.savez(memory, **arrays)  # type: ignore[arg-type]
        content = zlib.compress(memory.getbuffer(), 1)
        images.write(self._path(index), hashlib.sha256(content).digest() + content)

    def read(self, index: int) -> Found:
        """Return what came of a region.

        Raises
        ------
        OSError
            There is no such file.
        ValueError, KeyError, TypeError, EOFError, BadZipFile
            It is damaged.
        """
        with np.load(io.BytesIO(_inflated(self._content(index)))) as arrays:
            found = dict(arrays)
        notes = json.loads(found.pop("notes").tobytes())
        blurs = found.pop("blurs")
        open_pixels = OpenPixels(*(found.pop(name) for name in _OPEN))
        run_offsets, runs, point_offsets, points = (found.pop(name) for name in _NUCLEI)
        values = {name.removeprefix("value "): column for name, column in found.items()}
        nuclei = Columns(run_offsets, runs, point_offsets, points, values)
        return Found(nuclei, open_pixels, blurs, notes)

    def clear(self) -> None:
        """Delete the folder, once the run is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"region-{index:06}.bin"

    def _content(self, index: int) -> bytes:
        data = self._path(index).read_bytes()
        if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            raise ValueError(f"{self._path(index)}: is damaged")
        return data[_DIGEST:]


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not stream.eof:
        raise ValueError(f"it holds more than {_MOST_BYTES:,} bytes, or less than it should")
    return found


def _left(kept: Path) -> dict[str, Any] | None:
    """Return the settings of an earlier run; None where there are none, or they are damaged."""
    try:
        found = json.loads(kept.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _check(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    others = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if others:
        texts = ", ".join(
            f"{name} {found.get(name)!r}, now {wanted.get(name)!r}" for name in others
        )
        raise ValueError(
            f"resume: got other settings than those of the run in {folder.parent}: {texts}; "
            "accepted are the same ones, or no --resume to begin again"
        )
