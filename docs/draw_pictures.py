"""Draw the pictures of README and docs: ``python -m docs.draw_pictures``.

At the top of the README images above their nuclei, outlined and filled by what `nucleiseg.segment`
returns; then what its first block of Python writes; then, for ``parameters.md``, what each
parameter does.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

import nucleiseg
from nucleiseg import data, images
from nucleiseg.outputs.outlines import Outline
from nucleiseg.result import Result
from training import stains, targets

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ("fluorescence_crowded.png", "hematoxylin_eosin.png", "purple_on_white.png")
SHAPE = (240, 300)
"""Rows and columns of each image that are shown."""

ZOOM = 2
GAP = 12

PARAMETERS: dict[str, tuple[str, tuple[int, int, int, int], Sequence[dict[str, Any]]]] = {
    "nucleus_threshold": (
        "purple_on_white",
        (70, 110, 100, 100),
        [{"nucleus_threshold": 0.2}, {}, {"nucleus_threshold": 0.95}],
    ),
    "separation": (
        "fluorescence_crowded",
        (48, 200, 120, 120),
        [{"separation": 0.01}, {}, {"separation": 0.5}],
    ),
    "min_area": ("purple_on_white", (0, 0, 200, 200), [{}, {"min_area": 250}]),
    "diameter": (
        "purple_on_white",
        (0, 0, 200, 200),
        [{"min_diameter": 20}, {}, {"max_diameter": 20}],
    ),
    "exclude_border": ("purple_on_white", (0, 0, 256, 320), [{}, {"exclude_border": True}]),
    "smooth": ("purple_on_white", (70, 110, 60, 60), [{}, {"smooth": True}]),
    "stain": ("hematoxylin_eosin", (0, 0, 256, 320), [{"stain": "he"}, {"stain": "dab"}]),
    "stain_hematoxylin": (
        "immunohistochemistry",
        (200, 100, 300, 410),
        [{"stain": "dab"}, {"stain": "hematoxylin"}],
    ),
}
"""The example image (brown nuclei are painted for "stain"), the rows and columns shown (first row,
first column, height, width), and what is given for each panel."""

HEIGHT = 300
"""Of a panel in pixels."""

CAPTION = 26


def main() -> None:
    """Write all pictures."""
    _draw_first()
    for name, panels in PARAMETERS.items():
        _draw_parameter(name, *panels)


def _draw_first() -> None:
    """Write ``docs/pictures/first.jpg`` and ``example_overlay.png``."""
    segmenter = nucleiseg.Segmenter("nuclei")
    columns = [_column(segmenter, ROOT / "tests/data/images" / name) for name in IMAGES]
    gap = np.full((columns[0].shape[0], GAP, 3), 255, np.uint8)
    row = np.hstack([part for column in columns for part in (column, gap)][:-1])
    target = ROOT / "docs/pictures/first.jpg"
    _write(target, row)
    result = nucleiseg.Segmenter().analyze(data.example("fluorescence"))
    result.save(target.parent / "example", "overlay")


def _write(target: Path, picture: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(target), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    print(f"{target.relative_to(ROOT)}: {picture.shape[1]} x {picture.shape[0]}")


def _draw_parameter(
    name: str, example: str, part: tuple[int, int, int, int], given: Sequence[dict[str, Any]]
) -> None:
    """Write ``docs/pictures/parameter_NAME.jpg``: a panel for each choice of parameters."""
    segmenter = nucleiseg.Segmenter()
    if name == "stain_hematoxylin":
        image = skimage.data.immunohistochemistry()
    else:
        image = images.read(ROOT / f"tests/data/images/{example}.png")
    if name == "stain":
        nucleus = targets.make_targets(segmenter.segment(image, "labels")).nucleus
        image = stains.browned(image, nucleus, np.random.default_rng(5))
    panels = [_panel(segmenter.analyze(image, **each), part, each) for each in given]
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    row = np.hstack([one for panel in panels for one in (panel, gap)][:-1])
    _write(ROOT / f"docs/pictures/parameter_{name}.jpg", row)


def _panel(
    result: Result, part: tuple[int, int, int, int], given: dict[str, Any]
) -> NDArray[np.uint8]:
    """Draw the outlines in a part of an image, below the parameters that gave them."""
    top, left, height, width = part
    zoom = HEIGHT / height
    image = result.image if result.image.ndim == 3 else cv2.merge([result.image] * 3)
    if image.std() < 40:  # dim fluorescence, shown as a viewer would show it
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    image = image[top : top + height, left : left + width, :3]
    size = round(width * zoom), HEIGHT
    picture = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    for outline in result.outlines:
        # Four bits of fractions; (x, y) of pixels' corners.
        corners = [
            np.rint((ring[:, ::-1] - (left, top)) * zoom * 16).astype(np.int32)
            for polygon in outline.parts
            for ring in polygon
        ]
        colour = [255 * part for part in colorsys.hsv_to_rgb(_hue(outline), 0.75, 1)]
        cv2.polylines(picture, corners, True, colour, 2, cv2.LINE_AA, 4)
    caption = np.full((CAPTION, size[0], 3), 255, np.uint8)
    words = ", ".join(f"{name}={value}" for name, value in given.items()) or "default"
    cv2.putText(caption, words, (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([caption, picture])


def _hue(outline: Outline) -> float:
    """Return a hue that hangs on where a nucleus is, not on how many there are."""
    row, column = outline.parts[0][0].mean(0) // 8
    return float((row * 0.618 + column * 0.382) % 1)


def _column(segmenter: nucleiseg.Segmenter, path: Path) -> NDArray[np.uint8]:
    """Stack an image on itself with its nuclei."""
    rows, columns = SHAPE
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    labels = segmenter.segment(path, "labels")[:rows, :columns]
    image = image[:rows, :columns]
    if image.std() < 40:  # dim fluorescence, shown as a viewer would show it
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    size = columns * ZOOM, rows * ZOOM
    plain = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    gap = np.full((GAP, plain.shape[1], 3), 255, np.uint8)
    return np.vstack([plain, gap, _outlined(plain, labels)])


def _outlined(picture: NDArray[np.uint8], labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Fill each nucleus lightly with its own colour, and draw its outline."""
    drawn = picture.copy()
    for number in range(1, labels.max() + 1):
        mask = (labels == number).astype(np.uint8) * 255
        large = cv2.resize(mask, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        smooth = (cv2.GaussianBlur(large, (0, 0), 1.2) > 127).astype(np.uint8)
        colour = [255 * part for part in colorsys.hsv_to_rgb(number * 0.618 % 1, 0.75, 1)]
        inside = smooth.astype(bool)
        drawn[inside] = np.rint(0.72 * drawn[inside] + 0.28 * np.array(colour)).astype(np.uint8)
        outline, _ = cv2.findContours(smooth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outline, -1, colour, 2, cv2.LINE_AA)
    return drawn


if __name__ == "__main__":
    main()
