"""Draw the pictures of the README: ``python docs/draw_pictures.py``.

At the top an image above its nuclei, outlined and filled by what `nucleiseg.segment` returns; then
what the README's first block of Python writes.
"""

from __future__ import annotations

import colorsys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import nucleiseg
from nucleiseg import data

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ("fluorescence_crowded.png", "hematoxylin_eosin.png", "purple_on_white.png")
SHAPE = (240, 300)
"""Rows and columns of each image that are shown."""

ZOOM = 2
GAP = 12


def main() -> None:
    """Write ``docs/pictures/first.jpg`` and ``example_overlay.png``."""
    segmenter = nucleiseg.Segmenter("nuclei")
    columns = [_column(segmenter, ROOT / "tests/data/images" / name) for name in IMAGES]
    gap = np.full((columns[0].shape[0], GAP, 3), 255, np.uint8)
    row = np.hstack([part for column in columns for part in (column, gap)][:-1])
    target = ROOT / "docs/pictures/first.jpg"
    cv2.imwrite(str(target), row[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    print(f"{target.relative_to(ROOT)}: {row.shape[1]} x {row.shape[0]}")
    result = nucleiseg.Segmenter().analyze(data.example("fluorescence"))
    result.save(target.parent / "example", "overlay")


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
