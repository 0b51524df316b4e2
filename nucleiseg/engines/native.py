"""The model run by the package's own integer kernels on the CPU: `_native.cpu.Network`."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.engines import onnx_file
from nucleiseg.engines.onnx_file import Graph, Node
from nucleiseg.model import Model

LOGIT_STEPS = 128
"""Steps of a unit to which logits are rounded: ``kLogitSteps`` in csrc/kernels/network.h."""

STEM_PADS = {(3, 3): [0, 0, 1, 1], (6, 6): [2, 2, 2, 2]}
"""Of the image's convolution, by its size: rows and columns of zeros before, then after."""

LARGE = 1024 * 1024
"""Pixels above which a tile is large. Its threads hardly wait for each other, and as it takes much
memory (about 16 bytes a pixel) there is only one at a time."""

SLOWER_THAN_OPENVINO = ("portable",)
"""Levels of the kernels that are for tests and not for speed."""


class OtherNetworkError(ValueError):
    """A model that is not the int8 U-Net of `training.export`, which these kernels run."""


class Engine:
    """Run the network on bytes: (N, h, w, 3) uint8 in, (N, h / 2, w / 2, 8) uint8 out.

    It computes what the file's Q/DQ nodes say, in whole numbers, so every processor, number of
    threads and size of tile gives the same bytes. Calls may come from several threads at once; of
    large tiles (`LARGE`) one is at work at a time, on all threads.

    Parameters
    ----------
    model : Model
    threads : int
        Processor threads, at least 1.
    level : str
        One of ``_native.cpu.convolution_levels()``; the best when empty.

    Raises
    ------
    OtherNetworkError
        The file holds another network.
    """

    def __init__(self, model: Model, threads: int, level: str = "") -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._network = cpu.Network(level)
        add_layers(model, self._network)

    @property
    def name(self) -> str:
        """Say what runs the network."""
        return f"its own int8 kernels ({self._network.level})"

    def infer(self, tiles: NDArray[np.uint8], threads: int | None = None) -> NDArray[np.uint8]:
        """Run the network.

        Parameters
        ----------
        tiles : ndarray, (N, h, w, 3) uint8
            C-contiguous; h and w are multiples of the model's stride.
        threads : int, optional
            For this call, where its tiles are not large; all when left out.

        Returns
        -------
        ndarray, (N, h / 2, w / 2, 8) uint8
            Cells: nucleus probability and centre distance, 0..255 for 0..1, of 2 x 2 pixels in
            raster order.
        """
        if tiles.shape[1] * tiles.shape[2] <= LARGE:
            return self._network.run(tiles, threads=threads or self._threads)
        with self._lock:
            return self._network.run(tiles, threads=self._threads)


def level() -> str:
    """Name the best level of the kernels on this CPU; empty where OpenVINO is faster."""
    best = cpu.convolution_levels()[-1]
    return "" if best in SLOWER_THAN_OPENVINO else best


def add_layers(model: Model, network: cpu.Network) -> None:
    """Add a model's layers to an empty network, or to whatever takes layers as it does.

    Raises
    ------
    OtherNetworkError
        The file holds another network.
    """
    _Builder(model, network).build()


class _Builder:
    """Follows a graph from its end to its beginning, and adds its layers from there on."""

    def __init__(self, model: Model, network: cpu.Network) -> None:
        try:
            self.graph: Graph = onnx_file.read(model.path.read_bytes())
        except ValueError as error:
            raise OtherNetworkError(f"model: {model.path} has {error}") from error
        self.path = model.path
        self.makers = {name: node for node in self.graph.nodes for name in node.outputs}
        self.tensors: dict[str, tuple[int, float]] = {}
        self.network = network

    def build(self) -> None:
        try:
            self._cells()
        except OtherNetworkError:
            raise
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise OtherNetworkError(f"model: {self.path} is another network ({error})") from error

    def _cells(self) -> None:
        (output,) = self.graph.outputs
        sigmoid = self._made(output, "Sigmoid")
        node = self._made(sigmoid.inputs[0], "Conv")
        source, scale = self._tensor(node.inputs[0])
        kernel, steps = self._kernel(node)
        self._expect(node, [1, 1], [1, 1, 1, 1])
        self.network.cells(
            source, kernel, *_rounding(scale * steps, self._bias(node), 1 / LOGIT_STEPS)
        )

    def _tensor(self, name: str) -> tuple[int, float]:
        """Give a tensor's number and the value of one of its levels."""
        if name not in self.tensors:
            self.tensors[name] = self._layer(name)
        return self.tensors[name]

    def _layer(self, name: str) -> tuple[int, float]:
        node = self._made(name, "MaxPool", "DequantizeLinear")
        if node.operator == "MaxPool":
            self._expect(node, [2, 2], [0, 0, 0, 0])
            source, value = self._tensor(node.inputs[0])
            return self.network.pool(source), value
        rounded = self._made(node.inputs[0], "QuantizeLinear")
        value = float(self.graph.constants[rounded.inputs[1]])
        if self.graph.constants[rounded.inputs[2]].dtype != np.int8:
            raise OtherNetworkError(f"model: {self.path} has levels that are not signed")
        made = self._made(rounded.inputs[0], "Relu", "ConvTranspose")
        if made.operator == "ConvTranspose":
            return self._grown(made, value), value
        before = self._made(made.inputs[0], "Conv", "Add")
        convolutions = [before]
        if before.operator == "Add":
            convolutions = [self._made(part, "Conv") for part in before.inputs]
        elif self._is_image(before.inputs[0]):
            return self._stem(before, value), value
        return self._convolution(convolutions, value), value

    def _is_image(self, name: str) -> bool:
        maker = self.makers[name]
        rounded = self.makers.get(maker.inputs[0])
        return rounded is not None and rounded.inputs[0] in self.graph.inputs

    def _stem(self, node: Node, value: float) -> int:
        kernel, steps = self._kernel(node)
        self._expect(node, [2, 2], STEM_PADS.get(kernel.shape[2:], []))
        image = self._made(node.inputs[0], "DequantizeLinear")
        scale = float(self.graph.constants[image.inputs[1]])
        return self.network.stem(kernel, *_rounding(scale * steps, self._bias(node), value))

    def _convolution(self, nodes: list[Node], value: float) -> int:
        sources, kernels, products = [], [], []
        bias = np.zeros(1)
        for node in nodes:
            self._expect(node, [1, 1], [1, 1, 1, 1])
            source, scale = self._tensor(node.inputs[0])
            kernel, steps = self._kernel(node)
            sources.append(source)
            kernels.append(kernel)
            products.append(scale * steps)
            bias = bias + self._bias(node)
        if any(not np.array_equal(one, products[0]) for one in products):
            raise OtherNetworkError(f"model: {self.path} adds up sums of different scales")
        return self.network.convolution(sources, kernels, *_rounding(products[0], bias, value))

    def _grown(self, node: Node, value: float) -> int:
        self._expect(node, [2, 2], [0, 0, 0, 0])
        source, scale = self._tensor(node.inputs[0])
        kernel, steps = self._kernel(node)
        return self.network.grow(source, kernel, *_rounding(scale * steps, self._bias(node), value))

    def _kernel(self, node: Node) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Give a convolution's weights, and the value of one level of each output channel."""
        weights = self._made(node.inputs[1], "DequantizeLinear")
        kernel, scale = (self.graph.constants[name] for name in weights.inputs[:2])
        if kernel.dtype != np.int8 or kernel.min() < -127:
            raise OtherNetworkError(f"model: {self.path} has weights that are not -127 to 127")
        return kernel, scale.astype(np.float64)

    def _bias(self, node: Node) -> NDArray[np.float64]:
        if len(node.inputs) < 3:
            return np.zeros(1)
        return self.graph.constants[node.inputs[2]].astype(np.float64)

    def _made(self, name: str, *operators: str) -> Node:
        node = self.makers.get(name)
        if node is None or node.operator not in operators:
            raise OtherNetworkError(
                f"model: {self.path} has {node.operator if node else 'nothing'} where "
                f"{' or '.join(operators)} is expected"
            )
        return node

    def _expect(self, node: Node, strides: list[int], pads: list[int]) -> None:
        plain: dict[str, Any] = {"dilations": [1, 1], "group": 1, "strides": strides, "pads": pads}
        for name, value in plain.items():
            if node.attributes.get(name, value) != value:
                raise OtherNetworkError(
                    f"model: {self.path} has a {node.operator} with {name} of "
                    f"{node.attributes[name]}"
                )


def _rounding(
    products: NDArray[np.float64], bias: NDArray[np.float64], value: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give factor and offset from a sum of products to levels of a value each."""
    offsets = np.broadcast_to(bias / value, products.shape)
    return (products / value).astype(np.float32), offsets.astype(np.float32)
