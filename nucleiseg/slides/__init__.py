"""Whole slides: the nuclei of any number of pixels, in constant memory.

>>> from nucleiseg import slides
>>> summary = slides.segment_slide("slide.svs", "out", formats="geojson,csv")
>>> with slides.open("slide.svs") as slide:
...     pixels = slide.read(level=0, row=0, column=0, height=512, width=512)

The labels are those of the whole image, whatever the regions, workers or restarts:
`nucleiseg.slides.decode` says why. A run goes from `plan` (level, tissue, limits, regions) over
`task` (one region: read, network, decode) and `join` (objects that regions share) to `emit` (ids,
and blocks of labels) and the `outputs`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nucleiseg.slides.nuclei import Nuclei, Output, SlideInfo
    from nucleiseg.slides.readers import open
    from nucleiseg.slides.run import Summary, segment_slide
    from nucleiseg.slides.slide import Slide

__all__ = ["Nuclei", "Output", "Slide", "SlideInfo", "Summary", "open", "segment_slide"]

_MODULES = {
    "Nuclei": "nuclei",
    "Output": "nuclei",
    "SlideInfo": "nuclei",
    "open": "readers",
    "Summary": "run",
    "segment_slide": "run",
    "Slide": "slide",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the command line takes its options from here and nothing else."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
