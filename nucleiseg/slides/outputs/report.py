"""The report page of a slide: one HTML file that loads nothing and needs no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images
from nucleiseg import report as image_report
from nucleiseg.outputs import extras
from nucleiseg.report.charts import number
from nucleiseg.report.page import environment, versions
from nucleiseg.slides.nuclei import Nuclei
from nucleiseg.slides.outputs import density
from nucleiseg.slides.outputs.cells import Cells
from nucleiseg.slides.outputs.distribution import Distribution
from nucleiseg.slides.outputs.doubts import Doubt, doubts
from nucleiseg.slides.outputs.one_file import OneFile

DIAMETERS = 0.05, 4000
"""Width and number of the bins of diameters: 0 to 200 micrometres."""

CONFIDENCES = 0.002, 501

_OCCUPIED = (225, 225, 225)


class SlideReport(OneFile):
    """Writes ``report.html``.

    Raises
    ------
    ModuleNotFoundError
        When constructed: the package jinja2 is not installed.
    """

    about = "a page about the slide"
    name = "report.html"

    def __init__(self) -> None:
        extras.load("jinja2")

    def _open(self) -> None:
        self._cells = Cells(self.info)
        self._diameters = Distribution(*DIAMETERS)
        self._confidences = Distribution(*CONFIDENCES)

    def _write(self, nuclei: Nuclei) -> None:
        self._cells.add(nuclei)
        self._diameters.add(nuclei.diameter * self.info.mean_mpp)
        self._confidences.add(nuclei.confidence)

    def _complete(self) -> None:
        page = environment().from_string(_text(__package__, "report.html"))
        text = page.render(self._content()).encode("utf-8", "surrogateescape")
        # Names of files may hold bytes that are not UTF-8.
        self._file.write(text.decode("utf-8", "replace").encode())

    def _content(self) -> dict[str, Any]:
        found = doubts(self._cells)
        style = _text(image_report.__package__, "style.css") + _text(__package__, "report.css")
        return {
            "style": style,
            "slide": self.info.path.name,
            "summary": self._summary(found),
            "density": _png(density.draw(self._cells)),
            "doubts": found,
            "doubts_map": _png(self._map(found)) if found else "",
            "focus_known": bool(self._cells.blur_count.any()),
            "sizes_known": self.info.good_diameters is not None,
            "cell": f"{self._cells.side:.0f}",
            "charts": [
                self._diameters.chart("Diameter of nuclei in µm", "diameters"),
                self._confidences.chart("Confidence", "confidences"),
            ],
            "made": {
                "Slide": self._slide(),
                "Settings": _strings(self.info.settings),
                "Model": _strings(self.info.model),
                "Versions": {k: v for k, v in versions().items() if k != "Written"},
            },
        }

    def _summary(self, found: list[Doubt]) -> dict[str, str]:
        nuclei = int(self._cells.count.sum())
        doubtful = np.zeros(self._cells.shape, np.bool_)
        for doubt in found:
            doubtful |= doubt.cells
        share = self._cells.count[doubtful].sum() / nuclei if nuclei else 0.0
        medians = (one.percentile(50) for one in (self._diameters, self._confidences))
        diameter, confidence = (number(m) if nuclei else "-" for m in medians)
        return {
            "nuclei": f"{nuclei:,}",
            "nuclei / mm² where there are any": number(self._cells.nuclei_per_mm2()),
            "µm, median diameter": diameter,
            "median confidence": confidence,
            "of nuclei in doubtful places": f"{share:.1%}",
        }

    def _slide(self) -> dict[str, str]:
        info = self.info
        millimetres = (info.width * info.mpp[0] / 1000, info.height * info.mpp[1] / 1000)
        return {
            "File": info.path.name,
            "Pixels": f"{info.width:,} by {info.height:,}",
            "Size": f"{millimetres[0]:.1f} by {millimetres[1]:.1f} mm",
            "Pixel": f"{info.mpp[0]:g} by {info.mpp[1]:g} µm",
            "Scale": f"{info.scale:g}",
        }

    def _map(self, found: list[Doubt]) -> NDArray[np.uint8]:
        """Draw the cells with nuclei, and those in doubt in the colour of the first doubt."""
        occupied = self._cells.count > 0
        colours = np.full((*occupied.shape, 3), 255, np.uint8)
        colours[occupied] = _OCCUPIED
        doubtful = np.zeros_like(occupied)
        for doubt in found[::-1]:
            colours[doubt.cells] = doubt.colour
            doubtful |= doubt.cells
        return self._cells.drawn(colours, occupied if self.info.picture is None else doubtful)


def _strings(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _png(picture: NDArray[np.uint8]) -> str:
    """Return a picture as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(images.png(picture)).decode('ascii')}"


def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
