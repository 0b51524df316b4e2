"""The journal of a folder for outputs: what was made there, of what, and with which settings.

It is one file, ``.nucleiseg/journal``, that only grows. A line is a kind, a name and a JSON value,
separated by tabs, written in one call before and after the files of each plane of an image:

| kind | name | value |
|---|---|---|
| ``settings`` | none | all that a result depends on besides the image |
| ``begun`` | stem | the names of the files that will be made |
| ``entry`` | stem | what the report keeps of the plane |
| ``done`` | stem | SHA-256 of settings and source, size and SHA-256 of each output, counts |

So files count as outputs from the moment they are begun, even if the run is killed, and ``done``
never promises what is not there. Whoever can write to the folder can write to its journal: a line
that is damaged, or that names anything outside of the folder, is skipped, and its image is done
again. Before a line is believed, the files that it names are read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import filelock

from nucleiseg import images
from nucleiseg.outputs import Format, folders

FOLDER = ".nucleiseg"
"""Name of the journal's folder, below the folder for outputs."""

NAME = "journal"

_RUN = ".run"
"""Suffix of the files that active runs hold locked; their names begin with the settings' digest."""

_BLOCK = 2**20

Sums = tuple[int, str]
"""Size and SHA-256 of a file, or of all that is in a folder."""


@dataclass(frozen=True)
class Done:
    """A plane that a run has finished.

    Attributes
    ----------
    settings, source : str
        SHA-256 of the settings and of the image's file.
    files : dict of str to Sums
        By name; all lie beside the plane's stem.
    nuclei : int
    doubt : str
        Why the plane is worth a second look; empty where there is no reason.
    entry : tuple of int, optional
        Where the journal holds what the report keeps: offset and bytes.
    """

    settings: str
    source: str
    files: dict[str, Sums]
    nuclei: int
    doubt: str
    entry: tuple[int, int] | None = None


@dataclass
class _Known:
    """The state that the lines of a journal describe.

    Attributes
    ----------
    settings : set of str
        SHA-256 of each.
    made : set of str
        Every file that was begun, relative to the folder for outputs.
    entries : dict
        By stem, as `Done.entry`.
    done : dict
        By stem.
    """

    settings: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    entries: dict[str, tuple[int, int]] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)

    def take(self, line: bytes, end: int) -> None:
        """Add what a line holds, which ends at an offset; ValueError or TypeError if damaged."""
        kind, name, value = line.split(b"\t")
        if kind == b"settings":
            self.settings.add(digest(json.loads(value)))
            return
        stem = _relative(json.loads(name))
        if kind == b"entry":
            self.entries[stem] = end - len(value), len(value)
        elif kind == b"begun":
            self.made |= {_sibling(stem, each) for each in json.loads(value)}
        elif kind == b"done":
            self._finished(stem, **json.loads(value))

    def _finished(
        self, stem: str, settings: str, source: str, files: Any, nuclei: Any, doubt: Any, entry: Any
    ) -> None:
        if settings not in self.settings or type(nuclei) is not int or nuclei < 0:
            raise ValueError
        if not isinstance(source, str) or not isinstance(doubt, str):
            raise ValueError
        sums = {str(name): (int(size), str(sha)) for name, (size, sha) in files.items()}
        self.made |= {_sibling(stem, name) for name in sums}
        found = Done(
            settings, source, sums, nuclei, doubt, self.entries.get(stem) if entry else None
        )
        before = self.done.get(stem)
        if before and (before.settings, before.source) == (settings, source):
            files = {**before.files, **sums}
            found = replace(found, files=files, entry=found.entry or before.entry)
        self.done[stem] = found


class Journal:
    """The journal of one folder for outputs, as it is now; one run may add to it.

    Parameters
    ----------
    output : Path
        The folder for outputs.
    settings : mapping
        All that a result depends on besides the image; values that JSON can hold.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.output = output
        self._settings = settings or {}
        self._digest = digest(self._settings)
        self._path = output / FOLDER / NAME
        self._known = _Known()
        self._lock = Lock()
        self._read_to = 0
        self._read()

    def __contains__(self, path: Path) -> bool:
        """Return whether a file below the folder is one that a run made, or began to make."""
        name = path.relative_to(self.output).as_posix()
        if name not in self._known.made:
            self._read()  # another run may have made it since
        return name in self._known.made

    def find(self, stem: Path, source: str, formats: Sequence[Format]) -> Done | None:
        """Return what is known of a plane that need not be done again.

        Parameters
        ----------
        stem : Path
            Of the plane's outputs.
        source : str
            `checksum` of its image, as it is now.
        formats : sequence of Format
            That are wanted.

        Returns
        -------
        Done or None
            None if it was made of another image or with other settings, or if a file of one of the
            formats is missing or not the one that was made.
        """
        found = self._known.done.get(self._name(stem))
        if not found or not source or (found.settings, found.source) != (self._digest, source):
            return None
        for each in formats:
            names = [stem.name + ending for ending in each.endings]
            if not any(
                name in found.files and _sums(stem.with_name(name)) == found.files[name]
                for name in names
            ):
                return None
        return found

    def entry(self, done: Done) -> Any:
        """Return what the report kept of a plane, unchecked; None if there is nothing to read."""
        if done.entry is None:
            return None
        offset, size = done.entry
        try:
            with self._path.open("rb") as file:
                file.seek(offset)
                return json.loads(file.read(size))
        except (OSError, ValueError, RecursionError):
            return None

    def begin(self, stem: Path, names: Sequence[str]) -> None:
        """Record the names of files, beside a stem, that are about to be made."""
        if self._digest not in self._known.settings:
            self._add("settings", "", self._settings)
            self._known.settings.add(self._digest)
        made = {_sibling(self._name(stem), name) for name in names}
        if not made <= self._known.made:
            self._add("begun", self._name(stem), sorted(names))
            self._known.made |= made

    def finish(
        self,
        stem: Path,
        source: str,
        files: Sequence[Path],
        nuclei: int,
        doubt: str,
        entry: Mapping[str, Any] | None,
    ) -> None:
        """Record that a plane is done.

        Parameters
        ----------
        stem : Path
        source : str
            `checksum` of its image from before it was read.
        files : sequence of Path
            That were made, all beside the stem.
        nuclei : int
        doubt : str
            Why the plane is worth a second look.
        entry : mapping or None
            What the report keeps.
        """
        if entry:
            self._add("entry", self._name(stem), entry)
        value = {
            "settings": self._digest,
            "source": source,
            "files": {path.name: _sums(path) for path in files},
            "nuclei": nuclei,
            "doubt": doubt,
            "entry": bool(entry),
        }
        self._add("done", self._name(stem), value)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder for a run, together with others of the same settings.

        Files get their names when they are whole. What a run was writing when it was killed keeps
        its temporary name, and is removed by the next run that is there alone.

        Raises
        ------
        ValueError
            A run with other settings is at work there.
        OSError
            The folder for the journal cannot be made.
        """
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True)
        mine = folder / f"{self._digest}.{uuid.uuid4().hex}{_RUN}"
        with contextlib.ExitStack() as held:
            with contextlib.ExitStack() as starting:
                _hold(folder / "lock", starting)
                others = [path.name for path in folder.glob(f"*{_RUN}") if not _is_left(path)]
                if any(not name.startswith(self._digest) for name in others):
                    raise ValueError(
                        f"{self.output}: a run with other settings is at work there; accepted is "
                        "another folder, or this one once that run has ended"
                    )
                if not others:
                    self._sweep()
                held.callback(mine.unlink, missing_ok=True)
                _hold(mine, held)
            self._read()
            yield

    def _name(self, stem: Path) -> str:
        return stem.relative_to(self.output).as_posix()

    def _add(self, kind: str, name: str, value: Any) -> None:
        line = "\t".join(
            [kind, *(json.dumps(each, separators=(",", ":")) for each in (name, value))]
        )
        # Whatever a kill cut off, the line has a beginning and an end of its own.
        data = f"\n{line}\n".encode()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # One write, so that lines of runs side by side do not mix.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)

    def _read(self) -> None:
        """Take in the lines that were added since the last time."""
        with self._lock, contextlib.suppress(OSError), self._path.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_to += len(line)
                with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
                    self._known.take(line[:-1], self._read_to - 1)

    def _sweep(self) -> None:
        """Remove temporary files and folders where files were made."""
        for folder in {(self.output / name).parent for name in self._known.made} | {self.output}:
            for path in folder.glob(".*.part"):
                if re.fullmatch(images.PART, path.name):
                    folders.remove(path)


class Made:
    """The files that runs made anywhere, as the journals at or above their folders name them.

    ``path in Made()`` takes absolute paths. Journals are read when asked for.
    """

    def __init__(self) -> None:
        self._journals: dict[Path, list[Journal]] = {}

    def __contains__(self, path: str) -> bool:
        """Return whether a journal names the file."""
        return any(Path(path) in journal for journal in self._at_or_above(Path(path).parent))

    def _at_or_above(self, folder: Path) -> list[Journal]:
        """Return the journals of the folders for outputs that a folder is, or lies in."""
        if folder not in self._journals:
            above = self._at_or_above(folder.parent) if folder != folder.parent else []
            here = os.path.isdir(folder / FOLDER)  # noqa: PTH112 (it may be hidden from us)
            self._journals[folder] = [Journal(folder), *above] if here else above
        return self._journals[folder]


def checksum(image: Path) -> str:
    """Return the SHA-256 of an image file, or of all files of a Zarr folder; "" if that fails."""
    try:
        return digest(_contents(image))
    except OSError:
        return ""


def digest(value: object) -> str:
    """Return the SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _contents(path: Path) -> list[tuple[str, int, str]]:
    """Return name, size and SHA-256 of a file, which is called ``.``, or of each in a folder."""
    files = [path]
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file())
    return [(each.relative_to(path).as_posix(), *_summed(each)) for each in files]


def _summed(path: Path) -> Sums:
    """Return size and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def _sums(path: Path) -> Sums | None:
    try:
        if path.is_dir():
            contents = _contents(path)
            return sum(size for _, size, _ in contents), digest(contents)
        return _summed(path)
    except OSError:
        return None


def _relative(text: object) -> str:
    """Return a path relative to the folder for outputs; ValueError for all that leads out of it."""
    if not isinstance(text, str) or "\0" in text:
        raise ValueError
    if any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError
    return text


def _sibling(stem: str, name: object) -> str:
    """Return the path of a file beside a stem; ValueError for what is no name of a file."""
    name = _relative(name)
    if "/" in name:
        raise ValueError
    return str(PurePosixPath(stem).parent / name)


def _hold(path: Path, stack: contextlib.ExitStack) -> None:
    """Lock a file until a stack is left, where the file system has locks.

    filelock raises NotImplementedError where it has none.
    """
    with contextlib.suppress(OSError, NotImplementedError):
        stack.enter_context(filelock.FileLock(path))


def _is_left(path: Path) -> bool:
    """Return whether a run that is no more held the lock of a file, and remove it."""
    lock = filelock.FileLock(path)
    try:
        with lock.acquire(timeout=0):
            path.unlink(missing_ok=True)
    except filelock.Timeout:
        return False
    except (OSError, NotImplementedError):
        pass
    return True
