"""The model run by the package's own integer kernels on the CPU: `_native.cpu.Network`."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.engines import onnx_file
from nucleiseg.engines.onnx_file import Graph, Node
from nucleiseg.model import Model, ModelError

LOGIT_STEPS = 128
"""Steps of a unit to which logits are rounded: ``kLogitSteps`` in csrc/kernels/network.h."""

STEM_PADS = {3: [0, 0, 1, 1], 6: [2, 2, 2, 2]}
"""Of the image's convolution, by its side: rows and columns of zeros before, then after."""

LARGE = 1024 * 1024
"""Pixels above which a tile is large. Its threads hardly wait for each other, and as it takes much
memory (about 16 bytes a pixel) there is only one at a time."""


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
        One of ``_native.cpu.convolution_levels()``; the best when empty, of those up to the one
        that the environment variable ``NUCLEISEG_SIMD`` names.

    Raises
    ------
    ModelError
        The file holds another network than the int8 U-Net of `training.export`.
    """

    def __init__(self, model: Model, threads: int, level: str = "") -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._network = cpu.Network(level)
        add_layers(model, self._network)
        if model.stride % self._network.stride:
            raise ModelError(
                f"model: {model.path} takes sides that are multiples of {self._network.stride} "
                f"pixels, its description says {model.stride}"
            )

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


class TakesLayers(Protocol):
    """An empty network, to which layers are added: each gives the number of its tensor."""

    def stem(
        self,
        kernel: NDArray[np.int8],
        factors: NDArray[np.float32],
        offsets: NDArray[np.float32],
    ) -> int:
        """Add the image's convolution."""
        ...

    def convolution(
        self,
        sources: list[int],
        kernels: list[NDArray[np.int8]],
        factors: NDArray[np.float32],
        offsets: NDArray[np.float32],
    ) -> int:
        """Add the sum of a convolution of each source."""
        ...

    def grow(
        self,
        source: int,
        kernel: NDArray[np.int8],
        factors: NDArray[np.float32],
        offsets: NDArray[np.float32],
    ) -> int:
        """Add a transposed convolution."""
        ...

    def pool(self, source: int) -> int:
        """Add the largest of 2 x 2."""
        ...

    def cells(
        self,
        source: int,
        kernel: NDArray[np.int8],
        factors: NDArray[np.float32],
        offsets: NDArray[np.float32],
    ) -> None:
        """Add the last layer."""
        ...


def add_layers(model: Model, network: TakesLayers) -> None:
    """Add a model's layers to an empty network, or to whatever takes layers as it does.

    Raises
    ------
    ModelError
        The file holds another network, or values that do not fit each other.
    """
    _Builder(model, network).build()


class _Builder:
    """Follows a graph from its end to its beginning, and adds its layers from there on."""

    def __init__(self, model: Model, network: TakesLayers) -> None:
        try:
            self.graph: Graph = onnx_file.read(model.path.read_bytes())
        except ValueError as error:
            raise ModelError(f"model: {model.path} has {error}") from error
        self.path = model.path
        self.makers = {name: node for node in self.graph.nodes for name in node.outputs}
        self.tensors: dict[str, tuple[int, float]] = {}
        self.network = network

    def build(self) -> None:
        try:
            self._cells()
        except ModelError:
            raise
        except (KeyError, IndexError, ValueError, TypeError, RecursionError) as error:
            raise ModelError(f"model: {self.path} is another network ({error})") from error

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
        value = self._levels(rounded, node, np.int8)
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

    def _levels(self, rounded: Node, node: Node, dtype: type[np.integer[Any]]) -> float:
        """Return the value of one level of a pair of nodes that round."""
        scale, zero = (self.graph.constants[name] for name in rounded.inputs[1:])
        if rounded.inputs[1:] != node.inputs[1:]:
            raise ModelError(f"model: {self.path} reads levels otherwise than it writes them")
        if zero.dtype != dtype or zero.any():
            raise ModelError(
                f"model: {self.path} has {zero.dtype} levels with zero point {zero.tolist()}; "
                f"expected are {dtype.__name__} and 0"
            )
        return float(self._finite(scale, 0))

    def _finite(self, values: NDArray[Any], above: float = -np.inf) -> NDArray[np.float64]:
        """Check that constants are float32, finite and above a bound."""
        if values.dtype != np.float32 or not np.all(np.isfinite(values) & (values > above)):
            raise ModelError(
                f"model: {self.path} has constants that are not finite numbers of float32 "
                f"above {above:g}"
            )
        return values.astype(np.float64)

    def _is_image(self, name: str) -> bool:
        maker = self.makers[name]
        rounded = self.makers.get(maker.inputs[0])
        return rounded is not None and rounded.inputs[0] in self.graph.inputs

    def _stem(self, node: Node, value: float) -> int:
        kernel, steps = self._kernel(node)
        pads = STEM_PADS[6 if kernel.shape[2:] == (6, 6) else 3]
        self._expect(node, [2, 2], pads)
        image = self._made(node.inputs[0], "DequantizeLinear")
        rounded = self._made(image.inputs[0], "QuantizeLinear")
        scale = self._levels(rounded, image, np.uint8)
        if scale != 1:
            raise ModelError(f"model: {self.path} rounds its input to steps of {scale:g}, not 1")
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
            raise ModelError(f"model: {self.path} adds up sums of different scales")
        return self.network.convolution(sources, kernels, *_rounding(products[0], bias, value))

    def _grown(self, node: Node, value: float) -> int:
        self._expect(node, [2, 2], [0, 0, 0, 0])
        source, scale = self._tensor(node.inputs[0])
        kernel, steps = self._kernel(node)
        return self.network.grow(source, kernel, *_rounding(scale * steps, self._bias(node), value))

    def _kernel(self, node: Node) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Give a convolution's weights, and the value of one level of each output channel."""
        weights = self._made(node.inputs[1], "DequantizeLinear")
        kernel, scale, zero = (self.graph.constants[name] for name in weights.inputs)
        axis = 1 if node.operator == "ConvTranspose" else 0
        is_rounded = kernel.dtype == zero.dtype == np.int8 and kernel.ndim == 4
        if not is_rounded or zero.any() or weights.attributes.get("axis", 1) != axis:
            raise ModelError(f"model: {self.path} has weights that are not rounded as expected")
        if kernel.size == 0 or kernel.min() < -127 or scale.shape != (kernel.shape[axis],):
            raise ModelError(
                f"model: {self.path} has weights that are not -127 to 127, each scaled"
            )
        return kernel, self._finite(scale, 0)

    def _bias(self, node: Node) -> NDArray[np.float64]:
        if len(node.inputs) < 3:
            return np.zeros(1)
        return self._finite(self.graph.constants[node.inputs[2]])

    def _made(self, name: str, *operators: str) -> Node:
        node = self.makers.get(name)
        if node is None or node.operator not in operators:
            raise ModelError(
                f"model: {self.path} has {node.operator if node else 'nothing'} where "
                f"{' or '.join(operators)} is expected"
            )
        return node

    def _expect(self, node: Node, strides: list[int], pads: list[int]) -> None:
        plain: dict[str, Any] = {"dilations": [1, 1], "group": 1, "strides": strides, "pads": pads}
        for name, value in plain.items():
            if node.attributes.get(name, value) != value:
                raise ModelError(
                    f"model: {self.path} has a {node.operator} with {name} of "
                    f"{node.attributes[name]}"
                )


def _rounding(
    products: NDArray[np.float64], bias: NDArray[np.float64], value: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give factor and offset from a sum of products to levels of a value each."""
    with np.errstate(over="ignore"):  # what is not finite is refused with what is too large
        offsets = np.broadcast_to(bias / value, products.shape)
        return (products / value).astype(np.float32), offsets.astype(np.float32)
