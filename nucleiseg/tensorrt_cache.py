"""The cache of TensorRT engines: files of machine code, so only the user's own are ever loaded.

A file is a line that identifies the format, a line of JSON with everything that its content depends
on (the key), and the content. It is loaded if this user owns it, nobody else may write it, its
checksum is right and its key is the one asked for. Anything else is logged and made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import platform
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from nucleiseg.model import Model

logger = logging.getLogger("nucleiseg")

LIBRARIES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
"""Python modules, almost alike, in the order in which they are tried, and their names."""

TILE, BATCH = 2048, 4
"""Limits of an engine: side of a tile in pixels, and tiles at once. The memory used depends on the
actual tiles, about 32 bytes per pixel: 540 MB for the largest batch."""

GRAPH = "3"
"""Part of the cache key; changed whenever the same model and settings give a different engine."""

PORTABLE = (8, 0)
"""TensorRT for RTX builds one engine for this compute capability and all later ones it supports;
earlier ones need an engine of their own."""

Key = Mapping[str, str]
"""The dependences of a file's content, by name."""

_MAGIC = b"nucleiseg engine file 1\n"


@dataclass(frozen=True)
class Recipe:
    """Everything that an engine depends on.

    Attributes
    ----------
    model : Model
    library : module
        ``tensorrt`` or ``tensorrt_rtx``.
    compute_capability : tuple of int
        Of the GPU, such as (8, 6); with TensorRT for RTX `PORTABLE` includes the later ones.
    gpu : str
        Name and multiprocessors, as an engine of TensorRT is for one model of GPU; else empty.
    """

    model: Model
    library: ModuleType
    compute_capability: tuple[int, int]
    gpu: str = ""

    @property
    def target(self) -> str:
        """The compute capability for people: "8.6", "8.0 and later"."""
        later = not self.gpu and self.compute_capability == PORTABLE
        return dotted(self.compute_capability) + (" and later" if later else "")

    @property
    def tile(self) -> int:
        """Largest side of a tile."""
        return TILE - TILE % self.model.stride

    @property
    def key(self) -> dict[str, str]:
        """Every dependence as text."""
        return {
            "model": " ".join(self.model.identity.values()),
            "library": self.library.__name__,
            "library version": str(self.library.__version__),
            "system": f"{platform.system()} {platform.machine()}",
            "compute capability": self.target,
            "GPU": self.gpu,
            "tile": str(self.tile),
            "batch": str(BATCH),
            "graph": GRAPH,
        }

    @property
    def filename(self) -> str:
        """A name that new versions of library and package keep, so that they replace the file."""
        lasting = {name: self.key[name] for name in ("model", "system", "GPU", "tile", "batch")}
        short = hashlib.sha256(json.dumps(lasting).encode()).hexdigest()[:12]
        major, minor = self.compute_capability
        return f"{self.model.path.stem}-sm{major}{minor}-{short}.{self.library.__name__}"


@dataclass(frozen=True)
class Built:
    """A serialised engine, its file (None if it cannot be kept), and the seconds it took to build.

    The time is None if the engine was in the cache.
    """

    recipe: Recipe
    plan: bytes
    path: Path | None
    seconds: float | None

    def __str__(self) -> str:
        """Describe it in one line."""
        recipe = self.recipe
        took = "was there" if self.seconds is None else f"built in {self.seconds:.1f} s"
        return (
            f"{recipe.model.name} {recipe.model.version}, compute capability {recipe.target}, "
            f"{title(recipe.library)}: {len(self.plan) / 1e6:.1f} MB, {took}, "
            f"{self.path or 'not kept'}"
        )


def covering(library: ModuleType, compute_capability: tuple[int, int]) -> tuple[int, int]:
    """Return the compute capability for which TensorRT for RTX builds the engine of a GPU.

    ValueError if it does not support such GPUs.
    """
    members = library.ComputeCapability.__members__
    known = sorted(divmod(int(each[2:]), 10) for each in members if each.startswith("SM"))
    if compute_capability not in known:
        raise ValueError(
            f"compute capability: got {dotted(compute_capability)}; {title(library)} builds for "
            f"{', '.join(map(dotted, known))}; for other GPUs: pip install tensorrt"
        )
    return min(compute_capability, PORTABLE)


def title(library: ModuleType) -> str:
    """Return name and version for people."""
    return f"{LIBRARIES[library.__name__]} {library.__version__}"


def dotted(compute_capability: tuple[int, int] | None) -> str:
    """Return a compute capability in the usual form: "8.6"."""
    return ".".join(map(str, compute_capability or ()))


class _UnusableError(Exception):
    """The reason why a file must not be used."""


def default_folder() -> Path:
    """Return the user's folder for engines: below ``XDG_CACHE_HOME``, or ``~/.cache``."""
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = home if home.is_absolute() else Path.home() / ".cache"
    return base / "nucleiseg" / "engines"


def load(path: Path, key: Key) -> bytes | None:
    """Return the content of a file, or None where it is missing or must not be used.

    Why a file is not used is logged.
    """
    try:
        return _read(path, key)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"it cannot be opened: {error.strerror}"
    except _UnusableError as error:
        reason = str(error)
    logger.warning("%s is not used and made again: %s", path, reason)
    return None


def store(path: Path, key: Key, content: bytes) -> bool:
    """Write a file for this user alone, completely or not at all; return whether it was written.

    Where it cannot be written, a warning names the folder. The folder is created if missing.
    """
    header = {**key, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC + json.dumps(header).encode() + b"\n" + content)
                file.flush()
                os.fsync(file.fileno())
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        logger.warning(
            "cannot keep an engine in %s (%s): it is built at every start; make the folder "
            "writable, or set XDG_CACHE_HOME to one that is",
            path.parent,
            error.strerror or error,
        )
        return False
    return True


def load_or_make(path: Path, key: Key, make: Callable[[], bytes]) -> tuple[bytes, bool]:
    """Return the content of a file, made and stored first if necessary, and whether it is stored.

    Of several processes that need the same file, one makes it while the others wait. Errors of
    ``make`` are passed on.
    """
    content = load(path, key)
    if content is not None:
        return content, True
    with _lock(path):
        with suppress(OSError, _UnusableError):  # another process may have made it meanwhile
            return _read(path, key), True
        content = make()
        return content, store(path, key, content)


def _read(path: Path, key: Key) -> bytes:
    # Neither follows a link nor, in the case of a pipe, waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _check_owner(os.fstat(descriptor))
    except _UnusableError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        if file.readline(len(_MAGIC)) != _MAGIC:
            raise _UnusableError("it is no engine file")
        header, content = file.readline(), file.read()
    _check_content(header, content, key)
    return content


def _check_owner(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _UnusableError("it is no regular file")
    if status.st_uid != os.geteuid():
        raise _UnusableError(f"it belongs to user {status.st_uid}, not to {os.geteuid()}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        raise _UnusableError(f"others may write it (mode {mode:o}; 600 is safe)")


def _check_content(header: bytes, content: bytes, key: Key) -> None:
    try:
        found = json.loads(header)
        size, checksum = found.pop("bytes"), found.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise _UnusableError("its description is damaged") from error
    if len(content) != size:
        raise _UnusableError(f"it holds {len(content):,} bytes of {size:,}")
    if hashlib.sha256(content).hexdigest() != checksum:
        raise _UnusableError("its checksum is wrong")
    for name, value in key.items():
        if found.get(name) != value:
            raise _UnusableError(f"its {name} is {found.get(name)}, not {value}")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the exclusive right to make a file; the lock of a process that dies is released.

    Where the lock file cannot be opened, or is no regular file, there is no lock.
    """
    with ExitStack() as held:
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path.with_name(f".{path.name}.lock"), flags, 0o600)
            held.callback(os.close, descriptor)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
