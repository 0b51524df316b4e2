"""Our model in ONNX Runtime, float32."""

from __future__ import annotations

import numpy as np
import onnxruntime

from . import seconds


class Program:
    packages = ("onnxruntime",)
    weights = "trained"
    about = "nucleiseg's network before it was rounded, without the steps around it"

    def __init__(self, threads: int, files: dict[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            files["float_graph"], options, providers=["CPUExecutionProvider"]
        )

    def take(self, image: np.ndarray, labels: np.ndarray) -> None:
        self.inputs = {"image": np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)}

    def run(self) -> dict[str, float]:
        return {"maps": seconds(self.session.run, None, self.inputs)}
