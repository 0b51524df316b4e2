"""Draw the picture of the page about slides: ``python docs/draw_slide.py CMU-1-Small-Region.svs``.

On the left the density map of `nucleiseg slide`, on the right the square of the slide with the
most nuclei, with their outlines.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nucleiseg import images, slides

TARGET = Path(__file__).resolve().parent / "pictures" / "slide.jpg"
HEIGHT = 720
SQUARE = 360
"""Pixels of the slide, a side, that are shown enlarged."""

GAP = 16
COLOUR = (0, 230, 255)


def main() -> None:
    """Segment the slide and write ``docs/pictures/slide.jpg``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    path = parser.parse_args().slide
    with tempfile.TemporaryDirectory() as folder:
        slides.segment_slide(path, folder, model="nuclei", formats="density,geojson")
        results = Path(folder) / path.stem
        density = images.read(results / "density.png")
        features = json.loads((results / "nuclei.geojson").read_text())["features"]
    outlines = [
        np.array(each["geometry"]["coordinates"][0], np.int32)
        for each in features
        if each["geometry"]["type"] == "Polygon"
    ]
    width = round(density.shape[1] * HEIGHT / density.shape[0])
    left = cv2.resize(density, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    picture = np.hstack([left, gap, _square(path, outlines)])
    cv2.imwrite(str(TARGET), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f"{TARGET.name}: {picture.shape[1]} x {picture.shape[0]}, {len(features)} nuclei")


def _square(path: Path, outlines: list[NDArray[np.int32]]) -> NDArray[np.uint8]:
    """Return the square with the most nuclei, enlarged, with their outlines."""
    corners = np.array([outline.min(axis=0) for outline in outlines]) // SQUARE
    squares, counts = np.unique(corners, axis=0, return_counts=True)
    column, row = map(int, squares[counts.argmax()] * SQUARE)
    with slides.open(path) as slide:
        pixels = slide.read(level=0, row=row, column=column, height=SQUARE, width=SQUARE)
    picture = cv2.resize(pixels, (HEIGHT, HEIGHT), interpolation=cv2.INTER_CUBIC)
    moved = [(outline - (column, row)) * HEIGHT // SQUARE for outline in outlines]
    cv2.polylines(picture, moved, True, COLOUR, 2, cv2.LINE_AA)
    return picture


if __name__ == "__main__":
    main()
