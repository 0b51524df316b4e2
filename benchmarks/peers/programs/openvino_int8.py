"""The shipped file in OpenVINO, limited to some instructions: for benchmarks/steps/engines.py."""

from __future__ import annotations

import os

import numpy as np

from . import openvino_float


class Program(openvino_float.Program):
    about = "the shipped int8 file as it is, for all sizes"
    file = "model"

    def __init__(self, threads: int, files: dict[str, str]) -> None:
        os.environ["ONEDNN_MAX_CPU_ISA"] = files["instructions"]
        super().__init__(threads, files)
        self.answer = files["answer"]

    def take(self, image: np.ndarray, labels: np.ndarray) -> None:
        self.tiles = np.ascontiguousarray(image[None])
        self.request.set_input_tensor(self.library.Tensor(self.tiles, shared_memory=True))
        self.request.infer()
        np.save(self.answer, self.request.get_output_tensor().data)
