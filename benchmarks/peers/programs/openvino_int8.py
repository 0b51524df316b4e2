"""The shipped file in OpenVINO, limited to some instructions: for benchmarks/steps/engines.py."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from . import seconds

sys.modules["openvino_telemetry"] = None  # it would report to an analytics service


class Program:
    packages = ("openvino",)
    weights = "trained"
    about = "the shipped int8 file as it is, for all sizes"

    def __init__(self, threads: int, files: dict[str, str]) -> None:
        os.environ["ONEDNN_MAX_CPU_ISA"] = files["instructions"]  # read when it is loaded
        import openvino

        self.library: Any = openvino
        settings = {
            openvino.properties.inference_num_threads: threads,
            openvino.properties.num_streams: 1,
            # Without, it goes by instructions that it may not use, and computes nonsense.
            openvino.properties.hint.inference_precision: openvino.Type.f32,
        }
        compiled = openvino.Core().compile_model(files["model"], "CPU", settings)
        self.request = compiled.create_infer_request()
        self.answer = files["answer"]

    def take(self, image: np.ndarray, labels: np.ndarray) -> None:
        self.tiles = np.ascontiguousarray(image[None])
        self.request.set_input_tensor(self.library.Tensor(self.tiles, shared_memory=True))
        self.request.infer()
        np.save(self.answer, self.request.get_output_tensor().data)

    def run(self) -> dict[str, float]:
        return {"maps": seconds(self.request.infer)}
