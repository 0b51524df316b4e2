"""A map of the slide with the density of its nuclei, as PNG."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images
from nucleiseg.outputs.extras import cv2
from nucleiseg.slides.nuclei import Nuclei
from nucleiseg.slides.outputs.cells import Cells
from nucleiseg.slides.outputs.one_file import OneFile

CEILING = 99.5
"""Percentile of the densities of cells with nuclei that gets the last colour; few are beyond."""

_COLOURS: NDArray[np.uint8] = cv2.cvtColor(
    cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS),
    cv2.COLOR_BGR2RGB,
)[:, 0].astype(np.uint8)
"""(256, 3) uint8. Viridis: as many steps of lightness, and for colour-blind people too."""

_INK = (40, 40, 40)
_MARGIN, _LEGEND, _FOOT = 16, 150, 56
_BAR = 20


class DensityMap(OneFile):
    """Writes ``density.png``."""

    about = "a map of nuclei per mm2"
    name = "density.png"

    def _open(self) -> None:
        self._cells = Cells(self.info)

    def _write(self, nuclei: Nuclei) -> None:
        self._cells.add(nuclei)

    def _complete(self) -> None:
        self._file.write(images.png(draw(self._cells)))


def draw(cells: Cells) -> NDArray[np.uint8]:
    """Return the map with its scales of colour and length, (h, w, 3) uint8."""
    density = cells.density()
    occupied = density > 0
    most = float(np.percentile(density[occupied], CEILING)) if occupied.any() else 1.0
    colours = _COLOURS[np.minimum(density * (255 / most), 255).astype(np.uint8)]
    plan = cells.drawn(colours, occupied)
    height, width = plan.shape[:2]
    tall = max(height, 200)
    canvas = np.full((tall + _MARGIN + _FOOT, width + _MARGIN + _LEGEND, 3), 255, np.uint8)
    inside = canvas[_MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width]
    inside[:] = plan
    cv2.rectangle(
        canvas, (_MARGIN - 1, _MARGIN - 1), (_MARGIN + width, _MARGIN + height), (190,) * 3
    )
    _colour_scale(canvas[:, _MARGIN + width :], tall, most)
    _length_scale(canvas, _MARGIN + height + 14, width, cells.micrometres_per_map_pixel)
    return canvas


def _colour_scale(canvas: NDArray[np.uint8], height: int, most: float) -> None:
    top, bottom = _MARGIN + 28, _MARGIN + height
    _text(canvas, "nuclei / mm2", _MARGIN, _MARGIN + 12)
    shades = np.linspace(255, 0, bottom - top).astype(np.uint8)
    canvas[top:bottom, _MARGIN : _MARGIN + _BAR] = _COLOURS[shades][:, None]
    for tick in ticks(most):
        y = round(bottom - 1 - (bottom - 1 - top) * tick / most)
        cv2.line(canvas, (_MARGIN + _BAR, y), (_MARGIN + _BAR + 5, y), _INK)
        _text(canvas, f"{tick:,.0f}", _MARGIN + _BAR + 10, y + 4)


def _length_scale(canvas: NDArray[np.uint8], y: int, width: int, micrometres: float) -> None:
    """Draw a bar of a round length, about a fifth of the map's width."""
    length = ticks(width * micrometres / 2)[1]
    end = _MARGIN + round(length / micrometres)
    cv2.rectangle(canvas, (_MARGIN, y), (end, y + 5), _INK, cv2.FILLED)
    words = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} um"
    _text(canvas, words, _MARGIN, y + 26)


def ticks(most: float) -> list[float]:
    """Return round numbers from 0 up to ``most``, four to six of them."""
    power = 10.0 ** np.floor(np.log10(most))
    step = next(float(power * nice) for nice in (0.2, 0.5, 1, 2) if most / (power * nice) < 5.999)
    return [step * i for i in range(int(most / step + 1e-9) + 1)]


def _text(canvas: NDArray[np.uint8], words: str, x: int, y: int) -> None:
    cv2.putText(canvas, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
