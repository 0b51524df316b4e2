"""A folder of annotated images, each after a style of its own, as a data set to train on."""

from __future__ import annotations

import csv
import functools
import hashlib
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nucleiseg import Segmenter, images, stains

from .. import data, metrics, report
from ..samples import Sample
from ..topology import ACCURATE
from . import run
from .features import Features
from .read import Picture, as_rgb, check, is_grey, read

LEAST_DICE = 0.8
"""Least Dice of the nuclei before and after; below it, the labels are no longer true."""

TABLE, SETTINGS = "styles.csv", "settings.json"

COLUMNS = ("image", "style", "dice", "result")

KEPT, MOVED, NO_STYLE = (
    "restyled",
    "left out: nuclei are not found where they were",
    "left out: no style of its kind",
)


def paired(
    folder: Path, styles: list[Path], settings: run.Settings
) -> list[tuple[Sample, Path | None]]:
    """Draw a style for each image of a data set.

    Coloured images get coloured styles, and grey ones grey ones; where there is none they get
    nothing. Images that `data.load_split` holds out are not among them, as a network must not learn
    from them.

    Parameters
    ----------
    folder : Path
        Annotated images in any layout of `data`.
    styles : list of Path
        Folders of images, or of ``images/``.
    settings : Settings

    Raises
    ------
    ValueError
        A folder has no images, no image has a style of its kind, or `check` refuses an image.
    """
    pool = [path for one in styles for path in _style_files(one)]
    kinds = {path: is_grey(read("style", path)) for path in pool}
    pairs: list[tuple[Sample, Path | None]] = []
    for sample in data.load_split([folder])[0]:
        content = as_rgb(sample.picture)
        grey_content = is_grey(content)
        matching = [path for path, grey in kinds.items() if grey == grey_content]
        if not matching:
            pairs.append((sample, None))
            continue
        style = matching[_drawn(settings.seed, sample.name, len(matching))]
        try:
            check(content, read("style", style), settings.keep_luminance)
        except ValueError as error:
            raise ValueError(f"{sample.name} after {style}: {error}") from error
        pairs.append((sample, style))
    if not pairs:
        raise ValueError(f"batch: all images of {folder} are held out; add images of other kinds")
    if all(style is None for _, style in pairs):
        kind = "coloured" if any(kinds.values()) else "grey"
        raise ValueError(f"style: all images are {kind}, and none of the styles is")
    return pairs


def restyle(
    features: Features,
    pairs: list[tuple[Sample, Path | None]],
    settings: run.Settings,
    output: Path,
    origin: dict[str, str],
    resume: bool = False,
) -> None:
    """Write ``images/``, ``labels/`` and a table of which image has which style.

    Images without a style are left out, and those whose nuclei move.

    Parameters
    ----------
    features : Features
    pairs : list of (Sample, Path)
        As `paired` draws them.
    settings : Settings
    output : Path
    origin : dict
        What else the results depend on, such as checksums of the files.
    resume : bool
        Leave what was restyled before as it is.

    Raises
    ------
    ValueError
        The output holds a run and ``resume`` is False, or the run was another one.
    """
    drawn = repr([(sample.name, str(style)) for sample, style in pairs]).encode()
    depends = asdict(settings) | origin | {"pairs": hashlib.sha256(drawn).hexdigest()}
    described = run.settle(output / SETTINGS, depends, resume)
    for name in ("images", "labels"):
        (output / name).mkdir(parents=True, exist_ok=True)
    done = _read_table(output)
    for sample, style in tqdm(pairs, unit="image"):
        if sample.name in done:
            continue
        done[sample.name] = ("", "", NO_STYLE)
        if style is not None:
            dice = _one(features, sample, read("style", style), settings, output)
            done[sample.name] = (str(style), f"{dice:.3f}", KEPT if dice >= LEAST_DICE else MOVED)
        images.write(output / SETTINGS, described)
        rows = [COLUMNS, *((name, *row) for name, row in done.items())]
        images.write(output / TABLE, report.csv_text(rows).encode())
    counts = Counter(row[-1] for row in done.values())
    print(f"{output}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def _one(
    features: Features, sample: Sample, style: Picture, settings: run.Settings, output: Path
) -> float:
    """Restyle an image, keep it where its nuclei have not moved, and return their Dice."""
    content = as_rgb(sample.picture)
    progress = run.begin(content, settings)
    for _ in run.legs(features, content, style, settings, progress):
        pass
    result = run.picture_of(progress.flat, content, style, settings.keep_luminance)
    dice = agreement(content, result)
    if dice >= LEAST_DICE:
        name = f"{sample.name.split('/', 1)[1]}.png"
        images.write_png(output / "labels" / name, sample.labels.astype(np.uint16))
        images.write_png(output / "images" / name, result)
    return dice


def agreement(content: Picture, result: Picture) -> float:
    """Return the Dice coefficient of the accurate model's labels of two images of one size.

    Both are seen at the scale that the model chooses for the content. It is nan where the package
    takes one of them for a picture of several fluorescent stains.
    """
    if any(stains.are_stains(one) for one in (content, result)):
        return math.nan
    segmenter = _segmenter()
    scale = segmenter.find_scale(content)
    labels = [segmenter.segment(one, output="labels", scale=scale) for one in (content, result)]
    return metrics.score(*labels).mean_dice


@functools.cache
def _segmenter() -> Segmenter:
    return Segmenter(ACCURATE.name, device="cpu")


def _drawn(seed: int, name: str, count: int) -> int:
    """Draw a number below ``count`` that depends on the seed and the image alone."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int(np.random.default_rng(list(digest)).integers(count))


def _style_files(folder: Path) -> list[Path]:
    inner = folder / "images"
    folder = inner if inner.is_dir() else folder
    if not folder.is_dir():
        raise ValueError(f"style: with --batch a folder of images is needed; got {folder}")
    suffixes = data.IMAGE_SUFFIXES
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not found:
        raise ValueError(f"style: {folder} holds no images ({' '.join(suffixes)})")
    return found


def _read_table(output: Path) -> dict[str, tuple[str, ...]]:
    if not (output / TABLE).exists():
        return {}
    with (output / TABLE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return {name: tuple(rest) for name, *rest in rows}
