"""From an integer network to an ONNX file with explicit Q/DQ nodes, in plain operators."""

from __future__ import annotations

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.integers import IntegerNetwork, kernel_scale
from training.topology import CELL

numpy = keras.ops.convert_to_numpy

OPSET = 17
"""Read by OpenVINO, TensorRT 8.6 and later, and ONNX Runtime."""


def to_onnx(network: IntegerNetwork, rounding: bool = True) -> onnx.ModelProto:
    """Write a network as ONNX.

    Parameters
    ----------
    network : IntegerNetwork
    rounding : bool
        With the Q/DQ nodes and int8 weights; without, in float32.

    Returns
    -------
    onnx.ModelProto
        ``image`` (N, 3, h, w) float32 in 0..255 -> ``cells`` (N, 8, h / 2, w / 2) float32 in
        0..1: both maps of 2 x 2 pixels in raster order. Spreading them over the pixels is left to
        the package, which does it while it copies.
    """
    return _Writer(network, rounding).write()


class _Writer:
    def __init__(self, network: IntegerNetwork, rounding: bool) -> None:
        self.network = network
        self.rounding = rounding
        self.scales = network.scales()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def write(self) -> onnx.ModelProto:
        x = self._level("image", 1.0, np.uint8) if self.rounding else "image"
        x = self._convolution("stem", x)
        skips = []
        topology = self.network.topology
        for level in range(len(topology.widths)):
            if level:
                skips.append(x)
                x = self._node("MaxPool", f"pool{level}", [x], kernel_shape=[2, 2], strides=[2, 2])
            for name in topology.down_names(level):
                x = self._convolution(name, x)
        for level in reversed(range(len(skips))):
            grown = self._convolution(f"grow{level}", x)
            first, *others = topology.up_names(level)
            x = self._joined(first, skips[level], grown)
            for name in others:
                x = self._convolution(name, x)
        x = self._convolution("logits", x)
        self._node("Sigmoid", "cells", [x])
        return self._model()

    def _convolution(self, name: str, x: str) -> str:
        layer = self.network.convolutions[name]
        transposed = name.startswith("grow")
        kernel, scale = self._kernel(name)
        weights = self._weights(name, kernel, scale, axis=1 if transposed else 0)
        inputs = [x, weights, self._constant(f"{name}_bias", numpy(layer.bias))]
        size = kernel.shape[2]
        strides = [2, 2] if transposed or name == "stem" else [1, 1]
        before, after = (1, 1)
        if name == "stem":
            before, after = self.network.topology.stem_pads()
        pads = [0] * 4 if transposed else [before, before, after, after]
        operator = "ConvTranspose" if transposed else "Conv"
        shape = {"kernel_shape": [size, size], "strides": strides, "pads": pads}
        return self._finished(name, self._node(operator, name, inputs, **shape))

    def _joined(self, name: str, skip: str, grown: str) -> str:
        """Convolve two tensors side by side, as the sum of one convolution of each.

        It is the same sum, but OpenVINO 2026.4 rounds a concatenation of signed tensors wrongly
        (up to 100 of 127 levels), and here neither tensor has to be copied.
        """
        layer = self.network.convolutions[name]
        kernel, scale = self._kernel(name)
        bias = self._constant(f"{name}_bias", numpy(layer.bias))
        channels = kernel.shape[1] // 2
        halves = (("skip", skip, kernel[:, :channels]), ("grown", grown, kernel[:, channels:]))
        parts = []
        for which, x, half in halves:
            inputs = [x, self._weights(f"{name}_{which}", half, scale, axis=0)]
            inputs += [bias] if which == "skip" else []
            shape = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4}
            parts.append(self._node("Conv", f"{name}_{which}", inputs, **shape))
        return self._finished(name, self._node("Add", name, parts))

    def _kernel(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give a kernel in ONNX's order of axes, and the value of a level for each channel."""
        layer = self.network.convolutions[name]
        # TensorFlow's kernels end with the two channel axes, ONNX's begin with them.
        kernel = numpy(layer.kernel).transpose(3, 2, 0, 1)
        scale = numpy(kernel_scale(layer, name)).ravel()
        if name == "stem":  # the file takes bytes as they are
            return kernel / 255, scale / 255
        return kernel, scale

    def _finished(self, name: str, y: str) -> str:
        """Rectify and round what a convolution gives, where that is its part."""
        if name == "logits":
            return y
        if not name.startswith("grow"):
            y = self._node("Relu", f"{name}_relu", [y])
        return self._level(y, self.scales[name], np.int8) if self.rounding else y

    def _weights(
        self, name: str, kernel: NDArray[np.float32], scale: NDArray[np.float32], axis: int
    ) -> str:
        if not self.rounding:
            return self._constant(f"{name}_kernel", kernel)
        shape = [1] * 4
        shape[axis] = -1
        levels = np.rint(kernel / scale.reshape(shape)).astype(np.int8)
        inputs = [
            self._constant(f"{name}_kernel", levels),
            self._constant(f"{name}_kernel_scale", scale),
            self._constant(f"{name}_kernel_zero", np.zeros(len(scale), np.int8)),
        ]
        return self._node("DequantizeLinear", f"{name}_kernel_values", inputs, axis=axis)

    def _level(self, x: str, scale: float, kind: type) -> str:
        """Round a tensor to multiples of its scale: a pair of nodes."""
        parameters = [
            self._constant(f"{x}_scale", np.array(scale, np.float32)),
            self._constant(f"{x}_zero", np.array(0, kind)),
        ]
        levels = self._node("QuantizeLinear", f"{x}_levels", [x, *parameters])
        return self._node("DequantizeLinear", f"{x}_values", [levels, *parameters])

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        if value.dtype.kind == "f":
            value = value.astype(np.float32)
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def _model(self) -> onnx.ModelProto:
        cells = 2 * CELL**2
        inputs = [_value("image", 3, "height", "width")]
        outputs = [_value("cells", cells, "rows", "columns")]
        graph = helper.make_graph(self.nodes, "nuclei", inputs, outputs, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="nucleiseg"
        )
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


def _value(name: str, channels: int, height: str, width: str) -> onnx.ValueInfoProto:
    shape = ["batch", channels, height, width]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
