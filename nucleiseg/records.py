"""What was done, so that a run that was stopped can go on.

Beside the outputs, in the folder ``.nucleiseg``, each plane has a small JSON file: the settings,
size and time of its image, and size and SHA-256 of every file that was made of it. It is written
last, whole or not at all, so it never promises what is not there; and before it is believed, the
files are read again.

That files are outputs is known even if the run is killed while it writes them: before, each run
adds a line with their names to a log of its own. It is gone once all that it names has a record;
of a run that was killed, the next one makes records without sums of it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleiseg import images
from nucleiseg.outputs import Format
from nucleiseg.outputs.result import beside

FOLDER = ".nucleiseg"
"""Below the folder for outputs."""

ENDING = ".json"

LOG_ENDING = ".begun"

_BLOCK = 2**20

Source = dict[str, int]
"""Size and time of an image file."""


@dataclass(frozen=True)
class Done:
    """A plane that an earlier run did.

    Attributes
    ----------
    nuclei : int
    entry : dict or None
        Of the report, as `nucleiseg.outputs.report.collect.Entry.kept` gave it.
    doubt : str
        Why the image's limits may not be right; empty where they are.
    """

    nuclei: int
    entry: dict[str, Any] | None
    doubt: str


class Records:
    """The records below one folder for outputs.

    Parameters
    ----------
    output : Path
        The folder for outputs.
    settings : mapping
        All that the content of outputs depends on, beside the image.
    resume : bool
        Whether to believe records of earlier runs, rather than to do everything again.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], resume: bool = False) -> None:
        self.output = output
        self.resume = resume
        self._settings = json.loads(json.dumps(settings))
        self._log = _Log(output / FOLDER)

    def find(
        self, stem: Path, source: Source | None, formats: Sequence[Format], entry: bool
    ) -> Done | None:
        """Give what is known of a plane, if it need not be done again.

        Parameters
        ----------
        stem : Path
            Of the plane's outputs.
        source : Source or None
            Of its image, as it is now.
        formats : sequence of Format
            That are wanted.
        entry : bool
            Whether an entry for the report is wanted, too.

        Returns
        -------
        Done or None
            None if anything is missing or another than it was.
        """
        if not self.resume or source is None:
            return None
        found = _read(self._path(stem))
        if not self._fits(found, source) or found.get("nuclei") is None:
            return None
        if entry and not found.get("entry"):
            return None
        if all(_made(each, stem, found["files"]) for each in formats):
            return Done(found["nuclei"], found.get("entry"), found.get("doubt", ""))
        return None

    def begin(self, stem: Path, source: Source | None, formats: Sequence[Format]) -> dict[str, Any]:
        """Say which files will be made of a plane, and give what `finish` adds to.

        Files that were made before in the same way, of other formats, stay known.
        """
        record = _read(self._path(stem))
        known = record.get("files", {})
        names = [stem.name + ending for each in formats for ending in each.endings]
        if not known.keys() >= set(names):
            self._log.add(stem.relative_to(self.output), names)
        if not self._fits(record, source):
            record = {"settings": self._settings, "source": source, "files": dict.fromkeys(known)}
        record["files"].update(dict.fromkeys(names))
        return record

    def finish(
        self,
        record: dict[str, Any],
        stem: Path,
        files: Sequence[Path],
        nuclei: int,
        entry: Mapping[str, Any] | None,
        doubt: str = "",
    ) -> None:
        """Say that a plane is done.

        Parameters
        ----------
        record : dict
            From `begin`.
        stem : Path
        files : sequence of Path
            That were made, all beside the stem.
        nuclei : int
        entry : mapping or None
            Of the report.
        doubt : str
            Why the image's limits may not be right.
        """
        made = {path.name: _sums(stem, path.name) for path in files}
        known = {**record["files"], **made}
        record["files"] = {
            name: sums
            for name, sums in sorted(known.items())
            if sums or stem.with_name(name).exists()
        }
        record["nuclei"] = nuclei
        record["doubt"] = doubt
        record["entry"] = entry or record.get("entry")
        _write(self._path(stem), record)
        self._log.done(stem.relative_to(self.output))

    def close(self) -> None:
        """Make records of planes that were begun and came to nothing, too, and remove the log."""
        self._log.close()

    def _fits(self, record: Mapping[str, Any], source: Source | None) -> bool:
        same = record.get("settings") == self._settings and record.get("source") == source
        return same and source is not None

    def _path(self, stem: Path) -> Path:
        return beside(self.output / FOLDER / stem.relative_to(self.output), ENDING)


class _Log:
    """The names of files that one run began to make, in a file that grows line by line.

    A line is one call of the system: what a kill cuts off is at most the last one, of whose files
    none was begun. Each starts on a new line, whatever came of the one before.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{uuid.uuid4().hex}{LOG_ENDING}"
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._begun: set[Path] = set()

    def add(self, stem: Path, names: Sequence[str]) -> None:
        """Name the files of a stem, which is relative to the folder for outputs."""
        line = b"\n" + json.dumps([stem.as_posix(), names]).encode()
        with self._lock:
            if self._descriptor is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                self._descriptor = os.open(self._path, flags, 0o666)
            if os.write(self._descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            self._begun.add(stem)

    def done(self, stem: Path) -> None:
        """Say that there is a record of a stem."""
        with self._lock:
            self._begun.discard(stem)

    def close(self) -> None:
        """Remove the log, once there are records of all it names; else the next run does that."""
        with self._lock:
            if self._descriptor is None:
                return
            os.close(self._descriptor)
            self._descriptor = None
            with contextlib.suppress(OSError):
                if self._begun:
                    _settle(self._path)
                self._path.unlink()
            self._begun.clear()


def source(image: Path) -> Source | None:
    """Look at an image file, or at all files of a Zarr folder; None if that fails."""
    try:
        files = [image]
        if image.is_dir():
            files = [path for path in image.rglob("*") if path.is_file()]
        found = [path.stat() for path in files]
    except OSError:
        return None
    newest = max((each.st_mtime_ns for each in found), default=0)
    return {"bytes": sum(each.st_size for each in found), "modified_ns": newest}


class Made:
    """The files that runs made anywhere, as the records at or above their folders name them.

    ``path in Made()`` takes absolute paths. Records are read a folder at a time, when asked for.
    """

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}
        self._outputs: dict[Path, list[Path]] = {}
        self._logs: dict[Path, list[tuple[Path, list[str]]]] = {}

    def __contains__(self, path: str) -> bool:
        """Whether a record, or the log of a run, names the file."""
        folder, name = os.path.split(path)
        if folder not in self._names:
            self._names[folder] = set(self._made_in(Path(folder)))
        return name in self._names[folder]

    def _made_in(self, folder: Path) -> Iterator[str]:
        for output in self._outputs_at(folder):
            below = folder.relative_to(output)
            for record in (output / FOLDER / below).glob(f"*{ENDING}"):
                yield from _read(record).get("files", {})
            for stem, names in self._begun_in(output):
                if stem.parent == below:
                    yield from names

    def _outputs_at(self, folder: Path) -> list[Path]:
        """List the folders for outputs that a folder is, or lies in."""
        if folder not in self._outputs:
            above = self._outputs_at(folder.parent) if folder != folder.parent else []
            here = os.path.isdir(folder / FOLDER)  # noqa: PTH112 (it may be hidden from us)
            self._outputs[folder] = [folder, *above] if here else above
        return self._outputs[folder]

    def _begun_in(self, output: Path) -> list[tuple[Path, list[str]]]:
        """List the stems and the names that the logs of a folder for outputs hold."""
        if output not in self._logs:
            logs = (output / FOLDER).glob(f"*{LOG_ENDING}")
            self._logs[output] = [begun for log in logs for begun in _begun(log)]
        return self._logs[output]


@contextlib.contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Share a folder for outputs with other runs; the first to come clears up what a kill left.

    Files get their names when they are whole. What a run was writing when it was killed keeps its
    temporary name, and is rubbish once no run is there any more: each holds a shared lock.
    """
    descriptor = os.open(output, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # taken by others, or no such locks on this disk
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sweep(output)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _sweep(output: Path) -> None:
    folders = {output, output / FOLDER}
    for path in (output / FOLDER).rglob("*"):
        if path.is_dir():
            folders |= {path, output / path.relative_to(output / FOLDER)}
    for folder in folders:
        for path in folder.glob(".*.part"):
            if re.fullmatch(images.PART, path.name):
                path.unlink(missing_ok=True)
    for log in (output / FOLDER).glob(f"*{LOG_ENDING}"):
        _settle(log)
        log.unlink(missing_ok=True)


def _settle(log: Path) -> None:
    """Let records without sums name the files that a log names and no record does."""
    for stem, names in _begun(log):
        path = beside(log.parent / stem, ENDING)
        record = _read(path)
        if not record.get("files", {}).keys() >= set(names):
            files = {**dict.fromkeys(names), **record.get("files", {})}
            _write(path, {**record, "files": files})


def _begun(log: Path) -> Iterator[tuple[Path, list[str]]]:
    """Read a log: stems and the names of their files."""
    with contextlib.suppress(OSError):
        for line in log.read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError):
                stem, names = json.loads(line)
                yield Path(stem), [str(name) for name in names]


def _write(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, json.dumps(record, separators=(",", ":")).encode())


def _read(path: Path) -> dict[str, Any]:
    """Read a record; an empty one where there is none, or something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    whole = isinstance(found, dict) and isinstance(found.get("files"), dict)
    return found if whole else {}


def _made(each: Format, stem: Path, files: Mapping[str, Any]) -> bool:
    """Say whether a file of a format is there, just as it was made."""
    names = [stem.name + ending for ending in each.endings]
    return any(files.get(name) and _sums(stem, name) == files[name] for name in names)


def _sums(stem: Path, name: str) -> list[Any] | None:
    """Give size and SHA-256 of a file, None if it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with io.FileIO(stem.with_name(name)) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except OSError:
        return None
    return [size, digest.hexdigest()]
