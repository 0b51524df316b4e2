"""Outlines as GeoJSON for QuPath 0.4 and later: a detection of class Nucleus for each nucleus.

Coordinates are (x, y) in pixels of level 0, rounded to a tenth, and measurements have four digits.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import json
import zipfile
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nucleiseg.outputs.geojson import CLASSIFICATION, DIGITS, measurement
from nucleiseg.slides.nuclei import Nuclei, SlideInfo
from nucleiseg.slides.outputs.geoparquet import closed
from nucleiseg.slides.outputs.one_file import OneFile

Measurements = Literal["few", "all", "none"]
Compression = Literal["none", "gz", "zip"]

SUFFIXES = {"none": "", "gz": ".gz", "zip": ".zip"}

_LEVEL = 1
"""Of deflate. Level 6 takes four times as long for a tenth fewer bytes."""

_BATCH = 4096
"""Nuclei that are text at once."""


class GeoJson(OneFile):
    """Writes ``nuclei.geojson``, ``nuclei.geojson.gz`` or ``nuclei.geojson.zip``.

    Parameters
    ----------
    measurements : {"few", "all", "none"}
        Area, diameter and confidence; these and every feature; or none.
    compression : {"none", "gz", "zip"}
        QuPath opens GeoJSON as it is and in a zip file; most other programs read ``.gz``.

    Raises
    ------
    ValueError
        An argument is none of these.
    """

    about = "outlines for QuPath"

    def __init__(
        self, measurements: Measurements = "few", compression: Compression = "none"
    ) -> None:
        if measurements not in ("few", "all", "none"):
            raise ValueError(f"measurements: got {measurements!r}; accepted are few, all and none")
        if compression not in SUFFIXES:
            raise ValueError(f"compression: got {compression!r}; accepted are none, gz and zip")
        self.measurements = measurements
        self.compression = compression
        self.name = f"nuclei.geojson{SUFFIXES[compression]}"
        self.options = {"measurements": measurements}

    def _open(self) -> None:
        self._stack = contextlib.ExitStack()
        self._text = _compressed(self._file, self.compression, self._stack)
        self._id = _id_prefix(self.info)
        self._text.write(b'{"type":"FeatureCollection","features":[')

    def _write(self, nuclei: Nuclei) -> None:
        for first in range(0, len(nuclei), _BATCH):
            separator = ",\n" if self._written or first else "\n"
            batch = self._features(nuclei.part(first, first + _BATCH))
            self._text.write((separator + ",\n".join(batch)).encode())

    def _complete(self) -> None:
        self._text.write(b"\n]}\n")

    def _close(self) -> None:
        self._stack.close()
        super()._close()

    def _features(self, nuclei: Nuclei) -> list[str]:
        before = f'{{"type":"Feature","id":"{self._id}'
        between = '","geometry":{"type":"Polygon","coordinates":[['
        classification = json.dumps(CLASSIFICATION, separators=(",", ":"))
        after = f']]}},"properties":{{"objectType":"detection","classification":{classification}'
        return [
            f"{before}{number:012x}{between}{ring}{after}{measured}}}}}"
            for number, ring, measured in zip(
                nuclei.id.tolist(), ring_texts(nuclei), self._measured(nuclei), strict=True
            )
        ]

    def _measured(self, nuclei: Nuclei) -> list[str]:
        """Return ``,"measurements":{...}`` of each nucleus, without what is not known."""
        values = measurements_of(nuclei, self.info, self.measurements)
        if not values:
            return [""] * len(nuclei)
        columns = np.stack([np.asarray(column, np.float64) for column in values.values()], axis=1)
        names = [json.dumps(name).replace("%", "%%") for name in values]
        items = [f"{name}:%.{DIGITS}g" for name in names]
        template = _measurements(items)
        texts = [template % tuple(row) for row in columns.tolist()]
        known = np.isfinite(columns)
        for row in np.flatnonzero(~known.all(axis=1)):
            some = _measurements([item for item, ok in zip(items, known[row], strict=True) if ok])
            texts[row] = some % tuple(columns[row, known[row]])
        return texts


def measurements_of(
    nuclei: Nuclei, info: SlideInfo, which: Measurements
) -> dict[str, NDArray[Any]]:
    """Return the measurements by QuPath's names."""
    if which == "none":
        return {}
    few: dict[str, NDArray[Any]] = {
        measurement("Area", 2): nuclei.area * (info.mpp[0] * info.mpp[1]),
        measurement("Diameter", 1): nuclei.diameter * info.mean_mpp,
        measurement("Confidence", 0): nuclei.confidence,
    }
    more = nuclei.features if which == "all" else {}
    return few | {f"Nucleus: {name}": values for name, values in more.items()}


def ring_texts(nuclei: Nuclei) -> list[str]:
    """Return each outline as the text of its points: ``[1.5,2],[3,4],[1.5,2]``.

    Raises
    ------
    ValueError
        A coordinate has more than eight digits before the point.

    Notes
    -----
    A point is a record of characters with room for the longest, and another record says which of
    them count.
    """
    offsets, indices = closed(nuclei)
    points = nuclei.outline_points[indices]
    characters, kept = np.zeros(len(points), _POINT), np.zeros(len(points), _POINT)
    for name, axis, separator in (("x", 1, "["), ("y", 0, ",")):
        characters[name]["separator"] = ord(separator)
        kept[name]["separator"] = True
        _write_numbers(points[:, axis], characters[name], kept[name])
    characters["end"], characters["comma"] = ord("]"), ord(",")
    kept["end"] = kept["comma"] = True
    kept["comma"][offsets[1:] - 1] = False
    chosen = kept.view(np.bool_).reshape(len(points), _POINT.itemsize)
    text = characters.view(np.uint8).reshape(chosen.shape)[chosen].tobytes().decode("ascii")
    ends = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))])[offsets].tolist()
    return [text[first:last] for first, last in itertools.pairwise(ends)]


_NUMBER = np.dtype(
    [("separator", "u1"), ("sign", "u1"), ("high", "u4"), ("low", "u4"), ("decimal", "u2")]
)
"""Characters of a number: four digits and four digits before the point; the point and one digit."""

_POINT = np.dtype([("x", _NUMBER), ("y", _NUMBER), ("end", "u1"), ("comma", "u1")])


def _looked_up(texts: list[bytes], dtype: str) -> NDArray[Any]:
    return np.frombuffer(b"".join(texts), dtype)


_DIGITS = _looked_up([b"%04d" % number for number in range(10**4)], "u4")
_KEPT = _looked_up([bytes(4 - len(f"{n}")) + b"\1" * len(f"{n}") for n in range(10**4)], "u4")
"""Which of four digits count: those that are no leading zeros."""

_ALL_KEPT = _looked_up([b"\1" * 4], "u4")[0]
_DECIMALS = _looked_up([b".%d" % digit for digit in range(10)], "u2")


def _write_numbers(
    values: NDArray[np.float32], characters: NDArray[np.void], kept: NDArray[np.void]
) -> None:
    """Write numbers, rounded to a tenth, into records of `_NUMBER`."""
    if len(values) and not np.abs(values).max() < 10**8:
        raise ValueError(f"outline_points: got {values.max()}; accepted are below 10^8 pixels")
    tenths = np.rint(values.astype(np.float64) * 10).astype(np.int32)
    whole, decimal = np.divmod(np.abs(tenths), 10)
    high, low = np.divmod(whole, 10**4)
    characters["sign"], kept["sign"] = ord("-"), tenths < 0
    characters["high"], kept["high"] = _DIGITS[high], np.where(high, _KEPT[high], 0)
    characters["low"], kept["low"] = _DIGITS[low], np.where(high, _ALL_KEPT, _KEPT[low])
    characters["decimal"], kept["decimal"] = _DECIMALS[decimal], np.where(decimal, 0x0101, 0)


def _measurements(items: list[str]) -> str:
    return f',"measurements":{{{",".join(items)}}}'


def _id_prefix(info: SlideInfo) -> str:
    """Return the first 24 characters of a UUID of version 8; the last twelve are the nucleus's id.

    They are the same in every run of one slide with one model and the same settings.
    """
    origin = json.dumps([info.path.name, info.model, info.settings], sort_keys=True, default=str)
    digest = hashlib.sha256(origin.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[12:15]}-8{digest[15:18]}-"


def _compressed(file: IO[bytes], compression: str, stack: contextlib.ExitStack) -> Any:
    """Return a file for text within one whose headers have neither time nor temporary name."""
    if compression == "none":
        return file
    if compression == "gz":
        return stack.enter_context(
            gzip.GzipFile("", "wb", compresslevel=_LEVEL, fileobj=file, mtime=0)
        )
    archive = stack.enter_context(
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
    )
    member = zipfile.ZipInfo("nuclei.geojson")
    member.compress_type = zipfile.ZIP_DEFLATED
    member._compresslevel = _LEVEL  # type: ignore[attr-defined]
    return stack.enter_context(archive.open(member, "w", force_zip64=True))
