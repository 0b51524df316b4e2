"""Collecting what the report says, image by image, while the run goes on."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images
from nucleiseg.model import Model
from nucleiseg.outputs.report.flags import Flag, confidence, flags
from nucleiseg.outputs.report.focus import edge_blur
from nucleiseg.outputs.report.measure import Nuclei
from nucleiseg.outputs.report.thumbnails import outlines, thumbnail
from nucleiseg.outputs.table import Table


@dataclass(frozen=True)
class Entry:
    """What the report keeps of one image.

    Attributes
    ----------
    name : str
    height, width : int
    dtype : str
        Of the image, such as ``"uint8"``: intensities of different ones cannot be compared.
    mpp : float or None
        Micrometres a pixel.
    scale : float
        How far the network saw the image shrunk.
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
    thumbnail, outlines : str
        Data URIs.
    size : tuple of int
        Height and width of the thumbnail.
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

    def kept(self) -> dict[str, Any]:
        """Give all but the name as what JSON can hold."""
        kept = asdict(self)
        del kept["name"]
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in kept.items()}

    @classmethod
    def restored(cls, name: str, kept: Mapping[str, Any]) -> Entry:
        """Make an entry of what `kept` gave."""
        changed = {
            "diameters": np.array(kept["diameters"], np.float32),
            "intensities": np.array(kept["intensities"], np.float32),
            "flags": [Flag(**flag) for flag in kept["flags"]],
            "size": tuple(kept["size"]),
        }
        return cls(name=name, **{**kept, **changed})


@dataclass(frozen=True)
class Failure:
    """An image that could not be segmented, and why."""

    name: str
    reason: str


class Report:
    """One HTML page about a run: pictures, counts, distributions and what stood out.

    Of each image about 15 kB stay in memory, and 8 bytes of each nucleus. Entries may come from
    several threads at once and in any order.

    Parameters
    ----------
    model : Model
        What the images are segmented with.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._failures: list[Failure] = []

    def entry(
        self,
        name: str,
        image: NDArray[Any],
        labels: NDArray[np.int32],
        maps: NDArray[np.uint8] | None = None,
        mpp: float | None = None,
        scale: float = 1.0,
        table: Table | None = None,
    ) -> Entry:
        """Add one segmented image.

        Parameters
        ----------
        name : str
            Of its file. Folders that all images share are left out of the page.
        image : ndarray, (H, W) or (H, W, C)
            What `nucleiseg.segment` took.
        labels : ndarray, (H, W) int32
        maps : ndarray, (H, W, 2) uint8, optional
            As `nucleiseg.segment` gives them; without them the page says nothing of confidence.
        mpp : float, optional
            Micrometres a pixel; without it sizes are in pixels.
        scale : float
            How far the network saw the image shrunk.
        table : Table, optional
            The nuclei's measurements, if they were taken already.

        Raises
        ------
        ValueError
            The labels or maps are of another size than the image.
        """
        _check(image, "labels", labels.shape)
        if maps is not None:
            _check(image, "maps", maps.shape[:2])
        if table is None:
            table = Table.of(image, labels, maps, mpp, ring=0)
        entry = _examined(name, image, labels, Nuclei.of(table), mpp, scale, self.model)
        with self._lock:
            self._entries.append(entry)
        return entry

    def restore(self, name: str, kept: Mapping[str, Any]) -> None:
        """Add an image that an earlier run entered; see `Entry.kept`."""
        entry = Entry.restored(name, kept)
        with self._lock:
            self._entries.append(entry)

    def failure(self, name: str, reason: str) -> None:
        """Add an image that could not be segmented."""
        with self._lock:
            self._failures.append(Failure(name, reason))

    def write(self, path: Path, settings: Mapping[str, str]) -> None:
        """Write the page, whole or not at all.

        Parameters
        ----------
        path : Path
            ``report.html``, say.
        settings : mapping of str to str
            What was asked for, in the order in which it shall be shown.

        Raises
        ------
        OSError
            See `nucleiseg.images.write`.
        """
        from nucleiseg.outputs.report.page import render

        with self._lock:
            entries = sorted(self._entries, key=_natural)
            failures = sorted(self._failures, key=_natural)
        images.write(path, render(entries, failures, self.model, settings).encode("utf-8"))


def _check(image: NDArray[Any], name: str, shape: tuple[int, ...]) -> None:
    if image.ndim not in (2, 3) or not image.size:
        raise ValueError(
            f"image: got shape {image.shape}; accepted are (H, W) and (H, W, C) from 1 x 1 up"
        )
    if shape != image.shape[:2]:
        raise ValueError(
            f"{name}: got {' x '.join(map(str, shape))} pixels; "
            f"accepted are the image's {image.shape[0]} x {image.shape[1]}"
        )


def _examined(
    name: str,
    image: NDArray[Any],
    labels: NDArray[np.int32],
    nuclei: Nuclei,
    mpp: float | None,
    scale: float,
    model: Model,
) -> Entry:
    blur = edge_blur(image, labels)
    picture, uri = thumbnail(image)
    return Entry(
        name=name,
        height=labels.shape[0],
        width=labels.shape[1],
        dtype=str(image.dtype),
        mpp=mpp,
        scale=scale,
        nuclei=nuclei.areas.size,
        cut=int(nuclei.cut.sum()),
        covered=float(nuclei.areas.sum() / labels.size),
        diameters=nuclei.diameters[~nuclei.cut].astype(np.float32),
        intensities=nuclei.intensities.astype(np.float32),
        confidence=confidence(nuclei),
        blur=blur,
        flags=flags(nuclei, blur, scale, model),
        thumbnail=uri,
        outlines=outlines(labels, picture),
        size=(picture.shape[0], picture.shape[1]),
    )


def _natural(item: Entry | Failure) -> list[tuple[int, str]]:
    """Sort ``a2`` before ``a10``."""
    return [(int(digits or -1), text) for digits, text in re.findall(r"(\d+)|(\D+)", item.name)]
