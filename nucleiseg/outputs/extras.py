"""Packages that only some outputs need, imported when they are."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cv2 as cv2

_INSTALL = {
    "roifile": "pip install 'nucleiseg[roi]'",
    "pyarrow": "pip install 'nucleiseg[parquet]'",
    "jinja2": "pip install 'nucleiseg[report]'",
    "cv2": "pip install opencv-python-headless",
    "pandas": "pip install pandas",
    "anndata": "pip install 'nucleiseg[anndata]'",
    "spatialdata": "pip install 'nucleiseg[spatialdata]'",
    "zarr": "pip install 'nucleiseg[zarr]'",
    "highdicom": "pip install 'nucleiseg[dicom]'",
}
"""What installs each package."""


def load(module: str) -> ModuleType:
    """Import a module of an optional package.

    Raises
    ------
    ModuleNotFoundError
        The package is not installed; the message has the command that installs it.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        message = f"the package {package} is needed for that: {_INSTALL[package]}"
        raise ModuleNotFoundError(message, name=package) from None


def __getattr__(name: str) -> ModuleType:
    """Load OpenCV for ``from nucleiseg.outputs.extras import cv2``."""
    if name == "cv2":
        return load(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
