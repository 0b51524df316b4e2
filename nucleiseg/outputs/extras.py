"""Packages that only some outputs need, imported when they are."""

from __future__ import annotations

import importlib
from types import ModuleType

_INSTALL = {
    "roifile": "pip install 'nucleiseg[roi]'",
    "pyarrow": "pip install 'nucleiseg[parquet]'",
    "pandas": "pip install pandas",
    "zarr": "pip install 'nucleiseg[slide]'",
    "highdicom": "pip install 'nucleiseg[dicom]'",
    "jinja2": "pip install 'nucleiseg[report]'",
}
"""What installs each package."""


def load(package: str) -> ModuleType:
    """Import a package.

    Raises
    ------
    ModuleNotFoundError
        It is not installed; the message has the command that mends it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        message = f"the package {package} is needed for that: {_INSTALL[package]}"
        raise ModuleNotFoundError(message, name=package) from None
