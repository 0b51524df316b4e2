"""The files that a segmented image becomes: one module for each format, and the table of them."""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from nucleiseg import images
from nucleiseg.names import printable
from nucleiseg.outputs import combined, extras, folders, labels, tiffs
from nucleiseg.outputs.segmented import Segmented

__all__ = ["FORMATS", "Format", "beside", "formats", "prepare", "stems"]


LONGEST = 200
"""Bytes of a stem's name. File systems take 255, of which planes and formats need some:
``_z000000_t000000_nuclei.parquet``."""

_DIGITS = 16


class Combined(NamedTuple):
    """The file for all images of a run in the folder for outputs, and what writes it of theirs."""

    name: str
    write: Callable[[combined.Parts, BinaryIO], None]


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    plural : str
        What its files are called in a sentence.
    about : str
        What the help of the command says of it.
    ending : str
        How its files' names end.
    write : callable
        Writes a result to an open file, or to the path of a new folder.
    maps : bool
        Whether it contains something of the network's maps, which the result must then have.
    needs : str
        The package without which it cannot be written, empty where there is none.
    beyond : Format, optional
        What takes its place for more nuclei than `labels.MOST`.
    folder : bool
        Whether it is a folder.
    combined : Combined, optional
        What a run has of it for all images.
    """

    plural: str
    about: str
    ending: str
    write: Callable[[Segmented, Any], None]
    maps: bool = False
    needs: str = ""
    beyond: Format | None = None
    folder: bool = False
    combined: Combined | None = None

    @property
    def endings(self) -> tuple[str, ...]:
        """How its files' names may end."""
        return (self.ending, *(self.beyond.endings if self.beyond else ()))

    def path(self, stem: Path, result: Segmented) -> Path:
        """Return the path of a result's file or folder, which begins with ``stem``."""
        return beside(stem, self._fitting(result).ending)

    def save(self, stem: Path, result: Segmented) -> Path:
        """Write a result's file or folder, whole or not at all, and return its path.

        Raises
        ------
        ModuleNotFoundError
            The package that it needs is not installed.
        OSError
            See `nucleiseg.images.write` and `folders.making`.
        """
        path = self.path(stem, result)
        with folders.making(path) if self.folder else images.writing(path) as target:
            self._fitting(result).write(result, target)
        return path

    def _fitting(self, result: Segmented) -> Format:
        return self.beyond if self.beyond and len(result) > labels.MOST else self


_COMBINED = {
    "coco": Combined("coco.json", combined.write_coco),
    "csv": Combined("table.csv", combined.write_csv),
    "parquet": Combined("table.parquet", combined.write_parquet),
}


def _format(module: Any) -> Format:
    """Return the format that the constants of a module describe."""
    return Format(
        plural=module.PLURAL,
        about=module.ABOUT,
        ending=module.ENDING,
        write=module.write,
        maps=getattr(module, "MAPS", False),
        needs=getattr(module, "NEEDS", ""),
        beyond=_format(tiffs) if module is labels else None,
        folder=getattr(module, "FOLDER", False),
        combined=_COMBINED.get(module.NAME),
    )


def _found() -> dict[str, Format]:
    """Return the format of each module of this package that has a ``NAME``."""
    names = (each.name for each in pkgutil.iter_modules(__path__, f"{__name__}."))
    modules = map(importlib.import_module, names)
    return {module.NAME: _format(module) for module in modules if hasattr(module, "NAME")}


FORMATS = _found()
"""Formats by name."""


def beside(stem: Path, ending: str) -> Path:
    """Return a stem, which may itself hold dots, with an ending."""
    return stem.with_name(stem.name + ending)


def formats(names: str) -> list[Format]:
    """Return formats by their names, separated by commas: ``"mask,labels"``.

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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"{folder}: no files can be written there: {error.strerror}") from error


def stems(images: Sequence[Path], folder: Path, chosen: Iterable[Format]) -> list[Path]:
    """Return a path for the outputs of each image, to which every format adds its own ending.

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
    check_inputs_survive(stems, {os.path.realpath(image) for image in images}, chosen)
    return stems


def _absolute(path: Path) -> Path:
    """Return an absolute path with its links, except where ``..`` leads out of one."""
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


def check_inputs_survive(
    stems: Iterable[Path], inputs: Collection[str], chosen: Iterable[Format]
) -> None:
    """Raise ValueError if an output would overwrite one of the images, which are real paths."""
    endings = [ending for format in chosen for ending in format.endings]
    for output in (beside(stem, ending) for stem in stems for ending in endings):
        if os.path.realpath(output) in inputs:
            name = printable(str(output))
            raise ValueError(f"{name} is one of the images and would be overwritten")
