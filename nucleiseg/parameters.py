"""The parameters that decide what counts as a nucleus, and which nuclei are kept.

Two change the decoding of the network's maps: ``nucleus_threshold`` and ``separation``. The others
choose among the nuclei that were found; that is the last step, on the host, so that it is the same
for every device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.model import Model
from nucleiseg.resizing import Scale
from nucleiseg.stains import Stain

_LARGEST = 2**31
"""Limit of areas and diameters, in pixels: no label is larger."""

_ROWS = 256
"""Rows of labels that are renumbered at once, which bounds the memory."""


class Parameters(TypedDict, total=False):
    """What a caller may give; `Decoding` describes each."""

    nucleus_threshold: float | None
    separation: float | None
    min_area: float | None
    min_diameter: float | None
    max_diameter: float | None
    exclude_border: bool


class Options(Parameters, total=False):
    """What `nucleiseg.Segmenter.segment` takes by name beside its image, output and ``to_host``."""

    scale: Scale
    mpp: float | None
    diameter: float | None
    stain: Stain


class HostOptions(Options, total=False):
    """The same for results that are NumPy's arrays."""

    to_host: Literal[True]


class DecodeOptions(Parameters, total=False):
    """What `nucleiseg.Segmenter.decode` takes by name for such results."""

    scale: float
    to_host: Literal[True]


@dataclass(frozen=True)
class Decoding:
    """How maps become nuclei, as far as a caller decides it; None is what the model says.

    Attributes
    ----------
    nucleus_threshold : float, optional
        Probability, 0 to 1, from which a pixel is nucleus. Lower: larger nuclei, and paler ones.
    separation : float, optional
        How far, 0 to 1, the map of distances must fall between two maxima for them to be two
        nuclei (the prominence of the lower one). Lower splits more, higher merges more. It takes
        the place of the model's own decision, which sees sizes and shapes, too.
    min_area : float, optional
        Pixels of the image; nuclei with fewer are dropped.
    min_diameter, max_diameter : float, optional
        Pixels of the image: of the circle with a nucleus's area (the table's column
        ``equivalent_diameter_area``). Nuclei outside of this range are dropped.
    exclude_border : bool
        Drop nuclei that touch the border of the image.

    Raises
    ------
    ValueError
        One of them is out of its range, which the message names.
    """

    nucleus_threshold: float | None = None
    separation: float | None = None
    min_area: float | None = None
    min_diameter: float | None = None
    max_diameter: float | None = None
    exclude_border: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("nucleus_threshold", "separation"):
            _check(name, getattr(self, name), 1, "numbers from 0 to 1")
        for name in ("min_area", "min_diameter", "max_diameter"):
            _check(name, getattr(self, name), _LARGEST, "numbers of pixels from 0 up")
        if not isinstance(self.exclude_border, bool | np.bool_):
            raise ValueError(
                f"exclude_border: got {self.exclude_border!r}; accepted are True and False"
            )
        low, high = self.min_diameter, self.max_diameter
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"min_diameter: got {low:g}, above the max_diameter of {high:g}; "
                "accepted are numbers up to it"
            )

    @property
    def is_selective(self) -> bool:
        """Whether any nucleus that was found may be dropped."""
        limits = (self.min_area, self.min_diameter, self.max_diameter)
        return self.exclude_border or any(limit is not None for limit in limits)

    @property
    def given(self) -> dict[str, Any]:
        """The parameters that differ from the model's, by name; what JSON can hold."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value if value is True else float(value)
            for name, value in values.items()
            if value is not None and value is not False
        }

    def model(self, model: Model) -> Model:
        """Return a model with the decoding that was asked for."""
        changes: dict[str, Any] = {}
        if self.nucleus_threshold is not None:
            # The least byte whose probability reaches the threshold.
            threshold = math.ceil(round(255 * self.nucleus_threshold, 6))
            changes["nucleus_threshold"] = threshold
            if model.min_probability > model.nucleus_threshold:
                # As far between the threshold and 1 as the model's.
                share = (255 - model.min_probability) / (255 - model.nucleus_threshold)
                changes["min_probability"] = round(255 - share * (255 - threshold))
        if self.separation is not None:
            changes["prominence"] = round(255 * self.separation)
            changes["merging"] = None
        if self.min_area is not None:
            changes["min_area"] = 0  # `select` compares areas in pixels of the image
        return replace(model, **changes) if changes else model

    def needed(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """Return the outputs that a pipeline has to make for those that are wanted."""
        if not self.is_selective:
            return tuple(outputs)
        return tuple(dict.fromkeys("labels" if each == "mask" else each for each in outputs))

    def select(
        self, wanted: Sequence[str], needed: Sequence[str], found: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Return the wanted outputs, without nuclei that are to be dropped.

        Parameters
        ----------
        wanted, needed : sequence of str
            As `needed` takes and returns them.
        found : sequence of array
            The needed outputs, on the host.
        """
        if not self.is_selective:
            return tuple(found)
        outputs = dict(zip(needed, found, strict=True))
        if "labels" in outputs:
            outputs["labels"] = self.selected(outputs["labels"])
        if "mask" in wanted:
            outputs["mask"] = outputs["labels"] > 0
        return tuple(outputs[name] for name in wanted)

    def selected(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return labels, (H, W) int32, changed: nuclei that are kept, numbered from 1 again."""
        areas = cpu.areas(labels)
        edges = labels[[0, -1]], labels[:, [0, -1]]
        cut = np.zeros(len(areas) + 1, np.bool_)
        cut[np.concatenate([edge.ravel() for edge in edges])] = True
        kept = self.kept(areas, np.sqrt(4 * areas / np.pi), cut[1:])
        if kept.all():
            return labels
        numbers = np.zeros(len(areas) + 1, np.int32)
        numbers[1:] = np.where(kept, np.cumsum(kept), 0)
        for top in range(0, len(labels), _ROWS):
            part = labels[top : top + _ROWS]
            part[:] = numbers[part]
        return labels

    def kept(
        self,
        areas: NDArray[Any],
        diameters: NDArray[np.float64],
        cut: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Return which nuclei are kept.

        Parameters
        ----------
        areas, diameters : ndarray, (n,)
            In pixels of the image.
        cut : ndarray, (n,) bool
            Which of them touch the border.
        """
        kept = ~cut if self.exclude_border else np.ones(len(areas), np.bool_)
        if self.min_area is not None:
            kept &= areas >= self.min_area
        if self.min_diameter is not None:
            kept &= diameters >= self.min_diameter
        if self.max_diameter is not None:
            kept &= diameters <= self.max_diameter
        return kept


def _check(name: str, value: Any, most: float, accepted: str) -> None:
    """Raise ValueError unless a value is None or a number from 0 to ``most``."""
    if value is None:
        return
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if isinstance(value, bool) or not is_number or not 0 <= value <= most:
        raise ValueError(f"{name}: got {value!r}; accepted are {accepted}")
