"""What the report keeps of one image."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg.model import Model
from nucleiseg.report.flags import Flag, Nuclei, confidence, flags
from nucleiseg.report.focus import edge_blur
from nucleiseg.report.thumbnails import URI, thumbnails
from nucleiseg.result import Result

MOST = 1e30
"""Magnitude of intensities that a histogram can show; larger ones are counted as this."""


class Failure(NamedTuple):
    """An image that could not be segmented, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """What the report keeps of one image: up to 40 kB, and 8 bytes of each nucleus.

    Attributes
    ----------
    name : str
    height, width : int
    dtype : str
        Of the image, such as ``"uint8"``: intensities of different ones cannot be compared.
    mpp : float or None
        Micrometres per pixel.
    scale : float
        The factor by which the network saw the image shrunk.
    nuclei, cut : int
        How many there are, and how many of them touch the border.
    covered : float
        Share of the image that is nucleus, 0..1.
    diameters : ndarray, (n,) float32
        Pixels, of nuclei that do not touch the border.
    intensities : ndarray, (nuclei,) float32
        Means of nuclei, in the image's own units.
    confidence : float or None
        Mean probability of the pixels of nuclei, 0..1.
    blur : float or None
        Of the edges of nuclei, in pixels.
    flags : list of Flag
        Why the image is worth a second look.
    thumbnail, outlines : str
        Data URIs.
    size : tuple of int
        Height and width of the thumbnail.
    files : list of str
        Paths of its outputs, relative to the page.
    """

    name: str
    height: int
    width: int
    dtype: str
    mpp: float | None
    scale: float
    nuclei: int
    cut: int
    covered: float
    diameters: NDArray[np.float32]
    intensities: NDArray[np.float32]
    confidence: float | None
    blur: float | None
    flags: list[Flag]
    thumbnail: str
    outlines: str
    size: tuple[int, int]
    files: list[str]

    @classmethod
    def of(cls, name: str, result: Result, model: Model, files: Sequence[str] = ()) -> Entry:
        """Return the entry of a result, with the paths of its files relative to the page."""
        nuclei = Nuclei.of(result.table)
        blur = edge_blur(result.image, result.labels)
        size, picture, outlines = thumbnails(result.image, result.labels)
        doubts = [Flag("doubtful intensities", _sentence(result.doubt))] if result.doubt else []
        return cls(
            name=name,
            height=result.labels.shape[0],
            width=result.labels.shape[1],
            dtype=str(result.image.dtype),
            mpp=result.mpp,
            scale=result.scale,
            nuclei=nuclei.areas.size,
            cut=int(nuclei.cut.sum()),
            covered=float(nuclei.areas.sum() / result.labels.size),
            diameters=nuclei.diameters[~nuclei.cut].astype(np.float32),
            intensities=np.clip(nuclei.intensities, -MOST, MOST).astype(np.float32),
            confidence=confidence(nuclei),
            blur=blur,
            flags=[*flags(nuclei, blur, result.scale, model), *doubts],
            thumbnail=picture,
            outlines=outlines,
            size=size,
            files=list(files),
        )

    def kept(self) -> dict[str, Any]:
        """Return all but the name and the files as what JSON can hold."""
        kept = asdict(self)
        del kept["name"], kept["files"]
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in kept.items()}

    @classmethod
    def restored(cls, name: str, kept: Any, files: Sequence[str] = ()) -> Entry:
        """Return the entry that `kept` was returned for.

        Raises
        ------
        ValueError
            It is not one: whatever the page shows is checked here.
        """
        try:
            values = {name: check(kept[name]) for name, check in _CHECKS.items()}
            fits = len(values["intensities"]) == values["nuclei"] >= len(values["diameters"])
            if not fits or len(kept) > len(_CHECKS):
                raise ValueError("counts that do not fit")
            return cls(name=name, files=list(files), **values)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"no entry of a report: {error}") from None


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _number(least: float, most: float, *, whole: bool = False) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        is_number = type(value) is int or (type(value) is float and not whole)
        if not is_number or not least <= value <= most:
            raise ValueError(f"a number out of its range: {value!r:.80}")
        return value

    return check


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _array(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: np.array([check(value) for value in _list(values)], np.float32)


def _text(pattern: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"a text of another form: {value!r:.80}")
        return value

    return check


def _list(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise TypeError("no list")
    return values


def _size(values: Any) -> Any:
    height, width = map(_number(1, 2**16, whole=True), _list(values))
    return height, width


def _flags(values: Any) -> list[Flag]:
    words = _text(r"[^\0]{1,1000}")
    return [Flag(words(flag["name"]), words(flag["reason"])) for flag in _list(values)]


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "height": _number(1, 2**31, whole=True),
    "width": _number(1, 2**31, whole=True),
    "dtype": _text(r"[a-z]{1,20}\d{1,3}"),
    "mpp": _optional(_number(1e-6, 1e6)),
    "scale": _number(1e-3, 1e3),
    "nuclei": _number(0, 2**31, whole=True),
    "cut": _number(0, 2**31, whole=True),
    "covered": _number(0, 1),
    "diameters": _array(_number(0, 1e6)),
    "intensities": _array(_number(-MOST, MOST)),
    "confidence": _optional(_number(0, 1)),
    "blur": _optional(_number(0, float("inf"))),
    "flags": _flags,
    "thumbnail": _text(URI + "[A-Za-z0-9+/]+={0,2}"),
    "outlines": _text(URI + "[A-Za-z0-9+/]+={0,2}"),
    "size": _size,
}
"""What each value must be; the names are those of `Entry.kept`."""
