"""The widget "Segment nuclei" of napari: a labels layer, with its measurements, of an image layer.

Only napari imports this module, which it finds through ``napari.yaml``.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pint
from magicgui import widgets
from napari.components import ViewerModel
from napari.layers import Image
from napari.qt.threading import thread_worker
from numpy.typing import NDArray

from nucleiseg.model import DEFAULT, Model, shipped
from nucleiseg.parameters import Decoding
from nucleiseg.readers import UnacceptedError, dtypes
from nucleiseg.readers.units import pixel_size
from nucleiseg.result import Result
from nucleiseg.segmenter import Segmenter
from nucleiseg.stains import STAINS

PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
"""What a labels layer copies from its image, so that both have the same place."""

TABLE = ("napari", "Features table widget")
"""The plugin and the widget that show the measurements of the layer that is selected."""


@dataclass(frozen=True)
class Settings:
    """How images are segmented.

    Attributes
    ----------
    model : str
        The name of a shipped model, or the path of an ``.onnx`` file.
    diameter : float, optional
        Usual diameter of a nucleus in pixels.
    mpp : float, optional
        Micrometres per pixel, for measurements.
    scale_by_mpp : bool
        Whether it is also what decides the scale.
    stain : {"auto", "he", "dab", "hematoxylin"}
        Of RGB images.
    decoding : Decoding
        What counts as a nucleus, and which nuclei are kept.
    """

    model: str = DEFAULT
    diameter: float | None = None
    mpp: float | None = None
    scale_by_mpp: bool = False
    stain: str = "auto"
    decoding: Decoding = field(default_factory=Decoding)

    def options(self) -> dict[str, Any]:
        """Return size, stain and decoding as `Segmenter.analyze` takes them."""
        size = {"mpp": self.mpp} if self.scale_by_mpp else {"diameter": self.diameter}
        return {**size, "stain": self.stain, **self.decoding.given}


@dataclass(frozen=True)
class Found:
    """The nuclei of a layer: labels, (..., H, W) int32, and a row of measurements for each."""

    labels: NDArray[np.int32]
    features: pd.DataFrame


class SegmentNuclei(widgets.Container[widgets.Widget]):
    """Segment the nuclei of an image layer in the background, plane by plane.

    Each run adds a labels layer of its own: one that was corrected by hand is never touched.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        Its image layers are offered. By this name napari knows that it is wanted.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        viewer = self._viewer = napari_viewer
        self._worker: Any = None
        self.image = widgets.ComboBox(label="image", choices=self._images)
        self.model = widgets.ComboBox(label="model", choices=shipped(), value=DEFAULT)
        self.own_model = widgets.FileEdit(label="own model", filter="*.onnx", nullable=True)
        self.diameter = widgets.FloatSpinBox(label="diameter (pixels)", max=5000, tooltip=_DIAMETER)
        self.pixel_size = widgets.FloatSpinBox(
            label="pixel size (µm)", max=1000, step=0.001, tooltip=_PIXEL_SIZE
        )
        self.by_pixel_size = widgets.CheckBox(text="find the scale by the pixel size")
        self.stain = widgets.ComboBox(label="stain", choices=STAINS, tooltip=_STAIN)
        self.nucleus_threshold = _share("nucleus threshold", _NUCLEUS_THRESHOLD)
        self.separation = _share("separation", _SEPARATION)
        self.min_diameter = _pixels("min diameter (pixels)", "smaller")
        self.max_diameter = _pixels("max diameter (pixels)", "larger")
        self.exclude_border = widgets.CheckBox(text="exclude border", tooltip=_BORDER)
        self.run_button = widgets.PushButton(text="Segment")
        self.cancel_button = widgets.PushButton(text="Cancel", enabled=False)
        self.progress = widgets.ProgressBar(label="planes", value=0, max=1)
        self.message = widgets.Label(value="")
        # From top to bottom in the order above.
        made = [each for each in vars(self).values() if isinstance(each, widgets.Widget)]
        super().__init__(widgets=made)
        self.image.changed.connect(self._fill)
        self.model.changed.connect(self._reset)
        self.own_model.changed.connect(self._reset)
        self.run_button.changed.connect(self.run)
        self.cancel_button.changed.connect(self.cancel)
        for event in ("inserted", "removed", "renamed"):
            getattr(viewer.layers.events, event).connect(self.image.reset_choices)
        self._fill()
        self._reset()

    def run(self) -> None:
        """Begin to segment the layer that is chosen; what is wrong is said in the widget."""
        layer = self.image.value
        if layer is None:
            self.message.value = "open an image first"
            return
        try:
            settings = self._settings()
        except ValueError as error:
            self.message.value = str(error)
            return
        data = layer.data[0] if layer.multiscale else layer.data
        planes = int(np.prod(_shape(data, layer.rgb)[:-2]))
        self.progress.value, self.progress.max = 0, planes
        self._set_running(True, f"segmenting {layer.name}")
        placement = {name: getattr(layer, name) for name in PLACEMENT}
        name = f"{layer.name} nuclei"
        worker = thread_worker(segmented)(data, layer.rgb, settings)
        worker.yielded.connect(lambda done: setattr(self.progress, "value", done))
        worker.returned.connect(lambda found: self._show(found, name, placement, settings))
        worker.errored.connect(lambda error: self._set_running(False, str(error)))
        worker.aborted.connect(lambda: self._set_running(False, "cancelled"))
        self._worker = worker
        worker.start()

    def cancel(self) -> None:
        """Stop after the plane at hand; no layer is added."""
        if self._worker is not None:
            self._worker.quit()
            self.message.value = "stops after this plane"

    def _chosen(self) -> str:
        """Return the name of the shipped model, or the path of the user's own."""
        own = self.own_model.value
        return str(own) if own and str(own) != "." else str(self.model.value)

    def _reset(self) -> None:
        """Show the parameters of the model that is chosen; a run says what is wrong with a file."""
        with suppress(OSError, ValueError):
            self._shown = _parameters(Model.load(self._chosen()))
            for name, value in self._shown.items():
                getattr(self, name).value = value

    def _settings(self) -> Settings:
        """Return what the fields say.

        Raises
        ------
        ValueError
            The least diameter is above the largest.
        """
        values = {name: getattr(self, name).value for name in self._shown}
        return Settings(
            model=self._chosen(),
            diameter=self.diameter.value or None,
            mpp=self.pixel_size.value or None,
            scale_by_mpp=bool(self.by_pixel_size.value and self.pixel_size.value),
            stain=self.stain.value,
            decoding=Decoding(
                **{name: value for name, value in values.items() if value != self._shown[name]},
                min_diameter=self.min_diameter.value or None,
                max_diameter=self.max_diameter.value or None,
                exclude_border=bool(self.exclude_border.value),
            ),
        )

    def _show(self, found: Found, name: str, placement: dict[str, Any], settings: Settings) -> None:
        """Add the labels, and dock the table of their measurements beside the widget."""
        layer = self._viewer.add_labels(
            found.labels,
            name=name,
            features=found.features,
            metadata={
                "nucleiseg": {
                    "model": settings.model,
                    "mpp": settings.mpp,
                    "stain": settings.stain,
                    **settings.decoding.given,
                }
            },
            **placement,
        )
        self._set_running(False, f"{len(found.features):,} nuclei in {layer.name}")
        window = getattr(self._viewer, "window", None)
        if window is not None:
            with suppress(ValueError):  # napari before 0.6.3 has no such widget
                window.add_plugin_dock_widget(*TABLE, tabify=True)

    def _set_running(self, running: bool, message: str) -> None:
        self.run_button.enabled, self.cancel_button.enabled = not running, running
        self.message.value = message
        if not running:
            self._worker = None

    def _images(self, _: Any) -> Sequence[tuple[str, Image]]:
        layers = self._viewer.layers
        return [(layer.name, layer) for layer in layers if isinstance(layer, Image)]

    def _fill(self) -> None:
        layer = self.image.value
        self.pixel_size.value = (layer_mpp(layer) if layer is not None else None) or 0.0


_DIAMETER = "Usual diameter of a nucleus in pixels; 0 estimates it."
_PIXEL_SIZE = "Micrometres per pixel, for measurements; 0 where it is unknown."
_STAIN = (
    "Of images in colour: dab finds brown nuclei, hematoxylin blue ones among brown membranes, he "
    "takes colours as they are, auto is he or dab."
)
_NUCLEUS_THRESHOLD = "Probability from which a pixel is nucleus. Lower: larger nuclei."
_SEPARATION = (
    "How far the map of distances must fall between two nuclei. Lower splits more, higher merges "
    "more."
)
_BORDER = "Drop nuclei that touch the border of the image."


def _share(label: str, tooltip: str) -> widgets.FloatSpinBox:
    """Return a field for a number from 0 to 1."""
    return widgets.FloatSpinBox(label=label, min=0, max=1, step=0.01, tooltip=tooltip)


def _pixels(label: str, dropped: str) -> widgets.FloatSpinBox:
    """Return a field for a limit of diameters."""
    tooltip = f"Drop nuclei that are {dropped}; 0 is no limit."
    return widgets.FloatSpinBox(label=label, max=5000, tooltip=tooltip)


def _parameters(model: Model) -> dict[str, float]:
    """Return the parameters of a model as the fields show them."""
    return {
        "nucleus_threshold": round(model.nucleus_threshold / 255, 2),
        "separation": round(model.prominence / 255, 2),
    }


def layer_mpp(layer: Image) -> float | None:
    """Return micrometres per pixel where a layer's scale has units of length, None where not.

    Parameters
    ----------
    layer : napari.layers.Image
        Its last two axes are rows and columns; pixels that are not square have no single size.
    """
    sides = []
    for scale, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True):
        try:
            sides.append(abs(float(scale)) * (1.0 * unit).to("micrometer").magnitude)
        except (AttributeError, pint.DimensionalityError):
            return None
    return pixel_size(*sides)


def segmented(data: Any, rgb: bool, settings: Settings) -> Generator[int, None, Found]:
    """Segment every plane of an array, one after the other.

    Parameters
    ----------
    data : array, (..., H, W) or (..., H, W, C)
        NumPy's, or a lazy one of which planes are loaded one by one.
    rgb : bool
        Whether the last axis holds colours.
    settings : Settings

    Yields
    ------
    int
        How many planes are done.

    Returns
    -------
    Found
        No two planes share a number. Its features have the column ``index`` with the label, and
        ``axis-0`` and so on with the place of the plane, where there are several.
    """
    shape = _shape(data, rgb)
    labels = np.zeros(shape, np.int32)
    tables: list[pd.DataFrame] = []
    count = 0
    for done, place in enumerate(product(*map(range, shape[:-2]))):
        yield done
        result = _analyzed(data[place], settings)
        labels[place] = np.where(result.labels > 0, result.labels + count, 0)
        tables.append(_features(result, count, place))
        count += len(result)
        yield done + 1
    features = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"index": []})
    return Found(labels, features)


def _analyzed(data: Any, settings: Settings) -> Result:
    try:
        plane = dtypes.accepted(np.ascontiguousarray(data))
    except UnacceptedError as error:
        raise ValueError(f"image: {error}") from None
    result = _segmenter(settings.model).analyze(plane, **settings.options())
    result.mpp = settings.mpp
    return result


def _features(result: Result, before: int, place: tuple[int, ...]) -> pd.DataFrame:
    """Return the measurements of a plane, whose labels begin behind those of others."""
    table = result.table.to_pandas().rename(columns={"label": "index"})
    table["index"] += before
    for axis, number in enumerate(place):
        table.insert(1 + axis, f"axis-{axis}", number)
    return table


def _shape(data: Any, rgb: bool) -> tuple[int, ...]:
    return tuple(data.shape[:-1] if rgb else data.shape)


@cache
def _segmenter(model: str) -> Segmenter:
    return Segmenter(model)
