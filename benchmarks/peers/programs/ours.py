"""nucleiseg: an array in, a mask or labels out."""

from __future__ import annotations

import numpy as np

from nucleiseg import Segmenter
from nucleiseg._native import cpu
from nucleiseg.model import DEFAULT

from . import seconds


class Program:
    packages = ("nucleiseg", "numpy")
    weights = "trained"
    model = DEFAULT

    def __init__(self, threads: int, files: dict[str, str]) -> None:
        self.segmenter = Segmenter(self.model, device="cpu", threads=threads)
        model = self.segmenter.model
        self.about = (
            "segment() at scale=1, with the shipped int8 model "
            f"{model.name} {model.version}, SHA-256 {model.checksum[:12]}, "
            f"by its own kernels ({cpu.convolution_levels()[-1]})"
        )

    def take(self, image: np.ndarray, labels: np.ndarray) -> None:
        self.image = image

    def run(self) -> dict[str, float]:
        return {
            output: seconds(self.segmenter.segment, self.image, output, scale=1)
            for output in ("mask", "labels")
        }
