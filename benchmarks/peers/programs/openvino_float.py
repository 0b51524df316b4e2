"""Our model in OpenVINO, float32."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import seconds

sys.modules["openvino_telemetry"] = None  # it would report to an analytics service


class Program:
    packages = ("openvino",)
    weights = "trained"
    about = "nucleiseg's network before it was rounded, without the steps around it"
    file = "float_graph"

    def __init__(self, threads: int, files: dict[str, str]) -> None:
        import openvino  # what limits its instructions is read when it is loaded

        self.library: Any = openvino
        settings = {
            openvino.properties.inference_num_threads: threads,
            openvino.properties.num_streams: 1,
            # Without, it goes by instructions that it may not use, and computes nonsense in int8.
            openvino.properties.hint.inference_precision: openvino.Type.f32,
        }
        compiled = openvino.Core().compile_model(files[self.file], "CPU", settings)
        self.request = compiled.create_infer_request()

    def take(self, image: np.ndarray, labels: np.ndarray) -> None:
        values = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        self.request.set_input_tensor(self.library.Tensor(values))

    def run(self) -> dict[str, float]:
        return {"maps": seconds(self.request.infer)}
