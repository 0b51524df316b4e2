"""Pictures of the images with the worst scores: what was found beside what is true."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nucleiseg import images

from .metrics import Score
from .samples import Sample

COUNT = 10

PANEL, LARGEST_FACTOR = 1400, 8
"""Small images are enlarged by the largest whole factor that keeps their longer side below this
many pixels."""

TRUE, FOUND, EDGE = (0, 229, 255), (255, 176, 0), (0, 0, 0)
"""Cyan and orange differ to colour-blind eyes too, and no stain has either; a black edge keeps
them apart from bright pictures."""

UNSAFE = re.compile(r"[^\w.-]")

GAP = 8
LINE = 34
"""Height of a line of the caption in pixels."""

FONT, SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.8


def write(
    folder: Path,
    samples: Sequence[Sample],
    scores: Sequence[Score],
    label: Callable[[Sample], NDArray[np.int32]],
) -> list[Path]:
    """Write ``NN_name.png`` of the images of lowest AP@0.5, then Dice, then name, worst first.

    Pictures that an earlier run left in the folder are removed.

    Raises
    ------
    OSError
        See `nucleiseg.images.write`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    worst = sorted(
        range(len(samples)),
        key=lambda index: (scores[index].ap[0], scores[index].mean_dice, samples[index].name),
    )
    for rank, index in enumerate(worst[:COUNT], start=1):
        sample = samples[index]
        path = folder / f"{rank:02}_{UNSAFE.sub('_', sample.name)}.png"
        images.write_png(path, draw(sample, label(sample), scores[index]))
        written.append(path)
    for old in set(folder.glob("[0-9][0-9]_*.png")) - set(written):
        old.unlink()
    return written


def draw(sample: Sample, labels: NDArray[np.int32], score: Score) -> NDArray[np.uint8]:
    """Put a picture beside itself with the outlines of the true and the found nuclei.

    Returns
    -------
    ndarray, (h, w, 3) uint8
        RGB; the figures stand below the pictures.
    """
    factor = min(max(1, PANEL // max(sample.labels.shape)), LARGEST_FACTOR)
    height, width = sample.labels.shape
    size = width * factor, height * factor
    picture = cv2.resize(sample.image, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    outlined = _outlined(
        picture, _enlarged(sample.labels, factor), _enlarged(labels, factor), factor
    )
    between = np.full((len(picture), GAP, 3), 255, np.uint8)
    panels = np.hstack([picture, between, outlined])
    return np.vstack([panels, _caption(panels.shape[1], sample, score)])


def _enlarged(labels: NDArray[np.int32], factor: int) -> NDArray[np.int32]:
    return labels.repeat(factor, axis=0).repeat(factor, axis=1)


def _outlined(
    picture: NDArray[np.uint8], truth: NDArray[np.int32], labels: NDArray[np.int32], factor: int
) -> NDArray[np.uint8]:
    """Draw true outlines broad and found ones narrow on top, so that both can be seen."""
    true, found = _outline(truth, min(factor + 4, 7)), _outline(labels, min(max(factor, 3), 4))
    drawn = (true | found).astype(np.uint8)
    canvas: NDArray[np.uint8] = picture.copy()
    canvas[cv2.dilate(drawn, np.ones((3, 3), np.uint8)) > 0] = EDGE
    canvas[true] = TRUE
    canvas[found] = FOUND
    return canvas


def _outline(labels: NDArray[np.int32], pixels: int) -> NDArray[np.bool_]:
    """Mark where a brush of so many pixels touches two numbers."""
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (pixels, pixels))
    values = labels.astype(np.float32)  # OpenCV's filters take no int32
    touched: NDArray[np.bool_] = cv2.dilate(values, brush) != cv2.erode(values, brush)
    return touched


def _caption(width: int, sample: Sample, score: Score) -> NDArray[np.uint8]:
    """Name and figures below the plain picture, what the colours mean below the other."""
    strip = np.full((2 * LINE + 2 * GAP, width, 3), 255, np.uint8)
    middle = (width + GAP) // 2
    figures = (
        f"AP@0.5 {score.ap[0]:.3f}   Dice {score.mean_dice:.3f}   PQ {score.pq[0]:.3f}   "
        f"merges {score.merges}   splits {score.splits}"
    )
    _print(strip[:LINE, :middle], f"{sample.name} ({sample.modality})")
    _print(strip[LINE : 2 * LINE, :middle], figures)
    _explain(strip[:LINE, middle:], TRUE, f"true: {score.nuclei} nuclei")
    _explain(strip[LINE : 2 * LINE, middle:], FOUND, f"found: {score.found} nuclei")
    return strip


def _explain(strip: NDArray[np.uint8], colour: tuple[int, int, int], words: str) -> None:
    strip[GAP:LINE, GAP : 2 * LINE] = EDGE
    strip[GAP + 1 : LINE - 1, GAP + 1 : 2 * LINE - 1] = colour
    _print(strip[:, 2 * LINE :], words)


def _print(strip: NDArray[np.uint8], words: str) -> None:
    """Print words on one line, smaller if they do not fit. OpenCV's font has ASCII only."""
    words = words.encode("ascii", "replace").decode()
    (width, _), _ = cv2.getTextSize(words, FONT, SIZE, 1)
    size = SIZE * max(0.0, min(1.0, (strip.shape[1] - 2 * GAP) / width))
    cv2.putText(strip, words, (GAP, LINE - 5), FONT, size, EDGE, 1, cv2.LINE_AA)
