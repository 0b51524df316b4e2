"""An annotated image, and many of them in one file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .targets import Targets, make_targets

QUALITY = 95
"""WebP quality of packed images: a third of the size of PNG, and finer than users' JPEG files."""


@dataclass(frozen=True)
class Sample:
    """One annotated image.

    Attributes
    ----------
    name : str
        ``<data set>/<stem>``, unique over the folders that were read.
    picture : ndarray, (H, W) or (H, W, C)
        As it was read.
    image : ndarray, (H, W, 3) uint8
        RGB, stretched between the limits that the package finds at run time.
    labels : ndarray, (H, W) int32
        0 is background, 1..n one nucleus each.
    modality : str
        One of `groups.MODALITIES`.
    group : str
        Images of one slide or experiment share it; a split never cuts through a group.
    opinion : ndarray, (H, W, 2) uint8, optional
        What models see in it (`opinions.opinion`).
    """

    name: str
    picture: NDArray[np.generic]
    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    modality: str
    group: str
    opinion: NDArray[np.uint8] | None = None

    @property
    def dataset(self) -> str:
        """The data set that the image comes from, as `data.dataset_name` names it."""
        return self.name.split("/")[0]

    def targets(self) -> Targets:
        """Return the maps that the network is trained to give: those of the annotation, or the
        mean of it and of the opinion."""
        targets = make_targets(self.labels)
        if self.opinion is None:
            return targets
        nucleus, distance = (
            cv2.addWeighted(targets[i], 0.5, np.ascontiguousarray(self.opinion[..., i]), 0.5, 0)
            for i in range(2)
        )
        return Targets(nucleus, distance, targets.emphasis)


def pack(samples: Sequence[Sample], weights: dict[str, float], path: Path) -> None:
    """Write samples into one file: images as WebP, labels as 16-bit PNG, and a table.

    Parameters
    ----------
    samples : sequence of Sample
        With at most 65,535 nuclei each.
    weights : dict
        How often data sets are drawn beside others, by their names.
    path : Path
        The ``.npz`` to write.
    """
    codes = [code for sample in samples for code in (_image_code(sample), _label_code(sample))]
    table = [[sample.name, sample.modality, sample.group] for sample in samples]
    np.savez(
        path,
        codes=np.frombuffer(b"".join(codes), np.uint8),
        ends=np.cumsum([len(code) for code in codes]),
        table=np.array(json.dumps({"samples": table, "weights": weights})),
    )


def unpack(path: Path) -> tuple[list[Sample], dict[str, float]]:
    """Read the samples and weights that `pack` wrote. A packed sample's picture is its stretched
    image.

    Raises
    ------
    ValueError
        It is no such file.
    """
    try:
        with path.open("rb") as file, np.load(file) as packed:
            codes, ends, table = packed["codes"], packed["ends"], json.loads(str(packed["table"]))
    # NumPy's way to say that a file is not a ZIP archive is an array, or another of these.
    except (KeyError, ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"data: {path} is no file of training.pack: {error}") from error
    parts = np.split(codes, ends[:-1])
    rows = zip(table["samples"], parts[::2], parts[1::2], strict=True)
    return [_sample(row, image, labels) for row, image, labels in rows], table["weights"]


def pack_opinions(opinions: dict[str, NDArray[np.uint8]], path: Path) -> None:
    """Write opinions of images into one file, by `Sample.name`."""
    codes = {
        name: cv2.imencode(".png", np.hstack([maps[..., 0], maps[..., 1]]))[1]
        for name, maps in opinions.items()
    }
    np.savez(path, **codes)


def with_opinions(samples: Sequence[Sample], path: Path) -> list[Sample]:
    """Return the samples with the opinions that `pack_opinions` wrote.

    Raises
    ------
    ValueError
        It is no such file, or it lacks one of the samples.
    """
    try:
        with np.load(path) as packed:
            codes = {sample.name: packed[sample.name] for sample in samples}
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"opinions: {path} is no file of training.opinions for this data: {error}"
        ) from error
    return [replace(one, opinion=_opinion(codes[one.name], one.labels.shape)) for one in samples]


def _opinion(code: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    both = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
    if both is None or both.shape != (shape[0], 2 * shape[1]):
        raise ValueError(f"opinions: an image of {shape} has maps of another size")
    return np.dstack(np.hsplit(both, 2))


def _sample(row: list[str], image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Sample:
    name, modality, group = row
    pixels = cv2.cvtColor(cv2.imdecode(image, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    numbers = cv2.imdecode(labels, cv2.IMREAD_UNCHANGED).astype(np.int32)
    return Sample(name, pixels, pixels, numbers, modality, group)


def _image_code(sample: Sample) -> bytes:
    image = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()


def _label_code(sample: Sample) -> bytes:
    labels = sample.labels.astype(np.uint16)
    return cv2.imencode(".png", labels, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
