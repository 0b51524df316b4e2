"""The model: an ONNX file, and beside it a JSON file that says what it is.

``nuclei.onnx`` goes with ``nuclei.json``; the JSON holds the ONNX file's SHA-256, so a damaged
download or a mixed-up pair is found before anything is computed with it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

DEFAULT_PATH = Path(__file__).parent / "models" / "nuclei.onnx"

SMALL_PEAK = 60
"""Least peak of nuclei in a look for small ones: the smaller a nucleus, the more of its peak the
smoothing takes."""

SURE_PROMINENCE = 75
"""Of nuclei that are not in pieces. Where they are far larger than the model likes, it sees peaks
within them that stand out by more than its own prominence."""

SURE_PEAK = 175
"""Least peak of nuclei that are no noise: magnified several times, noise is as large as nuclei."""

Look = Literal["small", "sure"]
"""What a look for the size of nuclei is after: all nuclei, however small, or only those that are
whole and no noise."""

PERCENTILES = (1.0, 99.8)
"""The limits of a field full of nuclei, which become 0 and 255: ``csrc/kernels/limits.h``. Nuclei
can be a few thousandths of a fluorescence field, so the upper one is near the end."""


class ModelError(ValueError):
    """A model file that cannot be used: missing, damaged or without its description."""


@dataclass(frozen=True)
class Model:
    """A network in ONNX with what is needed to use it.

    The network takes (N, 3, h, w) float32 RGB in 0..255, sides multiples of `stride`, and gives
    cells, (N, 8, h / 2, w / 2) float32 in 0..1: nucleus probability and centre distance of 2 x 2
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
        Micrometres a pixel at which it is at its best.
    diameter : float
        Usual diameter of nuclei, in pixels, at which it is at its best.
    good_diameters : tuple of float
        Usual diameters between which resizing the image gains nothing.
    nucleus_threshold : int
        Probability (0..255) from which a pixel is nucleus.
    marker_threshold : int
        Centre distance (0..255) that the peaks of nuclei reach that touch each other.
    prominence : int
        How far the lower of their peaks is above the pass between them.
    min_area : int
        Nuclei of fewer pixels are dropped.
    min_peak : int
        Nuclei whose peak is lower are dropped.
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
    min_area: int
    min_peak: int
    metadata: dict[str, Any]

    @classmethod
    def load(cls, path: str | Path | None = None) -> Model:
        """Read and verify a model.

        Parameters
        ----------
        path : str or Path, optional
            The ONNX file, with its JSON of the same stem beside it. The shipped model when left
            out.

        Raises
        ------
        ModelError
            The file or its JSON is missing or malformed, or the checksum differs.
        """
        file = DEFAULT_PATH if path is None else Path(path)
        checksum = _checksum(file)
        metadata = _metadata(file.with_suffix(".json"))
        try:
            model = cls(
                path=file,
                name=str(metadata["name"]),
                version=str(metadata["version"]),
                licence=str(metadata["licence"]),
                data=[str(entry) for entry in metadata["data"]],
                checksum=str(metadata["sha256"]),
                stride=int(metadata["input"]["stride"]),
                halo=int(metadata["input"]["halo"]),
                percentiles=_pair(metadata["input"]["percentiles"]),
                mpp=float(metadata["input"]["mpp"]),
                diameter=float(metadata["input"]["diameter"]),
                good_diameters=_pair(metadata["input"]["good_diameters"]),
                nucleus_threshold=int(metadata["decoding"]["nucleus_threshold"]),
                marker_threshold=int(metadata["decoding"]["marker_threshold"]),
                prominence=int(metadata["decoding"]["prominence"]),
                min_area=int(metadata["decoding"]["min_area"]),
                min_peak=int(metadata["decoding"]["min_peak"]),
                metadata=metadata,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"model: {file.with_suffix('.json')} lacks or misstates an entry ({error!r})"
            ) from error
        if model.checksum != checksum:
            raise ModelError(
                f"model: {file} has SHA-256 {checksum}, but {file.with_suffix('.json').name} "
                f"says {model.checksum}; the file is damaged or not the one described: "
                "install the package again or restore the file"
            )
        return model

    def label_rule(
        self, scale: float = 1.0, look: Look | None = None
    ) -> tuple[int, int, int, int, int]:
        """Give what decides which pixels are nuclei of their own.

        Parameters
        ----------
        scale : float
            How far the maps were magnified: the least area grows with its square.
        look : {"small", "sure"}, optional
            For a look for the size of nuclei, instead of for an answer.

        Returns
        -------
        nucleus_threshold, marker_threshold, prominence, min_area, min_peak : int
        """
        min_area = max(1, round(self.min_area * scale**2))
        small_peak = min(SMALL_PEAK, self.min_peak)
        min_peak = {None: self.min_peak, "small": small_peak, "sure": SURE_PEAK}[look]
        return (
            self.nucleus_threshold,
            self.marker_threshold,
            SURE_PROMINENCE if look == "sure" else self.prominence,
            min_area,
            min_peak,
        )


def _checksum(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            f"model: cannot read {file} ({error.strerror}); expected an ONNX file"
        ) from error


def _metadata(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"model: cannot read {file} ({error.strerror}); "
            "a model is an ONNX file with a JSON file of the same stem beside it"
        ) from error
    except ValueError as error:
        raise ModelError(f"model: {file} is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"model: {file} holds a {type(content).__name__}; expected an object")
    return content


def _pair(values: Any) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)
