"""The model compiled by OpenVINO for the CPU."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nucleiseg.model import Model, ModelError

if TYPE_CHECKING:
    from nucleiseg.engines.openvino_library import openvino as ov


class Engine:
    """Run the network on bytes: (N, h, w, 3) uint8 in, (N, h / 2, w / 2, 8) uint8 out.

    The graph is compiled once for all sizes. One stream takes all threads, so that a single
    image is done as fast as the machine allows; calls from several threads queue for it.

    Parameters
    ----------
    model : Model
    threads : int
        Processor threads, at least 1.

    Raises
    ------
    ModelError
        OpenVINO cannot read the file.
    """

    name = "OpenVINO"

    def __init__(self, model: Model, threads: int) -> None:
        from nucleiseg.engines.openvino_library import openvino as ov

        core = ov.Core()
        network = _with_bytes(core, model)
        settings = {
            ov.properties.inference_num_threads: threads,
            ov.properties.num_streams: 1,
        }
        try:
            self._compiled = core.compile_model(network, "CPU", settings)
        except RuntimeError as error:
            raise ModelError(f"model: OpenVINO cannot run {model.path}: {_last(error)}") from error
        self._idle: list[ov.InferRequest] = []
        self._lock = threading.Lock()

    def infer(self, tiles: NDArray[np.uint8], threads: int | None = None) -> NDArray[np.uint8]:
        """Run the network.

        Parameters
        ----------
        tiles : ndarray, (N, h, w, 3) uint8
            C-contiguous; h and w are multiples of the model's stride.
        threads : int, optional
            Not looked at: the graph was compiled for its threads.

        Returns
        -------
        ndarray, (N, h / 2, w / 2, 8) uint8
            Cells: nucleus probability and centre distance, 0..255 for 0..1, of 2 x 2 pixels in
            raster order.
        """
        from nucleiseg.engines.openvino_library import openvino as ov

        count, height, width, _ = tiles.shape
        cells = np.empty((count, height // 2, width // 2, 8), np.uint8)
        with self._lock:
            request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        request.set_input_tensor(ov.Tensor(tiles, shared_memory=True))
        request.set_output_tensor(ov.Tensor(cells, shared_memory=True))
        request.infer()
        with self._lock:
            self._idle.append(request)
        return cells


def _with_bytes(core: ov.Core, model: Model) -> ov.Model:
    """Read the ONNX graph and let it take and give bytes, channels last."""
    from nucleiseg.engines.openvino_library import openvino as ov

    try:
        graph = core.read_model(model.path)
        steps = ov.preprocess.PrePostProcessor(graph)
    except RuntimeError as error:
        raise ModelError(f"model: OpenVINO cannot read {model.path}: {_last(error)}") from error
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    graph = steps.build()
    cells = graph.outputs[0].get_node().input_value(0)
    # Conversion truncates, so half is added first; 255.5 still converts to 255.
    ops = ov.opset13
    levels = ops.add(
        ops.multiply(cells, ops.constant(np.float32(255))), ops.constant(np.float32(0.5))
    )
    levels = ops.transpose(ops.convert(levels, "u8"), ops.constant([0, 2, 3, 1]))
    graph = ov.Model([levels], graph.get_parameters(), model.name)
    graph.reshape([-1, -1, -1, 3])
    return graph


def _last(error: RuntimeError) -> str:
    return (str(error).strip().splitlines() or [repr(error)])[-1]
