"""The manifest of a slide's run: what was planned, what came of it, and the files that it made."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleiseg import images, journal
from nucleiseg.slides.nuclei import Output
from nucleiseg.slides.plan import Plan
from nucleiseg.slides.store import FOLDER

MANIFEST = "manifest.json"

TISSUE = ("tissue.png", "tissue.geojson")
"""What was looked at, as a picture and as polygons."""

DONE, SKIPPED, FAILED = "done", "skipped", "failed"


def write(
    planned: Plan,
    folder: Path,
    identity: dict[str, Any],
    *,
    states: Mapping[int, tuple[str, str]],
    notes: Mapping[int, list[str]],
    nuclei: int,
    largest: int,
) -> None:
    """Write the manifest.

    Parameters
    ----------
    planned : Plan
    folder : Path
    identity : dict
        All that the files depend on.
    states : mapping of int to tuple of str
        What became of each region, and why.
    notes : mapping of int to list of str
        What was done for lack of memory, where anything was.
    nuclei : int
    largest : int
        Pixels of the largest rectangle that was joined.
    """
    info = planned.info
    down, across = info.height / info.label_height, info.width / info.label_width
    regions = []
    for region in (one for band in planned.bands for one in band):
        state, why = states[region.index]
        place = {
            "index": region.index,
            "x": round(region.column * across),
            "y": round(region.row * down),
            "width": round(region.width * across),
            "height": round(region.height * down),
            "state": state,
        }
        if why:
            place["why"] = why
        if region.index in notes:
            place["notes"] = notes[region.index]
        regions.append(place)
    counts = {
        state: sum(one["state"] == state for one in regions) for state in (DONE, SKIPPED, FAILED)
    }
    content = {
        "complete": not counts[FAILED],
        "nuclei": nuclei,
        "tissue_mm2": round(planned.tissue_um2 / 1e6, 6),
        "regions": {"planned": len(regions), **counts},
        "largest_joined_pixels": largest,
        "run": identity,
        "files": {name: journal.checksum(folder / name) for name in identity["outputs"]},
        "each": regions,
    }
    images.write(folder / MANIFEST, json.dumps(content, indent=1).encode() + b"\n")


def completed(folder: Path, identity: dict[str, Any]) -> int | None:
    """Return how many nuclei a complete run of this identity found, whose files are unchanged.

    Returns
    -------
    int or None
        None where there was no such run, a file is missing or another, or the manifest is damaged.
    """
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
        nuclei, files = found["nuclei"], found["files"]
        same = found["complete"] is True and found["run"] == json.loads(json.dumps(identity))
        whole = same and all(
            files[name] == journal.checksum(folder / name) != "" for name in identity["outputs"]
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return nuclei if whole and type(nuclei) is int and nuclei >= 0 else None


def described(outputs: Sequence[Output]) -> dict[str, dict[str, Any]]:
    """Return what is written: by name, the options that change its content."""
    return {
        str(getattr(one, "name", type(one).__name__)): getattr(one, "options", {})
        for one in outputs
    }


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file, or of all files of a folder; OSError if it cannot be read."""
    found = journal.checksum(file)
    if not found:
        raise OSError(f"{file}: cannot be read")
    return found


def check_folder(folder: Path, identity: dict[str, Any], tissue: str) -> None:
    """Refuse to replace files that no run made.

    Parameters
    ----------
    folder : Path
    identity : dict
    tissue : str
        The file that gives the tissue, if one does.

    Raises
    ------
    FileExistsError
    """
    if Path(tissue).resolve() in {(folder / name).resolve() for name in TISSUE}:
        raise FileExistsError(f"tissue: got {tissue}, which this run replaces; copy it first")
    wanted = [folder / name for name in (*identity["outputs"], *TISSUE)]
    there = [path for path in wanted if path.exists()]
    if there and not any((folder / name).exists() for name in (MANIFEST, FOLDER)):
        raise FileExistsError(
            f"{there[0]}: is there and no run made it; accepted is a folder without it"
        )


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the folder for a run, and remove what one that was killed left half written.

    Raises
    ------
    ValueError
        Another run is at work there. Where the file system has no locks, that is not noticed.
    """
    with contextlib.ExitStack() as held:
        try:
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{folder}: another run is at work there; accepted is another folder, or this one "
                "once that run has ended"
            ) from None
        except (ImportError, OSError):
            pass
        for path in folder.glob(".*.part"):
            if re.fullmatch(images.PART, path.name):
                path.unlink(missing_ok=True)
        yield
