"""The report: one HTML page about a run, which loads nothing from elsewhere.

It needs the package jinja2: ``pip install 'nucleiseg[report]'``. `nucleiseg.report.flags` does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nucleiseg.report.collect import Report
    from nucleiseg.report.entry import Entry, Failure

__all__ = ["Entry", "Failure", "Report"]

_MODULES = {"Report": "collect", "Entry": "entry", "Failure": "entry"}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and with it the package that only pages need."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
