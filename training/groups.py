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

NAMED_GROUPS = (
    re.compile(r"^(?P<group>.*/\d+)_\d+$"),
    re.compile(r"^(?P<group>nuinsseg/\w+)_\d+$"),
    re.compile(r"^(?P<group>aitslab/[^_]+_\d+)_\w+$"),
)
"""Names such as ``tnbc/03_2``, the second image of patient 3; ``nuinsseg/human_liver_7``, of an
organ, which is one slide; ``aitslab/MFGTMPcx7_170702090001_A20f02d0``, of a plate."""

NAMED_PARTS = re.compile(r"^(?P<part>kromp/[^_]+)_\d+$")
"""Names such as ``kromp/normal_7`` tell the kind of sample, of which there are few: look-alike
groups are made within each."""

HELD_OUT = {
    "tnbc": ("06", "07"),
    "nuinsseg": (
        "human_jejunum",
        "human_lung",
        "human_pylorus",
        "human_testis",
        "mouse_liver",
        "mouse_thymus",
    ),
    "aitslab": ("MFGTMPcx7_170702000001", "MFGTMPcx7_170803210001"),
}
"""Named groups to validate with. Patients 6 and 7 are those of all earlier figures; the organs are
of several kinds, one of them lymphoid, and the plates about a sixth of their data set."""

LABELLED_IN_PART = (
    "nuinsseg/human_brain",
    "nuinsseg/human_epiglottis",
    "nuinsseg/mouse_muscle_tibia",
    "nuinsseg/mouse_subscapula",
)
"""Groups in which some nuclei are not annotated."""


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

    Where names carry a group (`NAMED_GROUPS`) the data set is one series, and all of its pictures
    have the kind of most of them: H&E that came out purple is still H&E.
    """
    kinds = [modality(picture) for picture in pictures]
    series = [name.split("/")[0] if named_group(name) else None for name in names]
    votes = {one: Counter() for one in series}
    for one, kind in zip(series, kinds, strict=True):
        votes[one][kind] += 1
    return [
        votes[one].most_common(1)[0][0] if one else kind
        for one, kind in zip(series, kinds, strict=True)
    ]


def named_group(name: str) -> str | None:
    """Return the group that an image's name carries, if it does."""
    matches = (pattern.match(name) for pattern in NAMED_GROUPS)
    return next((match["group"] for match in matches if match), None)


def look_alike_groups(
    names: list[str], pictures: list[NDArray[np.generic]], modalities: list[str]
) -> list[str]:
    """Return the name of each image's group: its stratum and a number.

    Names that carry a group (`NAMED_GROUPS`) are grouped by it; the others by average linkage of
    intensity, colour and texture features within one modality of one data set, or of one kind of
    sample (`NAMED_PARTS`).
    """
    result = [""] * len(names)
    strata: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        named, part = named_group(name), NAMED_PARTS.match(name)
        if named:
            result[index] = named
        else:
            kind = part["part"] if part else name.split("/")[0]
            strata[f"{kind} {modalities[index]}"].append(index)
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

    The groups of a data set in `HELD_OUT` are chosen there. The choice in one data set does not
    depend on which others there are.

    Parameters
    ----------
    groups : list of str
        As `look_alike_groups` gives them.

    Returns
    -------
    ndarray, (n,) bool
        True for validation. No group has members on both sides.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    strata: dict[str, list[str]] = defaultdict(list)
    for group in sorted(members):
        strata[group.rsplit("/", 1)[0]].append(group)
    generators: dict[str, np.random.Generator] = {}
    chosen = np.zeros(len(groups), bool)
    for stratum in sorted(strata):
        if stratum in HELD_OUT:
            names = [name for name in strata[stratum] if name.split("/")[1] in HELD_OUT[stratum]]
        else:
            dataset = re.split("[ /]", stratum)[0]
            rng = generators.setdefault(dataset, np.random.default_rng(seed))
            names = _choose(strata[stratum], members, fraction, rng)
        for name in names:
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
