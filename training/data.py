"""Annotated images from a folder, whichever of these layouts it has.

===================  ======================================================
``images``+``labels``  one label image a picture, same stem; 0 is background. A stem in the
                       second folder may also end in ``_labels`` or ``_masks``
``<id>/images``+``masks``  Kaggle's stage1_train: one binary mask a nucleus
``raw``+``gt``         one binary mask a picture; its components are nuclei
``images``+``masks``   one label image or binary mask a picture, same stem
``a.png``, ``a_labels.png``  the same beside each picture; also ``a_masks.tif``
===================  ======================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nucleiseg import images
from nucleiseg.model import PERCENTILES

from . import groups
from .argument_types import finite
from .samples import Sample

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

ENDINGS = ("_labels", "_masks")
"""Endings of the names of label images, as this package and Cellpose write them."""


class WeightedFolder(NamedTuple):
    """A data set's folder, and how often its images are drawn beside those of the others."""

    path: Path
    weight: float = 1.0


def parse_folder(text: str) -> WeightedFolder:
    """Read ``DIR`` or ``DIR=WEIGHT``.

    Raises
    ------
    ValueError
        There is no such folder, or the weight is not a number above zero.
    """
    if Path(text).is_dir():
        return WeightedFolder(Path(text))
    folder, equals, weight = text.rpartition("=")
    if not Path(folder if equals else text).is_dir():
        raise ValueError(f"no such folder: {folder if equals else text}")
    value = finite(weight)
    if not value > 0:
        raise ValueError(
            f"got {text!r}; a weight is a number above 0, and a data set that shall not count is "
            "left out"
        )
    return WeightedFolder(Path(folder), value)


@dataclass(frozen=True)
class Pair:
    """Where an image lies, and how its labels are read."""

    name: str
    image: Path
    read_labels: Callable[[], NDArray[np.int32]]


def load(folders: list[Path], threads: int = 2) -> list[Sample]:
    """Read all annotated images of `folders`.

    Parameters
    ----------
    folders : list of Path
        Each has one of the layouts that the module names.
    threads : int
        Images decoded at once.

    Returns
    -------
    list of Sample
        Sorted by name, so the same folders give the same list everywhere.

    Raises
    ------
    ValueError
        A folder has none of the layouts, two folders give their data sets the same name, or an
        image and its labels differ in size.
    """
    _check_names(folders)
    pairs = sorted(
        (pair for folder in folders for pair in find_pairs(folder)), key=lambda p: p.name
    )
    with ThreadPoolExecutor(threads) as pool:
        raw = list(pool.map(_read_pair, pairs))
    names = [pair.name for pair in pairs]
    pictures = [picture for picture, _ in raw]
    modalities = groups.modalities(names, pictures)
    grouped = groups.look_alike_groups(names, pictures, modalities)
    return [
        Sample(name, picture, normalized(picture), labels, modality, group)
        for name, (picture, labels), modality, group in zip(
            names, raw, modalities, grouped, strict=True
        )
    ]


def _check_names(folders: list[Path]) -> None:
    first: dict[str, Path] = {}
    for folder in folders:
        name = dataset_name(folder)
        if name in first:
            raise ValueError(
                f"data: {first[name]} and {folder} are both the data set {name!r}; rename a folder"
            )
        first[name] = folder


def load_split(folders: list[Path]) -> tuple[list[Sample], list[Sample]]:
    """Return the images of `folders` to train on and those held out for validation."""
    samples = load(folders)
    held_out = groups.split([sample.group for sample in samples])
    pairs = list(zip(samples, held_out, strict=True))
    return [s for s, out in pairs if not out], [s for s, out in pairs if out]


def load_weighted(texts: list[str]) -> tuple[list[Sample], list[Sample], dict[str, float]]:
    """Return what `load_split` does of ``DIR`` or ``DIR=WEIGHT``, and each data set's weight."""
    folders = [parse_folder(text) for text in texts]
    training, validation = load_split([folder.path for folder in folders])
    return training, validation, {dataset_name(path): weight for path, weight in folders}


def normalized(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Stretch a picture as the package does at run time.

    Parameters
    ----------
    picture : ndarray, (H, W) or (H, W, C)
        Any dtype that `nucleiseg.segment` takes.

    Returns
    -------
    ndarray, (H, W, 3) uint8
    """
    from nucleiseg._native import cpu

    low, high, ceiling, _ = cpu.limits(picture, *PERCENTILES)
    return cpu.normalize(picture, low, high, ceiling)


def find_pairs(folder: Path) -> Iterator[Pair]:
    """Find the annotated images of one folder, by its layout."""
    folder = Path(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        yield from _by_stem(folder, "images", "labels", _read_label_image)
    elif (folder / "raw").is_dir() and (folder / "gt").is_dir():
        yield from _by_stem(folder, "raw", "gt", _read_binary_mask)
    elif (folder / "images").is_dir() and (folder / "masks").is_dir():
        yield from _by_stem(folder, "images", "masks", _read_labels_or_mask)
    elif any(folder.glob("*/masks")):
        yield from _kaggle(folder)
    elif any(_annotates(path) for path in _image_files(folder)):
        yield from _beside(folder)
    else:
        raise ValueError(
            f"data: {folder} has none of the accepted layouts: images/ and labels/ or masks/, "
            "raw/ and gt/, Kaggle's <id>/images and <id>/masks, or NAME.png with NAME_labels.png "
            "or NAME_masks.png beside it"
        )


def _annotates(path: Path) -> str:
    """Return the stem of the image that a file annotates by its name, or nothing."""
    return next((path.stem.removesuffix(end) for end in ENDINGS if path.stem.endswith(end)), "")


def _beside(folder: Path) -> Iterator[Pair]:
    files = _image_files(folder)
    labels = {_annotates(path): path for path in files if _annotates(path)}
    pictures = {path.stem: path for path in files if not _annotates(path)}
    for stem, path in pictures.items():
        if stem not in labels:
            raise ValueError(f"data: {path} has no {stem}_labels.png or {stem}_masks.png beside it")
    for stem, path in labels.items():
        if stem not in pictures:
            raise ValueError(f"data: {path} has no image {stem}.png beside it")
        name = f"{dataset_name(folder)}/{stem}"
        yield Pair(name, pictures[stem], lambda p=path: _read_labels_or_mask(p))


def _by_stem(
    folder: Path, image_dir: str, label_dir: str, read: Callable[[Path], NDArray[np.int32]]
) -> Iterator[Pair]:
    files = _image_files(folder / label_dir)
    label_files = {_annotates(path) or path.stem: path for path in files}
    for path in _image_files(folder / image_dir):
        if path.stem not in label_files:
            raise ValueError(f"data: {path} has no file of the same stem in {folder / label_dir}")
        label_file = label_files[path.stem]
        yield Pair(f"{dataset_name(folder)}/{path.stem}", path, lambda p=label_file: read(p))


def _kaggle(folder: Path) -> Iterator[Pair]:
    for masks in sorted(folder.glob("*/masks")):
        (image,) = _image_files(masks.parent / "images")
        name = f"{dataset_name(folder)}/{masks.parent.name}"
        yield Pair(name, image, lambda m=masks: _read_mask_folder(m))


def dataset_name(folder: Path) -> str:
    """Return the name of a folder: the last part of its path that is not merely that of a split."""
    parts = [part for part in Path(folder).resolve().parts if part not in ("train", "stage1_train")]
    return parts[-1]


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def _read_label_image(path: Path) -> NDArray[np.int32]:
    labels = images.read(path)
    if labels.ndim != 2:
        raise ValueError(
            f"data: {path} is {labels.shape}; accepted is a label image (H, W), without colours"
        )
    return _renumbered(labels.astype(np.int32))


def _read_labels_or_mask(path: Path) -> NDArray[np.int32]:
    """Read a label image; in one of a single value each component is a nucleus."""
    labels = images.read(path)
    if labels.ndim == 2 and len(np.unique(labels[labels != 0])) == 1:
        return _read_binary_mask(path)
    return _read_label_image(path)


def _read_binary_mask(path: Path) -> NDArray[np.int32]:
    mask = images.read(path)
    if mask.ndim == 3:
        mask = mask[..., :3].max(axis=-1)
    # A JPEG copy of a mask has grey fringes: the middle of its range divides them.
    components, _ = ndimage.label(mask > mask.max() / 2)
    return components.astype(np.int32)


def _read_mask_folder(folder: Path) -> NDArray[np.int32]:
    labels: NDArray[np.int32] | None = None
    for number, path in enumerate(_image_files(folder), start=1):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        labels = np.zeros(mask.shape, np.int32) if labels is None else labels
        labels[mask > 0] = number
    if labels is None:
        raise ValueError(f"data: {folder} has no masks")
    return labels


def _renumbered(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    _, inverse = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    return inverse[:-1].reshape(labels.shape).astype(np.int32)


def _read_pair(pair: Pair) -> tuple[NDArray[np.generic], NDArray[np.int32]]:
    picture, labels = images.read(pair.image), pair.read_labels()
    if picture.shape[:2] != labels.shape:
        raise ValueError(
            f"data: {pair.image} is {picture.shape[:2]}, its labels are {labels.shape}"
        )
    return picture, labels
