"""The files that a segmented image becomes: one module a format, and the table of them."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nucleiseg.outputs import (
    coco,
    csvs,
    extras,
    geojson,
    labels,
    masks,
    overlays,
    parquets,
    rois,
    tiffs,
)
from nucleiseg.outputs.result import Result, beside

__all__ = ["FORMATS", "Format", "Result", "formats", "prepare", "stems"]


LONGEST = 200
"""Bytes of a stem's name. File systems take 255, of which planes and formats need some:
``_z000000_t000000_nuclei.parquet``."""

_DIGITS = 16


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    plural : str
        What its files are called in a sentence.
    save : callable
        Writes a result, given the stem of the file's path, and returns the path.
    endings : tuple of str
        How its files' names may end.
    maps : bool
        Whether it tells of the network's maps, which the result must then have.
    needs : str
        The package without which it cannot be written, empty where there is none.
    """

    plural: str
    save: Callable[[Path, Result], Path]
    endings: tuple[str, ...]
    maps: bool = False
    needs: str = ""


FORMATS = {
    "mask": Format("masks", masks.save, masks.ENDINGS),
    "labels": Format("labels", labels.save, labels.ENDINGS),
    "overlay": Format("overlays", overlays.save, overlays.ENDINGS),
    "tiff": Format("TIFF labels", tiffs.save, tiffs.ENDINGS),
    "geojson": Format("GeoJSON outlines", geojson.save, geojson.ENDINGS, maps=True),
    "rois": Format("ImageJ ROIs", rois.save, rois.ENDINGS, needs=rois.NEEDS),
    "coco": Format("COCO annotations", coco.save, coco.ENDINGS),
    "csv": Format("CSV tables", csvs.save, csvs.ENDINGS, maps=True),
    "parquet": Format(
        "Parquet tables", parquets.save, parquets.ENDINGS, maps=True, needs=parquets.NEEDS
    ),
}


def formats(names: str) -> list[Format]:
    """Look up formats by their names, separated by commas: ``"mask,labels"``.

    Raises
    ------
    ValueError
        A name is unknown, or there is none.
    ModuleNotFoundError
        A format needs a package that is not installed.
    """
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in chosen:
        if name not in FORMATS:
            raise ValueError(f"unknown format {name!r}; accepted are {', '.join(FORMATS)}")
        if FORMATS[name].needs:
            extras.load(FORMATS[name].needs)
    return [FORMATS[name] for name in chosen]


def prepare(folder: Path) -> None:
    """Create a folder for outputs and make sure that files can be written there.

    Raises
    ------
    OSError
        The path, or one above it, is a file, or the folder is not writable.
    """
    probe = folder / f".{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"{folder}: no files can be written there: {error.strerror}") from error


def stems(images: Sequence[Path], folder: Path, chosen: Iterable[Format]) -> list[Path]:
    """Name the outputs of images: one path each, to which every format adds its own ending.

    Images keep their names and the folders between them and the deepest folder that all of them
    share: ``plate/a/1.png`` and ``plate/b/1.png`` become ``a/1`` and ``b/1``. Where two would share
    a name, they keep their suffixes: ``1.png`` and ``1.jpg``. A name of more than `LONGEST` bytes
    is cut, and ends in a hash of the whole.

    Raises
    ------
    ValueError
        An output would overwrite one of the images.
    """
    absolute = [_absolute(image) for image in images]
    shared_folder = os.path.commonpath([image.parent for image in absolute])
    full_names = [image.relative_to(shared_folder) for image in absolute]
    names = [_without_suffix(name) for name in full_names]
    while twice := {name for name, count in Counter(names).items() if count > 1}:
        names = [
            full if name in twice else name for name, full in zip(names, full_names, strict=True)
        ]
    stems = [folder / _short_enough(name) for name in names]
    _check_inputs_survive(images, stems, chosen)
    return stems


def _absolute(path: Path) -> Path:
    """Make a path absolute and keep its links, except where ``..`` leads out of one."""
    if ".." in path.parts:
        return Path(os.path.realpath(path.parent), path.name)
    return Path(os.path.abspath(path))  # noqa: PTH100 (keeps links)


def _without_suffix(path: Path) -> Path:
    stem = path.name.removesuffix(path.suffix)
    # Of "..png" dots alone would be left, which name folders.
    return path.with_name(stem) if stem.strip(".") else path


def _short_enough(path: Path) -> Path:
    name = os.fsencode(path.name)
    if len(name) <= LONGEST:
        return path
    digest = hashlib.sha256(name).hexdigest()[:_DIGITS]
    # A character that is cut in the middle is left out.
    begin = name[: LONGEST - 1 - _DIGITS].decode("utf-8", "ignore")
    return path.with_name(f"{begin}~{digest}")


def _check_inputs_survive(
    images: Sequence[Path], stems: Sequence[Path], chosen: Iterable[Format]
) -> None:
    inputs = {os.path.realpath(image) for image in images}
    endings = [ending for format in chosen for ending in format.endings]
    for stem in stems:
        for ending in endings:
            output = beside(stem, ending)
            if os.path.realpath(output) in inputs:
                raise ValueError(f"{output} is one of the images and would be overwritten")
