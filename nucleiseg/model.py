"""A model: an ONNX file, and beside it a JSON file that says what it is.

``nuclei-fast.onnx`` goes with ``nuclei-fast.json``; the JSON holds the ONNX file's SHA-256, so a
damaged download or a mixed-up pair is found before anything is computed with it. The models that
ship with the package lie in its folder ``models``, and are named by the stems of their files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

MODELS = Path(__file__).parent / "models"
"""The folder of the shipped models."""

DEFAULT, FAST = "nuclei", "nuclei-fast"
"""The shipped model that is used where none is named, and the small one."""

_LONGEST_TEXT = 1000
_LARGEST_DESCRIPTION = 2**20
"""Bytes of the JSON file: 400 times the shipped one's."""

PERCENTILES = (1.0, 99.8)
"""The limits of a field full of nuclei, which become 0 and 255: ``csrc/kernels/limits.h``. Nuclei
can be a few thousandths of a fluorescence field, so the upper one is near the end."""


MERGE_UNITS, MERGE_INPUTS, MOST_MERGE_WEIGHT = 16, 12, 2**20
"""Size of the network that merges basins, and bound of its weights: ``csrc/kernels/merge.h``."""


class Merging(NamedTuple):
    """The small network that says which basins are one nucleus.

    Attributes
    ----------
    pixel : float
        Area of one pixel of the maps in pixels of the network.
    prominence : int
        Basins whose peak stands out by this or more, 1..255, are not merged.
    weights : tuple of int
        Of each unit those of its inputs and its offset, then those of the output.
    """

    pixel: float
    prominence: int
    weights: tuple[int, ...]


LabelRule = tuple[int, int, int, int, int, int, Merging | None]


class ModelError(ValueError):
    """A model file that cannot be used: missing, damaged or without its description."""


@dataclass(frozen=True)
class Model:
    """A network in ONNX with what is needed to use it.

    The network takes (N, h, w, 3) uint8 RGB, sides multiples of `stride`, and gives cells,
    (N, h / 2, w / 2, 8) uint8, 0..255 for 0..1: nucleus probability and centre distance of 2 x 2
    pixels in raster order.

    Attributes
    ----------
    path : Path
        The ONNX file.
    name, version, licence : str
    data : list of str
        The data sets it was trained on.
    checksum : str
        SHA-256 of the ONNX file, hexadecimal.
    stride : int
        Image sides given to the network are multiples of this many pixels.
    halo : int
        The maps of a stride-aligned cell depend on this many pixels around it, a multiple of
        the stride.
    percentiles : tuple of float
        Of a field full of nuclei, which become 0 and 255.
    mpp : float
        Micrometres per pixel at which it is at its best.
    diameter : float
        Usual diameter of nuclei, in pixels, at which it is at its best.
    good_diameters : tuple of float
        Usual diameters between which resizing the image gains nothing.
    nucleus_threshold : int
        Probability (0..255) from which a pixel is nucleus.
    marker_threshold : int
        Centre distance (0..255) that the peaks of nuclei reach that touch each other.
    prominence : int
        Height of the lower of their peaks above the saddle between them, at least, where nothing
        else decides.
    merging : Merging, optional
        What decides instead; ``decoding.merging`` in the JSON.
    least_prominence : int
        Basins of a lower prominence become one without being asked about.
    min_area : int
        Nuclei of fewer pixels are dropped.
    min_peak : int
        Nuclei whose peak is lower are dropped.
    min_probability : int
        Nuclei whose pixels have a lower mean probability (0..255) are dropped; 0 where the JSON
        does not say.
    metadata : dict
        All of the JSON file, figures included.
    """

    path: Path
    name: str
    version: str
    licence: str
    data: list[str]
    checksum: str
    stride: int
    halo: int
    percentiles: tuple[float, float]
    mpp: float
    diameter: float
    good_diameters: tuple[float, float]
    nucleus_threshold: int
    marker_threshold: int
    prominence: int
    merging: Merging | None
    least_prominence: int
    min_area: int
    min_peak: int
    min_probability: int
    metadata: dict[str, Any]

    @classmethod
    def load(cls, model: str | Path = DEFAULT) -> Model:
        """Read and verify a model.

        Parameters
        ----------
        model : str or Path
            The name of a shipped model, such as "nuclei-fast", or an ONNX file with its JSON of
            the same stem beside it. Text without a separator and without ".onnx" is a name, even
            where there is a file that is called so; all else, and every `Path`, is a file.

        Raises
        ------
        ModelError
            No model of that name is shipped, the file or its JSON is missing or malformed, or the
            checksum differs.
        """
        file = _file(model)
        checksum = _checksum(file)
        description = file.with_suffix(".json")
        metadata = _metadata(description)
        entries = _Entries(description, metadata)
        stride = entries.whole("input.stride", 2, 256)
        prominence = entries.whole("decoding.prominence", 0, 255)
        merging = entries.merging("decoding.merging")
        least = "decoding.merging.least_prominence"
        found = cls(
            path=file,
            name=entries.text("name"),
            version=entries.text("version"),
            licence=entries.text("licence"),
            data=entries.texts("data"),
            checksum=entries.text("sha256", "[0-9a-f]{64}"),
            stride=stride,
            halo=entries.whole("input.halo", 0, 512, stride),
            percentiles=entries.pair("input.percentiles", 0, 100),
            mpp=entries.number("input.mpp", 0.001, 1000),
            diameter=entries.number("input.diameter", 1, 1000),
            good_diameters=entries.pair("input.good_diameters", 1, 1000),
            nucleus_threshold=entries.whole("decoding.nucleus_threshold", 0, 255),
            marker_threshold=entries.whole("decoding.marker_threshold", 0, 255),
            prominence=prominence,
            merging=merging,
            least_prominence=entries.whole(least, 0, 255) if merging else prominence,
            min_area=entries.whole("decoding.min_area", 0, 2**20),
            min_peak=entries.whole("decoding.min_peak", 0, 255),
            min_probability=entries.whole("decoding.min_probability", 0, 255, default=0),
            metadata=metadata,
        )
        if found.checksum != checksum:
            raise ModelError(
                f"model: {file} has SHA-256 {checksum}, but {description.name} "
                f"says {found.checksum}; the file is damaged or not the one described: "
                "install the package again or restore the file"
            )
        return found

    @property
    def identity(self) -> dict[str, str]:
        """Name, version and SHA-256: which model made an output."""
        return {"name": self.name, "version": self.version, "sha256": self.checksum}

    def label_rule(self, scale: float = 1.0) -> LabelRule:
        """Return the settings that decide which pixels are a nucleus of their own.

        Parameters
        ----------
        scale : float
            How far the maps were magnified: areas grow with its square.

        Returns
        -------
        nucleus_threshold, marker_threshold, prominence, min_area, min_peak, min_probability : int
        merging : Merging or None
        """
        return (
            self.nucleus_threshold,
            self.marker_threshold,
            self.least_prominence if self.merging else self.prominence,
            max(min(1, self.min_area), round(self.min_area * scale**2)),
            self.min_peak,
            self.min_probability,
            self.merging and self.merging._replace(pixel=1 / (scale * scale)),
        )


def shipped() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(file.stem for file in MODELS.glob("*.onnx"))


def _file(model: str | Path) -> Path:
    text = str(model)
    is_name = Path(text).name == text and not text.endswith(".onnx")
    if isinstance(model, os.PathLike) or not is_name:
        return Path(model)
    if text not in shipped():
        raise ModelError(f"model: got {model!r}; accepted are {_accepted()}")
    return MODELS / f"{text}.onnx"


def _accepted() -> str:
    return " and ".join([", ".join(map(repr, shipped())), "the path of an .onnx file"])


def _checksum(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            f"model: cannot read {file} ({error.strerror}); accepted are {_accepted()}"
        ) from error


def _metadata(file: Path) -> dict[str, Any]:
    try:
        size = file.stat().st_size
        if size > _LARGEST_DESCRIPTION:
            raise ModelError(
                f"model: {file} has {size:,} bytes; accepted are up to {_LARGEST_DESCRIPTION:,}"
            )
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"model: cannot read {file} ({error.strerror}); "
            "a model is an ONNX file with a JSON file of the same stem beside it"
        ) from error
    except ModelError:
        raise
    except (ValueError, RecursionError) as error:
        raise ModelError(f"model: {file} is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"model: {file} holds a {type(content).__name__}; expected an object")
    return content


class _Entries:
    """The entries of a description by their path, such as ``"input.stride"``, each checked."""

    def __init__(self, file: Path, content: dict[str, Any]) -> None:
        self._file = file
        self._content = content

    def text(self, path: str, pattern: str = ".*") -> str:
        return self._checked_text(path, self._entry(path), pattern)

    def texts(self, path: str) -> list[str]:
        return [self._checked_text(path, one) for one in self._list(path)]

    def whole(
        self, path: str, least: int, most: int, multiple: int = 1, default: int | None = None
    ) -> int:
        if default is not None and not self._has(path):
            return default
        value = self._entry(path)
        if type(value) is not int or not least <= value <= most or value % multiple:
            what = f"a multiple of {multiple}" if multiple > 1 else "a whole number"
            raise self._error(path, value, f"{what} from {least} to {most}")
        return value

    def number(self, path: str, least: float, most: float) -> float:
        return self._checked_number(path, self._entry(path), least, most)

    def pair(self, path: str, least: float, most: float) -> tuple[float, float]:
        values = self._list(path)
        if len(values) != 2:
            raise self._error(path, values, "two numbers")
        low, high = (self._checked_number(path, value, least, most) for value in values)
        if low >= high:
            raise self._error(path, values, "two numbers, the lower first")
        return low, high

    def merging(self, path: str) -> Merging | None:
        """None where there is no such entry."""
        if not self._has(path):
            return None
        units = self._list(f"{path}.units")
        if len(units) != MERGE_UNITS:
            raise self._error(f"{path}.units", units, f"{MERGE_UNITS} lists")
        rows = [self._weights(f"{path}.units", unit, MERGE_INPUTS + 1) for unit in units]
        rows.append(self._weights(f"{path}.output", self._list(f"{path}.output"), MERGE_UNITS + 1))
        prominence = self.whole(f"{path}.most_prominence", 1, 255)
        return Merging(1.0, prominence, tuple(weight for row in rows for weight in row))

    def _weights(self, path: str, values: Any, count: int) -> list[int]:
        accepted = f"{count} whole numbers from {-MOST_MERGE_WEIGHT} to {MOST_MERGE_WEIGHT}"
        if not isinstance(values, list) or len(values) != count:
            raise self._error(path, values, accepted)
        if any(type(value) is not int or abs(value) > MOST_MERGE_WEIGHT for value in values):
            raise self._error(path, values, accepted)
        return values

    def _has(self, path: str) -> bool:
        parent, _, key = path.rpartition(".")
        return key in self._entry(parent)

    def _entry(self, path: str) -> Any:
        found: Any = self._content
        for key in path.split("."):
            if not isinstance(found, dict) or key not in found:
                raise ModelError(f"model: {self._file} lacks the entry {path}")
            found = found[key]
        return found

    def _list(self, path: str) -> list[Any]:
        values = self._entry(path)
        if not isinstance(values, list):
            raise self._error(path, values, "a list")
        return values

    def _checked_text(self, path: str, value: Any, pattern: str = ".*") -> str:
        is_text = isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()
        if not is_text or not re.fullmatch(pattern, value):
            what = "SHA-256 in hexadecimal" if pattern != ".*" else "printable text"
            raise self._error(path, value, what)
        return str(value)

    def _checked_number(self, path: str, value: Any, least: float, most: float) -> float:
        is_number = type(value) in (int, float) and math.isfinite(value)
        if not is_number or not least <= value <= most:
            raise self._error(path, value, f"a number from {least:g} to {most:g}")
        return float(value)

    def _error(self, path: str, value: Any, accepted: str) -> ModelError:
        got = ascii(value)
        if len(got) > 80:
            got = f"{got[:80]}..."
        return ModelError(f"model: {self._file}: {path}: got {got}; accepted is {accepted}")
