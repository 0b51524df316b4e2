"""From an integer network to an ONNX file with explicit Q/DQ nodes, in plain operators.

The form is the one that TensorRT makes int8 kernels of, and every engine reads the same file. Bytes
go in and come out, channels last. Two tensors that are joined are levels of one scale, so what is
concatenated is bytes. A transposed 2 x 2 convolution at stride 2 is a 1 x 1 convolution whose
channels are then spread over 2 x 2 pixels: the same sums, for which there are int8 kernels.

Levels and weights go into a convolution as whole numbers: all scales are 1, and the stem reads
bytes as they are. So the sums are exact in float32 up to 2^24, in any order, and what each is
multiplied with and what is added stands behind it. What a level stands for is in the file's
metadata alone.
"""

from __future__ import annotations

import json

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .integers import LEVEL_VALUES, LEVELS, IntegerNetwork, kernel_scale
from .roundings import settle
from .topology import BLOCK, IMAGE, Node

numpy = keras.ops.convert_to_numpy

OPSET = 17
"""Read by TensorRT 8.6 and later, and ONNX Runtime."""

GROWTH = 2
"""Pixels per side that a transposed convolution makes of one."""


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
        ``tiles`` (N, h, w, 3) uint8 -> ``cells`` (N, h / 2, w / 2, 8) uint8, 0..255 for 0..1: both
        maps of 2 x 2 pixels in raster order. Spreading them over the pixels is left to the package,
        which does it while it copies. Without rounding ``image`` (N, 3, h, w) float32 in 0..255 ->
        ``cells`` (N, 8, h / 2, w / 2) float32 in 0..1.
    """
    return _Writer(network, rounding).write()


class _Writer:
    """Tensors go by their names: those of levels where there is rounding, which `_values` turns
    into numbers."""

    def __init__(self, network: IntegerNetwork, rounding: bool) -> None:
        self.network = network
        self.rounding = rounding
        self.scales = network.scales()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.level_values: dict[str, float] = {IMAGE: 1 / 255}
        self.integers: set[str] = set()
        self.dequantized: dict[str, str] = {}
        if rounding:
            self.unit = [
                self._constant("one", np.array(1, np.float32)),
                self._constant("zero", np.array(0, np.int8)),
            ]

    def write(self) -> onnx.ModelProto:
        write = {
            "stem": self._stem,
            "convolution": self._rectified,
            "pool": self._pool,
            "grow": self._grow,
            "join": self._join,
            "logits": self._convolution,
        }
        tensors = {IMAGE: IMAGE}
        for node in self.network.topology.nodes():
            inputs = [tensors[name] for name in node.inputs]
            tensors[node.name] = write[node.kind](node, *inputs)
        self._cells(tensors["logits"])
        return self._model()

    def _stem(self, node: Node, image: str) -> str:
        if self.rounding:
            self._node("Cast", "tiles_values", ["tiles"], to=TensorProto.FLOAT)
            self._node("Transpose", image, ["tiles_values"], perm=[0, 3, 1, 2])
        return self._rectified(node, image)

    def _convolution(self, node: Node, x: str) -> str:
        """Write a convolution, and what its sums are multiplied with and what is added."""
        before, after = (0, 0) if node.kind == "grow" else node.pads
        name = f"{node.name}_blocks" if node.kind == "grow" else node.name
        kernel, scale = self._kernel(node)
        bias = numpy(self.network.convolutions[node.name].bias)
        bias = np.tile(bias, len(kernel) // len(bias))
        shape = {
            "kernel_shape": list(kernel.shape[2:]),
            "strides": [node.step] * 2,
            "pads": [before, before, after, after],
        }
        if not self.rounding:
            constants = [self._constant(f"{node.name}_kernel", kernel)]
            constants.append(self._constant(f"{node.name}_bias", bias))
            return self._node("Conv", name, [x, *constants], **shape)
        levels = np.rint(kernel / scale.reshape(-1, 1, 1, 1))
        inputs = [self._values(x), self._weights(node, levels)]
        y = self._node("Conv", f"{name}_sums", inputs, **shape)
        factors, offsets = self._rule(node, levels, self.level_values[x] * scale, bias)
        y = self._node("Mul", f"{name}_scaled", [y, self._each(f"{node.name}_factor", factors)])
        return self._node("Add", name, [y, self._each(f"{node.name}_offset", offsets)])

    def _rule(
        self,
        node: Node,
        levels: NDArray[np.float32],
        products: NDArray[np.float64],
        bias: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what brings a node's sums to levels, or to logits, for each channel."""
        value = self.scales.get(node.name, 1.0)
        factors, offsets = (each.astype(np.float32) for each in (products / value, bias / value))
        if node.kind == "logits":
            return factors, offsets
        is_grown = node.kind == "grow"
        places = GROWTH**2 if is_grown else 1  # whose rules are the same
        largest = np.abs(levels).sum((1, 2, 3), dtype=np.float64).reshape(places, -1).max(0)
        largest *= 255 if node.kind == "stem" else LEVELS
        count = len(largest)
        found = settle(factors[:count], offsets[:count], -LEVELS if is_grown else 0, largest)
        return np.tile(found[0], places), np.tile(found[1], places)

    def _each(self, name: str, values: NDArray[np.float32]) -> str:
        """Write a constant of a number for each channel."""
        return self._constant(name, values.reshape(1, -1, 1, 1))

    def _rectified(self, node: Node, x: str) -> str:
        """Rectify and round the result of a convolution."""
        y = self._node("Relu", f"{node.name}_relu", [self._convolution(node, x)])
        return self._rounded(y, self.scales[node.name])

    def _pool(self, node: Node, x: str) -> str:
        shape = {"kernel_shape": [2, 2], "strides": [2, 2]}
        name = self._node("MaxPool", node.name, [self._values(x)], **shape)
        if self.rounding:
            self.level_values[name] = self.level_values[x]
        return name

    def _grow(self, node: Node, x: str) -> str:
        blocks = self._convolution(node, x)
        spread = self._node("DepthToSpace", node.name, [blocks], blocksize=GROWTH, mode="DCR")
        return self._rounded(spread, self.scales[node.name])

    def _join(self, node: Node, *tensors: str) -> str:
        """Concatenate tensors, which have one scale."""
        name = self._node("Concat", node.name, list(tensors), axis=1)
        if self.rounding:
            self.level_values[name] = self.level_values[tensors[0]]
            self.integers.add(name)
        return name

    def _cells(self, logits: str) -> None:
        if not self.rounding:
            self._node("Sigmoid", "cells", [logits])
            return
        # First of all, so that TensorRT makes one kernel of all that follows.
        self._node("Transpose", "logits_last", [logits], perm=[0, 2, 3, 1])
        self._node("Sigmoid", "shares", ["logits_last"])
        full = self._constant("full", np.array(255, np.float32))
        self._node("Mul", "shares_scaled", ["shares", full])
        # Conversion truncates, so half is added first; 255.5 still converts to 255.
        half = self._constant("half", np.array(0.5, np.float32))
        self._node("Add", "shares_shifted", ["shares_scaled", half])
        self._node("Cast", "cells", ["shares_shifted"], to=TensorProto.UINT8)

    def _kernel(self, node: Node) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a kernel in ONNX's order of axes, and the value of a level for each channel."""
        layer = self.network.convolutions[node.name]
        kernel = numpy(layer.kernel)
        scale = numpy(kernel_scale(layer)).ravel()
        if node.kind == "grow":
            # (2, 2, out, in) to a 1 x 1 convolution's (4 out, in, 1, 1), which `_grow` spreads.
            return kernel.reshape(-1, kernel.shape[-1], 1, 1), np.tile(scale, GROWTH**2)
        # TensorFlow's kernels end with the two channel axes, ONNX's begin with them.
        kernel = kernel.transpose(3, 2, 0, 1)
        if node.kind == "stem" and not self.rounding:  # the file takes 0..255
            return kernel / 255, scale / 255
        return kernel, scale

    def _weights(self, node: Node, levels: NDArray[np.float32]) -> str:
        name = f"{node.name}_kernel"
        if node.kind == "stem":
            return self._constant(name, levels)
        inputs = [self._constant(name, levels.astype(np.int8)), *self.unit]
        return self._node("DequantizeLinear", f"{name}_values", inputs)

    def _limited(self, x: str, scale: float) -> str:
        limit = np.array(scale * LEVELS, np.float32)
        ends = [
            self._constant(f"{x}_{name}", end) for name, end in (("low", -limit), ("high", limit))
        ]
        return self._node("Clip", f"{x}_limited", [x, *ends])

    def _rounded(self, x: str, scale: float) -> str:
        """Round a tensor of levels, where there is rounding, or limit one of numbers."""
        if not self.rounding:
            return self._limited(x, scale) if self.network.limited else x
        levels = self._node("QuantizeLinear", f"{x}_levels", [x, *self.unit])
        self.level_values[levels] = scale
        self.integers.add(levels)
        return levels

    def _values(self, x: str) -> str:
        """Return levels as numbers, or the tensor itself if it has numbers."""
        if x not in self.integers:
            return x
        if x not in self.dequantized:
            name = f"{x.removesuffix('_levels')}_values"
            self.dequantized[x] = self._node("DequantizeLinear", name, [x, *self.unit])
        return self.dequantized[x]

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        if value.dtype.kind == "f":
            value = value.astype(np.float32)
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def _model(self) -> onnx.ModelProto:
        cells = 2 * BLOCK**2
        inputs = _value("image", TensorProto.FLOAT, 3, "height", "width")
        outputs = _value("cells", TensorProto.FLOAT, cells, "rows", "columns")
        if self.rounding:
            inputs = _value("tiles", TensorProto.UINT8, "height", "width", 3)
            outputs = _value("cells", TensorProto.UINT8, "rows", "columns", cells)
        graph = helper.make_graph(self.nodes, "nuclei", [inputs], [outputs], self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="nucleiseg"
        )
        model.ir_version = 8
        if self.rounding:
            helper.set_model_props(model, {LEVEL_VALUES: json.dumps(self.scales)})
        onnx.checker.check_model(model, full_check=True)
        return model


def _value(name: str, kind: int, *sizes: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", *sizes])
