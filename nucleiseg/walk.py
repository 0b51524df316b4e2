"""Finding image files: paths are files, folders and patterns.

Each image is found once, whatever links lead to it. Results of earlier runs, which the journal in
``.nucleiseg`` at or above them names, are not images.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from nucleiseg.journal import Made
from nucleiseg.names import natural
from nucleiseg.readers.zarr_folder import is_zarr

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".tf2",
    ".tf8",
    ".btf",
    ".svs",
    ".bmp",
    ".webp",
    ".nd2",
    ".czi",
    ".lif",
    ".dcm",
)
"""Suffixes that are searched for in folders, beside Zarr folders. Not ``.npy``, in which other
programs keep other data; a pattern with that suffix finds it."""

_UNREAD = {
    "Hamamatsu slides": (".ndpi", ".ndpis", ".vms", ".vmu"),
    "MIRAX slides": (".mrxs",),
    "Leica slides": (".scn",),
    "Ventana slides": (".bif",),
    "Sakura slides": (".svslide",),
    "Philips slides": (".isyntax",),
    "Akoya slides": (".qptiff",),
    "Olympus images": (".vsi", ".oib", ".oif", ".oir"),
    "Zeiss images": (".lsm", ".zvi"),
    "Imaris images": (".ims",),
    "DeltaVision images": (".dv",),
    "JPEG 2000 images": (".jp2", ".j2k"),
    "JPEG XL images": (".jxl",),
    "AVIF images": (".avif",),
    "HEIC images": (".heic",),
    "GIF images": (".gif",),
}

UNREAD = {suffix: kind for kind, suffixes in _UNREAD.items() for suffix in suffixes}
"""Suffixes of images, above all slides, that cannot be read. They are left out of folders with a
note."""

EXPORT = "export them as OME-TIFF or PNG, for example with QuPath or Fiji"
"""What a user can do about those."""


@dataclass(frozen=True)
class Found:
    """The images that were found.

    Attributes
    ----------
    images : list of Path
        Each once.
    notes : list of str
        A sentence for each kind of file that was left out.
    """

    images: list[Path]
    notes: list[str]


def find(paths: Iterable[str | Path]) -> Found:
    """Return the image files that paths lead to.

    Parameters
    ----------
    paths
        Files, folders and patterns such as ``"plates/**/*.tif"``. A folder means the images in it
        and in its subfolders, without hidden ones, in natural order (``a2`` before ``a10``).
        Links to folders are followed, but no folder is searched twice. A Zarr folder is one image.
        A part of a pattern that exists exactly as it is written is taken literally. A file given by
        name is taken whatever its suffix. Results of earlier runs are left out even if they are
        named, because a shell that expands ``*.png`` names them; if nothing else is given, they are
        taken.

    Returns
    -------
    Found
        Images in the order given. A folder that may not be read is listed as an image, so that
        reading it raises the error.

    Raises
    ------
    FileNotFoundError
        A path does not exist.
    ValueError
        There is no image in a folder, or none matches a pattern.
    """
    made = Made()
    found: dict[str, Path] = {}
    results: dict[str, Path] = {}
    unread: dict[str, str] = {}
    for given in paths:
        if not str(given):
            raise FileNotFoundError("'': no such file or folder")
        path = Path(given)
        if os.path.lexists(path) and not (_is_dir(path) and not _is_zarr(path)):
            real = os.path.realpath(path)
            (results if _is_result(path, real, made) else found).setdefault(real, path)
            continue
        search = _Search(made)
        search.add(path)
        if not search.images:
            raise ValueError(f"{path}: {search.nothing()}")
        for real, image in sorted(search.images.items(), key=lambda item: natural(item[1])):
            found.setdefault(real, image)
        unread |= search.unread
    if not found:
        return Found(list(results.values()), [])
    return Found(list(found.values()), _notes(len(results), unread))


@dataclass
class _Search:
    """The images below a folder or of a pattern; keys are real paths.

    Attributes
    ----------
    made : Made
    images : dict
    unread : dict
        The suffix of each file of `UNREAD`.
    results : int
        How many results were left out.
    """

    made: Made
    images: dict[str, Path] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    results: int = 0

    def add(self, path: Path) -> None:
        """Search a folder, or what matches a pattern."""
        if _is_dir(path):
            self._add_folder(path, SUFFIXES)
        elif glob.has_magic(str(path)):
            suffix = path.suffix.lower()
            own = [suffix] if suffix and not glob.has_magic(suffix) else []
            suffixes = [*SUFFIXES, *own]
            for match in _matches(Path(path.anchor), path.relative_to(path.anchor).parts):
                if _is_dir(match):
                    self._add_folder(match, suffixes)
                else:
                    self._add_file(match, suffixes)
        else:
            try:
                path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                raise FileNotFoundError(f"{path}: no such file or folder") from None

    def nothing(self) -> str:
        """Return the reason why no image was found."""
        if self.unread:
            return f"no images there that can be read, but {_listed(self.unread)}; {EXPORT}"
        if self.results:
            return "no images there, only results of earlier runs"
        return (
            "no images there; the suffixes looked for are "
            f"{', '.join(SUFFIXES[:-1])} and {SUFFIXES[-1]}, and Zarr folders"
        )

    def _add_folder(self, top: Path, suffixes: Sequence[str]) -> None:
        for folder in _folders(top):
            real = os.path.realpath(folder.path)
            if folder.kind == "zarr" and _is_result(folder.path, real, self.made):
                self.results += 1
            elif folder.kind != "open":
                self.images.setdefault(real, folder.path)
            for name in folder.files:
                self._add_file(folder.path / name, suffixes)

    def _add_file(self, path: Path, suffixes: Sequence[str]) -> None:
        suffix = path.suffix.lower()
        if suffix not in suffixes and suffix not in UNREAD:
            return
        real = os.path.realpath(path)
        if suffix not in suffixes:
            self.unread[real] = suffix
        elif _is_result(path, real, self.made):
            self.results += 1
        elif real not in self.images or (self.images[real].is_symlink() and not path.is_symlink()):
            self.images[real] = path


def _is_result(path: Path, real: str, made: Made) -> bool:
    # Below a folder for outputs a link may lead to where its files really are.
    return real in made or (str(path) != real and os.path.abspath(path) in made)  # noqa: PTH100


class _Folder(NamedTuple):
    """A folder that was found: one to search, a Zarr folder, or one that may not be read."""

    path: Path
    kind: Literal["open", "zarr", "locked"]
    files: Sequence[str] = ()


def _folders(top: Path) -> Iterator[_Folder]:
    """Yield a folder and those below it, without hidden ones, each real folder once.

    Links to folders come last, so that what a folder holds itself is found under its own name.
    """
    seen: set[str] = set()
    links = deque([top])
    while links:
        inside = [links.popleft()]
        while inside:
            path = inside.pop()
            real = os.path.realpath(path)
            if real in seen:
                continue
            seen.add(real)
            try:
                if is_zarr(path):
                    yield _Folder(path, "zarr")
                    continue
                with os.scandir(path) as entries:
                    visible = [entry for entry in entries if not entry.name.startswith(".")]
            except OSError:
                yield _Folder(path, "locked")
                continue
            visible.sort(key=lambda entry: entry.name)
            folders = [entry for entry in visible if _is_folder(entry)]
            links.extend(path / entry.name for entry in folders if entry.is_symlink())
            inside.extend(path / entry.name for entry in folders if not entry.is_symlink())
            names = {entry.name for entry in folders}
            yield _Folder(
                path, "open", [entry.name for entry in visible if entry.name not in names]
            )


def _is_dir(path: Path) -> bool:
    # Unlike Path.is_dir this does not raise where a folder above may not be looked into.
    return os.path.isdir(path)  # noqa: PTH112


def _is_zarr(folder: Path) -> bool:
    try:
        return is_zarr(folder)
    except OSError:  # it may not be looked into; the search raises the error
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a ring of links; reading it raises the error
        return False


def _matches(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yield files and folders by the parts of a pattern, in any order, some of them twice.

    Unlike Python's glob, a part that exists exactly as it is written is taken literally, and
    ``**`` does not follow rings of links.
    """
    if not parts:
        yield folder
        return
    first, rest = parts[0], parts[1:]
    if not glob.has_magic(first) or os.path.lexists(folder / first):
        if os.path.lexists(folder / first):
            yield from _matches(folder / first, rest)
    elif first == "**":
        for below in _folders(folder):
            if below.kind == "locked" or not rest:
                yield below.path
            elif below.kind == "open":
                yield from _matches(below.path, rest)
    else:
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries]
        except NotADirectoryError:
            return
        except OSError:
            yield folder  # to be named as one that may not be read
            return
        for name in fnmatch.filter(names, first):
            if first.startswith(".") or not name.startswith("."):
                yield from _matches(folder / name, rest)


def _notes(results: int, unread: dict[str, str]) -> list[str]:
    notes = []
    if results:
        notes.append(f"left out {results:,} of the files named: results of earlier runs")
    if unread:
        notes.append(f"left out {_listed(unread)}, which are not read; {EXPORT}")
    return notes


def _listed(unread: dict[str, str]) -> str:
    counts = Counter(unread.values())
    return " and ".join(
        f"{count:,} {suffix} ({UNREAD[suffix]})" for suffix, count in sorted(counts.items())
    )
