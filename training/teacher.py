"""An earlier model that sees each crop several times, as a second opinion beside the annotation.

The mean of what a model gives for a crop turned, mirrored and magnified is better than what it
gives at one look, and smoother than annotations are. A network of the same size that learns from
both comes close to that mean at one look (Hinton et al. 2015, doi:10.48550/arXiv.1503.02531;
Radosavovic et al. 2018, doi:10.1109/CVPR.2018.00433).
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.topology import CELL, STRIDE

sys.modules["openvino_telemetry"] = None  # it would report to an analytics service

import openvino as ov  # noqa: E402

SHARE = 0.5
"""Of the teacher in what is learned; the rest is the annotation."""

VIEWS = 2
"""Looks at the crop's own size, and as many at `MAGNIFIED`."""

MAGNIFIED = 1.375

LARGE = 28.0
"""Nuclei of more pixels across gain nothing from being magnified."""


class Teacher:
    """A model of ours in OpenVINO, on one thread.

    Parameters
    ----------
    path : Path
        Its ONNX file.
    """

    def __init__(self, path: Path) -> None:
        settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
        self._network = ov.Core().compile_model(path, "CPU", settings)

    def beside(
        self,
        maps: NDArray[np.uint8],
        image: NDArray[np.uint8],
        diameter: float,
        rng: np.random.Generator,
    ) -> NDArray[np.uint8]:
        """Put the teacher's opinion beside the annotation.

        Parameters
        ----------
        maps : ndarray, (size, size, 3) uint8
            Nucleus, distance, emphasis.
        image, diameter, rng
            As `opinion` takes them.

        Returns
        -------
        ndarray, (size, size, 3) uint8
        """
        opinion = self.opinion(image, diameter, rng)
        result = maps.copy()
        result[..., :2] = np.rint((1 - SHARE) * maps[..., :2] + SHARE * 255 * opinion)
        return result

    def opinion(
        self, image: NDArray[np.uint8], diameter: float, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Give the mean maps of several looks at a crop.

        Parameters
        ----------
        image : ndarray, (size, size, 3) uint8
            Before its colours are changed; the size is a multiple of `topology.STRIDE`.
        diameter : float
            Median diameter of the nuclei in the crop, in pixels; nan where there are none.
        rng : Generator
            Draws the turns.

        Returns
        -------
        ndarray, (size, size, 2) float32
            Nucleus probability and centre distance, 0..1.
        """
        size = image.shape[0]
        large = round(size * MAGNIFIED / STRIDE) * STRIDE
        second = size if diameter > LARGE else large
        turns = rng.permutation(8)[: 2 * VIEWS]
        seen = [
            *self._seen(image, size, turns[:VIEWS]),
            *self._seen(image, second, turns[VIEWS:]),
        ]
        return np.mean(seen, axis=0)

    def _seen(
        self, image: NDArray[np.uint8], size: int, turns: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """Look at the image at a size, turned in some of the eight ways."""
        own = image.shape[0]
        if size != own:
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
        views = np.stack([_turned(image, turn) for turn in turns])
        cells = self._network(np.ascontiguousarray(views.transpose(0, 3, 1, 2), np.float32))[0]
        maps = cells.reshape(len(turns), CELL, CELL, 2, size // 2, size // 2)
        maps = maps.transpose(0, 4, 1, 5, 2, 3).reshape(len(turns), size, size, 2)
        back = [_turned_back(one, turn) for one, turn in zip(maps, turns, strict=True)]
        if size == own:
            return back
        return [cv2.resize(one, (own, own), interpolation=cv2.INTER_AREA) for one in back]


def _turned(image: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    turned = np.rot90(image, turn % 4)
    return turned[:, ::-1] if turn >= 4 else turned


def _turned_back(maps: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    straight = maps[:, ::-1] if turn >= 4 else maps
    return np.ascontiguousarray(np.rot90(straight, -(turn % 4)))
