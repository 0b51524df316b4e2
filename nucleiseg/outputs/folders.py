"""Outputs that are folders: there as a whole or not at all, like files."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from nucleiseg.readers.zarr_folder import is_zarr


@contextlib.contextmanager
def making(path: Path) -> Iterator[Path]:
    """Yield the temporary name of a folder to be made, which is renamed to the path at the end.

    After an error in the block it is removed. A Zarr folder of the same name is replaced.

    Raises
    ------
    OSError
        Something else has the name, or the folder cannot be renamed.
    """
    if os.path.lexists(path) and not is_zarr(path):
        raise FileExistsError(f"{path} is there and is no Zarr folder that could be replaced")
    part, old = _temporary(path), _temporary(path)
    try:
        yield part
        if os.path.lexists(path):
            path.rename(old)
        part.rename(path)
    finally:
        for left in (part, old):
            remove(left)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there and may be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{uuid.uuid4().hex}.part")
