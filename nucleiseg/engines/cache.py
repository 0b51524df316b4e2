"""Compiled engines on the disk: machine code, so only files that are surely ours are read.

A file is a line that says what it is, a line of JSON with everything that its content depends on,
and the content. It is read if this user owns it, nobody else may write it, and its checksum fits;
it is used if the line of JSON says what is wanted. Whatever else is found is built again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

logger = logging.getLogger("nucleiseg")

Key = Mapping[str, str]
"""What a content depends on, by name."""

_MAGIC = b"nucleiseg engine file 1\n"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class UnfitError(Exception):
    """A file that is there but must not be used; says why."""


def default_folder() -> Path:
    """Give the user's folder for engines: below ``XDG_CACHE_HOME``, or ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    return base / "nucleiseg" / "engines"


def get(path: Path, key: Key, make: Callable[[], bytes]) -> bytes:
    """Read a file, or make its content and write it.

    Processes that want the same file at once wait for the first of them. What cannot be kept is
    made all the same, with a warning that names the folder.

    Parameters
    ----------
    path : Path
        Its folder is made, for this user alone, where it is missing.
    key : mapping of str to str
    make : callable
        Gives the content; its errors are passed on.
    """
    try:
        content = read(path, key)
    except UnfitError as reason:
        logger.warning("%s is built again: %s", path, reason)
        content = None
    if content is None:
        with _lock(path):
            with suppress(UnfitError):
                content = read(path, key)  # somebody else may have made it meanwhile
            if content is None:
                content = make()
                _keep(path, key, content)
    return content


def read(path: Path, key: Key) -> bytes | None:
    """Read a file.

    Returns
    -------
    bytes or None
        The content; None where there is no file.

    Raises
    ------
    UnfitError
        The file is not ours, damaged, or of another key.
    """
    try:
        # Neither a link nor, without waiting for a writer, a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnfitError(f"it cannot be opened: {error.strerror}") from error
    try:
        _check_owner(os.fstat(descriptor))
    except UnfitError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        if file.readline(len(_MAGIC)) != _MAGIC:
            raise UnfitError("it is no engine file")
        header, content = file.readline(), file.read()
    return _checked(header, content, key)


def write(path: Path, key: Key, content: bytes) -> None:
    """Write a file whole or not at all, for this user alone.

    Raises
    ------
    OSError
        The folder cannot be made or written. Nothing is left behind.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    header = {**key, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
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


def _keep(path: Path, key: Key, content: bytes) -> None:
    try:
        write(path, key, content)
    except OSError as error:
        logger.warning(
            "cannot keep an engine in %s (%s): it is built at every start; make the folder "
            "writable, or set XDG_CACHE_HOME to one that is",
            path.parent,
            error.strerror or error,
        )


def _check_owner(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnfitError("it is no regular file")
    if status.st_uid != os.geteuid():
        raise UnfitError(f"it belongs to user {status.st_uid}, not to {os.geteuid()}")
    if status.st_mode & _OTHERS_WRITE:
        raise UnfitError(
            f"others may write it (mode {stat.S_IMODE(status.st_mode):o}; 600 is safe)"
        )


def _checked(header: bytes, content: bytes, key: Key) -> bytes:
    try:
        found = json.loads(header)
        size, checksum = found.pop("bytes"), found.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UnfitError("its description is damaged") from error
    if len(content) != size:
        raise UnfitError(f"it holds {len(content):,} bytes of {size:,}")
    if hashlib.sha256(content).hexdigest() != checksum:
        raise UnfitError("its checksum is wrong")
    for name, value in key.items():
        if found.get(name) != value:
            raise UnfitError(f"its {name} is {found.get(name)}, not {value}")
    return content


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the right to make a file, where the folder allows; a process that dies gives it back."""
    with ExitStack() as held:
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = held.enter_context(path.with_name(f".{path.name}.lock").open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
