"""Which images show the same slide or experiment, and the split that keeps them together."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

MODALITIES = ("fluorescence", "grey bright-field", "purple stain", "H&E")

BRIGHT_FIELD = MODALITIES[1:]

BRIGHT_BACKGROUND = 0.35
"""Median intensity over the type's range above which an image counts as bright-field."""

LOOK_ALIKE = 0.8
"""Distance in feature space below which two images belong together. Chosen by looking at contact
sheets of the groups: crops of one slide fall together, different experiments apart."""

FEWEST_GROUPS = 4
"""A modality with fewer groups than this is divided more finely, so that it can be validated."""

PINK = 0.03
"""A twentieth of an H&E picture is redder than blue by more than this (eosin); other purple stains
stay below it (measured on the 96 + 50 coloured training pictures: 93 % fall on the right side)."""

NAMED_GROUP = re.compile(r"^(?P<group>.*/\d+)_\d+$")
"""Names such as ``tnbc/03_2``: the second image of patient 3."""


def modality(picture: NDArray[np.generic]) -> str:
    """Tell the kind of picture by its background and colour.

    Parameters
    ----------
    picture : ndarray, (H, W) or (H, W, C)
        As it was read, before any stretching.

    Returns
    -------
    str
        One of `MODALITIES`.
    """
    full = (
        np.iinfo(picture.dtype).max if picture.dtype.kind in "ui" else float(picture.max()) or 1.0
    )
    rgb = np.atleast_3d(picture)[..., :3].astype(np.float32) / full
    if np.median(rgb) < BRIGHT_BACKGROUND:
        return "fluorescence"
    if rgb.shape[-1] == 1 or np.ptp(rgb, axis=-1).mean() < 0.01:
        return "grey bright-field"
    pinkest = np.percentile(rgb[..., 0] - rgb[..., 2], 95)
    return "H&E" if pinkest > PINK else "purple stain"


def modalities(names: list[str], pictures: list[NDArray[np.generic]]) -> list[str]:
    """Tell the kind of each picture.

    Where names carry a patient (`NAMED_GROUP`) the data set is one clinical series, and all of its
    pictures have the kind of most of them: H&E that came out purple is still H&E.
    """
    kinds = [modality(picture) for picture in pictures]
    series = [name.split("/")[0] if NAMED_GROUP.match(name) else None for name in names]
    votes = {one: Counter() for one in series}
    for one, kind in zip(series, kinds, strict=True):
        votes[one][kind] += 1
    return [
        votes[one].most_common(1)[0][0] if one else kind
        for one, kind in zip(series, kinds, strict=True)
    ]


def look_alike_groups(
    names: list[str], pictures: list[NDArray[np.generic]], modalities: list[str]
) -> list[str]:
    """Give each image the name of its group: its stratum and a number.

    Names that carry a patient (`NAMED_GROUP`) are grouped by it; the others by average linkage of
    intensity, colour and texture features within one modality of one data set.
    """
    result = [""] * len(names)
    strata: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        match = NAMED_GROUP.match(name)
        if match:
            result[index] = match["group"]
        else:
            strata[f"{name.split('/')[0]} {modalities[index]}"].append(index)
    for stratum, members in strata.items():
        numbers = _clusters(np.stack([_features(pictures[i]) for i in members]))
        for index, number in zip(members, numbers, strict=True):
            result[index] = f"{stratum}/{number}"
    return result


def _clusters(features: NDArray[np.float32]) -> NDArray[np.int32]:
    if len(features) < 2:
        return np.ones(len(features), np.int32)
    tree = linkage(features, "average")
    numbers = fcluster(tree, LOOK_ALIKE, "distance")
    if numbers.max() < FEWEST_GROUPS:
        numbers = fcluster(tree, FEWEST_GROUPS, "maxclust")
    return numbers


def _features(picture: NDArray[np.generic]) -> NDArray[np.float32]:
    """Describe background, colour, noise and grain; the axes are scaled to comparable spread."""
    rgb = np.atleast_3d(picture)[..., :3].astype(np.float32)
    rgb = np.repeat(rgb, 3, axis=-1) if rgb.shape[-1] == 1 else rgb
    grey = rgb.mean(axis=-1)
    levels = np.log2(1 + np.percentile(rgb.reshape(-1, 3), (2, 50, 99), axis=0)).ravel()
    bands = [grey]
    for sigma in (1, 2, 4, 8):
        bands.append(cv2.GaussianBlur(grey, (0, 0), sigma))
    texture = [np.log2(0.1 + np.std(a - b)) for a, b in itertools.pairwise(bands)]
    noise = np.log2(0.1 + np.median(np.abs(grey - bands[1])))
    size = np.log2(grey.shape)
    return np.concatenate([0.5 * levels, 0.5 * np.array(texture), [noise], 4 * size]).astype(
        np.float32
    )


def split(groups: list[str], fraction: float = 0.12, seed: int = 0) -> NDArray[np.bool_]:
    """Choose the validation images: whole groups, about `fraction` of each stratum.

    Parameters
    ----------
    groups : list of str
        As `look_alike_groups` gives them.

    Returns
    -------
    ndarray, (n,) bool
        True for validation. No group has members on both sides.
    """
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    chosen = np.zeros(len(groups), bool)
    for stratum in sorted({group.rsplit("/", 1)[0] for group in groups}):
        mine = sorted(name for name in members if name.rsplit("/", 1)[0] == stratum)
        for name in _choose(mine, members, fraction, rng):
            chosen[members[name]] = True
    return chosen


def _choose(
    names: list[str], members: dict[str, list[int]], fraction: float, rng: np.random.Generator
) -> list[str]:
    if len(names) == 1:
        return []  # nothing would be left to train on
    wanted = fraction * sum(len(members[name]) for name in names)
    # Several experiments say more than one large one, so no group fills the quota alone.
    largest = max(0.6 * wanted, min(len(members[name]) for name in names))
    chosen: list[str] = []
    for name in rng.permutation(names):
        taken = sum(len(members[other]) for other in chosen)
        if len(members[name]) <= largest and taken < wanted:
            chosen.append(str(name))
    return chosen
