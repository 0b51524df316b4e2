"""The model run by the package's own integer kernels on the CPU: `_native.cpu.Network`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg._native import cpu
from nucleiseg.engines import onnx_file
from nucleiseg.engines.onnx_file import Graph, Node
from nucleiseg.model import Model, ModelError

if TYPE_CHECKING:
    from nucleiseg._native.cpu import Layers

LOGIT_STEPS = 128
"""Steps of a unit to which logits are rounded: ``kLogitSteps`` in csrc/kernels/network.h."""

GROWTH = 2
"""Pixels per side that a transposed convolution makes of one."""

STEM_PADS = {3: [0, 0, 1, 1], 6: [2, 2, 2, 2]}
"""Padding of the first convolution, by its side: rows and columns of zeros before, then after."""


class Engine:
    """Run the network on bytes: (N, h, w, 3) uint8 in, (N, h / 2, w / 2, 8) uint8 out.

    It computes what the file's Q/DQ nodes say, in whole numbers, so every processor, number of
    threads and size of tile gives the same bytes. Calls may come from several threads at once.

    Attributes
    ----------
    network : _native.cpu.Network
    name : str

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
        self.network: cpu.Network = with_layers(cpu.Network(level), model)
        self.name = f"its own int8 kernels ({self.network.level})"

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run the network.

        Parameters
        ----------
        tiles : ndarray, (N, h, w, 3) uint8
            C-contiguous; h and w are multiples of the model's stride.

        Returns
        -------
        ndarray, (N, h / 2, w / 2, 8) uint8
            Cells: nucleus probability and centre distance, 0..255 for 0..1, of 2 x 2 pixels in
            raster order.
        """
        return self.network.run(tiles, threads=self._threads)


def with_layers(network: Any, model: Model) -> Any:
    """Return a network of any device with a model's layers; ModelError as of `Engine`."""
    add_layers(model, network)
    if model.stride % network.stride:
        raise ModelError(
            f"model: {model.path} takes sides that are multiples of {network.stride} "
            f"pixels, its description says {model.stride}"
        )
    return network


def add_layers(model: Model, network: Layers) -> None:
    """Add a model's layers to an empty network, or to whatever takes layers as it does.

    Raises
    ------
    ModelError
        The file holds another network, or values that do not fit each other.
    """
    _Builder(model, network).build()


@dataclass(frozen=True)
class _Tensor:
    """A tensor of the network: its number, what one of its levels stands for, its channels."""

    number: int
    value: float
    channels: int


@dataclass(frozen=True)
class _Sums:
    """A convolution, and what each channel's sums are multiplied with and what is added."""

    node: Node
    factors: NDArray[np.float64]
    offsets: NDArray[np.float64]

    def rule(
        self, steps: NDArray[np.float64], value: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return factor and offset from a sum of products of steps to levels of a value each."""
        with np.errstate(over="ignore"):  # what is not finite is refused with what is too large
            offsets = np.broadcast_to(self.offsets / value, steps.shape)
            factors = steps * self.factors / value
            return factors.astype(np.float32), offsets.astype(np.float32)


class _Builder:
    """Follows a graph from its end to its beginning, and adds its layers from there on."""

    def __init__(self, model: Model, network: Layers) -> None:
        try:
            self.graph: Graph = onnx_file.read(model.path.read_bytes())
        except ValueError as error:
            raise ModelError(f"model: {model.path} has {error}") from error
        self.path = model.path
        self.makers = {name: node for node in self.graph.nodes for name in node.outputs}
        self.tensors: dict[str, _Tensor] = {}
        self.network = network

    def build(self) -> None:
        try:
            self._cells()
        except ModelError:
            raise
        except (KeyError, IndexError, ValueError, TypeError, RecursionError) as error:
            raise self._error(f"is another network ({error})") from error

    def _error(self, words: str) -> ModelError:
        return ModelError(f"model: {self.path} {words}")

    def _cells(self) -> None:
        (output,) = self.graph.outputs
        cast = self._made(output, "Cast")
        self._attribute(cast, "to", onnx_file.UINT8)
        shifted = self._made(cast.inputs[0], "Add")
        scaled = self._made(shifted.inputs[0], "Mul")
        self._scalar(shifted.inputs[1], 0.5)
        self._scalar(scaled.inputs[1], 255)
        sigmoid = self._made(scaled.inputs[0], "Sigmoid")
        last = self._made(sigmoid.inputs[0], "Transpose")
        self._attribute(last, "perm", [0, 2, 3, 1])
        sums = self._sums(last.inputs[0])
        (source,) = self._sources(sums.node.inputs[0])
        kernel, steps = self._kernel(sums.node)
        self._expect(sums.node, [1, 1], [1, 1, 1, 1])
        rule = sums.rule(source.value * steps, 1 / LOGIT_STEPS)
        self.network.cells(source.number, kernel, *rule)

    def _sources(self, name: str) -> list[_Tensor]:
        """Return the tensors that a convolution reads side by side."""
        node = self._made(name, "MaxPool", "DequantizeLinear")
        if node.operator == "MaxPool":
            return [self._pooled(name, node)]
        value = self._value(node)
        levels = self._made(node.inputs[0], "QuantizeLinear", "Concat")
        parts = [node.inputs[0]]
        if levels.operator == "Concat":
            self._attribute(levels, "axis", 1)
            parts = levels.inputs
        found = [self._levels(part) for part in parts]
        if any(part.value != value for part in found):
            raise self._error("reads levels otherwise than it writes them")
        return found

    def _pooled(self, name: str, node: Node) -> _Tensor:
        if name not in self.tensors:
            self._expect(node, [2, 2], [0, 0, 0, 0])
            self._attribute(node, "kernel_shape", [2, 2])
            (source,) = self._sources(node.inputs[0])
            number = self.network.pool(source.number)
            self.tensors[name] = replace(source, number=number)
        return self.tensors[name]

    def _levels(self, name: str) -> _Tensor:
        """Return the tensor that a QuantizeLinear makes."""
        if name not in self.tensors:
            rounded = self._made(name, "QuantizeLinear")
            value = self._value(rounded)
            made = self._made(rounded.inputs[0], "Relu", "DepthToSpace")
            layer = self._grown if made.operator == "DepthToSpace" else self._rectified
            self.tensors[name] = layer(made, value)
        return self.tensors[name]

    def _rectified(self, node: Node, value: float) -> _Tensor:
        sums = self._sums(node.inputs[0])
        is_stem = sums.node.inputs[1] in self.graph.constants
        return self._stem(sums, value) if is_stem else self._conv(sums, value)

    def _sums(self, name: str) -> _Sums:
        """Return the convolution that a tensor comes from, and what was done to its sums.

        In files of earlier versions all convolutions but the first scale their weights and have a
        bias instead.
        """
        made = self._made(name, "Add", "Conv")
        if made.operator == "Conv":
            return _Sums(made, np.array(1.0), self._finite(self.graph.constants[made.inputs[2]]))
        scaled = self._made(made.inputs[0], "Mul")
        node = self._made(scaled.inputs[0], "Conv")
        if len(node.inputs) != 2:
            raise self._error("has a bias where sums alone are expected")
        factors = self._finite(self.graph.constants[scaled.inputs[1]], 0)
        offsets = self._finite(self.graph.constants[made.inputs[1]])
        each = (1, len(self._weights(node)), 1, 1)
        if factors.shape != each or offsets.shape != each:
            raise self._error("has no factor and offset for each channel")
        return _Sums(node, factors.ravel(), offsets.ravel())

    def _value(self, node: Node) -> float:
        """Return the value of one level of a node that rounds, or that takes levels for numbers."""
        scale, zero = (self.graph.constants[name] for name in node.inputs[1:])
        if zero.dtype != np.int8 or zero.any():
            raise self._error(
                f"has {zero.dtype} levels with zero point {zero.tolist()}; expected are int8 and 0"
            )
        return float(self._finite(scale, 0))

    def _finite(self, values: NDArray[Any], above: float = -np.inf) -> NDArray[np.float64]:
        """Check that constants are float32, finite and above a bound."""
        if values.dtype != np.float32 or not np.all(np.isfinite(values) & (values > above)):
            words = f"has constants that are not finite numbers of float32 above {above:g}"
            raise self._error(words)
        return values.astype(np.float64)

    def _stem(self, sums: _Sums, value: float) -> _Tensor:
        """Add the image's convolution, of weights that are whole numbers in float32."""
        node = sums.node
        weights = self._finite(self._weights(node))
        kernel = np.clip(weights, -127, 127).astype(np.int8)
        if weights.ndim != 4 or weights.size == 0 or not np.array_equal(kernel, weights):
            raise self._error(
                "has a first convolution whose weights are not whole numbers from -127 to 127"
            )
        self._expect(node, [2, 2], STEM_PADS[6 if kernel.shape[2:] == (6, 6) else 3])
        image = self._made(node.inputs[0], "Transpose")
        self._attribute(image, "perm", [0, 3, 1, 2])
        cast = self._made(image.inputs[0], "Cast")
        if cast.inputs != self.graph.inputs:
            raise self._error("does not begin with its input's bytes")
        rule = sums.rule(np.ones(len(kernel)), value)
        return _Tensor(self.network.stem(kernel, *rule), value, len(kernel))

    def _conv(self, sums: _Sums, value: float) -> _Tensor:
        node = sums.node
        self._expect(node, [1, 1], [1, 1, 1, 1])
        sources = self._sources(node.inputs[0])
        kernel, steps = self._kernel(node)
        ends = np.cumsum([source.channels for source in sources])
        if kernel.shape[1] != ends[-1]:
            raise self._error(
                f"has a kernel of {kernel.shape[1]} input channels, its sources have {ends[-1]}"
            )
        kernels = [np.ascontiguousarray(part) for part in np.split(kernel, ends[:-1], axis=1)]
        rule = sums.rule(sources[0].value * steps, value)
        numbers = [source.number for source in sources]
        return _Tensor(self.network.convolution(numbers, kernels, *rule), value, len(kernel))

    def _grown(self, spread: Node, value: float) -> _Tensor:
        """Add a transposed convolution: in the file a 1 x 1 convolution and a depth-to-space."""
        self._attribute(spread, "blocksize", GROWTH)
        self._attribute(spread, "mode", "DCR")
        sums = self._sums(spread.inputs[0])
        node = sums.node
        self._expect(node, [1, 1], [0, 0, 0, 0])
        (source,) = self._sources(node.inputs[0])
        kernel, steps = self._kernel(node)
        places = GROWTH**2
        if kernel.shape[2:] != (1, 1) or len(kernel) % places:
            raise self._error(f"spreads what a kernel of {kernel.shape} gives")
        channels = len(kernel) // places
        factors, offsets = sums.rule(source.value * steps, value)
        for each in (factors, offsets):
            if not np.array_equal(each, np.tile(each[:channels], places)):
                raise self._error("scales the pixels of a block differently")
        kernel = kernel.reshape(GROWTH, GROWTH, channels, -1).transpose(3, 2, 0, 1)
        number = self.network.grow(
            source.number, np.ascontiguousarray(kernel), factors[:channels], offsets[:channels]
        )
        return _Tensor(number, value, channels)

    def _weights(self, node: Node) -> NDArray[Any]:
        """Return the constant that a convolution's weights come from."""
        name = node.inputs[1]
        if name not in self.graph.constants:
            name = self._made(name, "DequantizeLinear").inputs[0]
        return self.graph.constants[name]

    def _kernel(self, node: Node) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return a convolution's weights, and the value of one level of each output channel."""
        weights = self._made(node.inputs[1], "DequantizeLinear")
        kernel, scale, zero = (self.graph.constants[name] for name in weights.inputs)
        is_rounded = kernel.dtype == zero.dtype == np.int8 and kernel.ndim == 4
        if not is_rounded or zero.any() or (scale.ndim and weights.attributes.get("axis", 1) != 0):
            raise self._error("has weights that are not rounded as expected")
        if kernel.size == 0 or kernel.min() < -127 or scale.shape not in ((), kernel.shape[:1]):
            raise self._error("has weights that are not -127 to 127, each scaled")
        return kernel, np.broadcast_to(self._finite(scale, 0), kernel.shape[:1])

    def _scalar(self, name: str, expected: float) -> None:
        """Check a constant."""
        value = self.graph.constants[name]
        if value.shape != () or value != expected:
            raise self._error(f"has {value.tolist()} where {expected} is expected")

    def _attribute(self, node: Node, name: str, expected: Any) -> None:
        found = node.attributes.get(name)
        if found != expected:
            words = f"has a {node.operator} with {name} of {found}; expected is {expected}"
            raise self._error(words)

    def _made(self, name: str, *operators: str) -> Node:
        node = self.makers.get(name)
        if node is None or node.operator not in operators:
            found = node.operator if node else "nothing"
            raise self._error(f"has {found} where {' or '.join(operators)} is expected")
        return node

    def _expect(self, node: Node, strides: list[int], pads: list[int]) -> None:
        plain: dict[str, Any] = {"dilations": [1, 1], "group": 1, "strides": strides, "pads": pads}
        for name, value in plain.items():
            if node.attributes.get(name, value) != value:
                found = node.attributes[name]
                raise self._error(f"has a {node.operator} with {name} of {found}")
