"""The model's ONNX graph rewritten for TensorRT.

TensorRT takes strongly typed graphs and signed symmetric levels. The shipped file is signed and
symmetric but for its first pair of Q/DQ nodes, which says that the input is bytes. What is given to
TensorRT takes the bytes themselves, pixel by pixel, and gives cells as the kernels take them:

    tiles (N, h, w, 3) uint8 -> cells (N, h / 2, w / 2, 8) uint8

The first convolution is in floating point, with its weights dequantised: that is exact for bytes,
where shifting them into the signed range would change what the padding at the border means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nucleiseg.model import Model, ModelError

if TYPE_CHECKING:
    import onnx

Precision = Literal["int8", "fp16", "fp32"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

OPSET = 19
"""The first in which Q/DQ nodes take half precision; TensorRT 10.3 reads it."""

_IR_VERSION = 9
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LEVELS = ("QuantizeLinear", "DequantizeLinear")


def rewrite(model: Model, precision: Precision) -> onnx.ModelProto:
    """Write the graph that TensorRT is given.

    Parameters
    ----------
    model : Model
    precision : {"int8", "fp16", "fp32"}
        "int8" keeps the levels, with all else in half precision; the others have none.

    Returns
    -------
    onnx.ModelProto
        ``tiles`` (N, h, w, 3) uint8 -> ``cells`` (N, h / 2, w / 2, 8) uint8.

    Raises
    ------
    ModelError
        Not ONNX, of another interface, with levels that TensorRT does not take, or without levels
        where int8 is asked for.
    ImportError
        onnx is not installed.
    """
    graph = _Graph(model)
    try:
        return _rewritten(graph, precision)
    except KeyError as error:
        raise ModelError(
            f"model: {model.path} computes {error}; expected are constant weights and scales"
        ) from error


def _rewritten(graph: _Graph, precision: Precision) -> onnx.ModelProto:
    graph.take_bytes_as_they_are()
    if precision == "int8":
        graph.check_levels()
        graph.join_sums()
    else:
        graph.drop_levels()
    graph.fold_weights()
    graph.convert(np.float32 if precision == "fp32" else np.float16)
    graph.wrap()
    return graph.written()


class _Graph:
    def __init__(self, model: Model) -> None:
        onnx = _onnx()
        try:
            proto = onnx.load(model.path)
            onnx.checker.check_model(proto)
        except Exception as error:  # protobuf's and onnx's errors share no class
            raise ModelError(f"model: onnx cannot read {model.path}: {_first(error)}") from error
        self.path = model.path
        self.nodes = list(proto.graph.node)
        self.constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer
        }
        versions = [entry.version for entry in proto.opset_import if not entry.domain]
        self.opset = max(OPSET, *versions)
        inputs = {value.name for value in proto.graph.input} - set(self.constants)
        outputs = [value.name for value in proto.graph.output]
        if inputs != {"image"} or outputs != ["cells"]:
            raise self._error(
                f"has inputs {', '.join(sorted(inputs))} and outputs {', '.join(outputs)}; "
                "expected are image and cells"
            )
        self.type: type[np.floating[Any]] = np.float32

    def take_bytes_as_they_are(self) -> None:
        """Remove the Q/DQ nodes at the input, which do nothing to bytes."""
        for node in self._of("QuantizeLinear"):
            if node.input[0] == "image":
                scale, zero = self.constants[node.input[1]], self._zero(node)
                if zero.dtype != np.uint8 or zero != 0 or scale != 1:
                    raise self._error(
                        f"rounds its input to {zero.dtype} with scale {scale} and zero point "
                        f"{zero}; expected are bytes: uint8, 1 and 0"
                    )
                self._drop_pair(node)

    def check_levels(self) -> None:
        """Refuse what TensorRT refuses, or takes for something else without a word."""
        levels = [node for kind in _LEVELS for node in self._of(kind)]
        if not levels:
            raise self._error("has no int8 levels; accepted precisions are fp16 and fp32")
        for node in levels:
            zero = self._zero(node)
            if zero.dtype != np.int8 or np.any(zero):
                raise self._error(
                    f"has {zero.dtype} levels with zero point {np.unique(zero).tolist()} in "
                    f"{node.name}; TensorRT takes int8 with zero point 0"
                )

    def drop_levels(self) -> None:
        """Remove all rounding of activations, but not the limits that came with it.

        The network was trained with them: without, masks differ visibly from those with levels.
        """
        for node in self._of("QuantizeLinear"):
            scale, zero = self.constants[node.input[1]], self._zero(node)
            limits = np.iinfo(zero.dtype)
            below, above = f"{node.name}_below", f"{node.name}_above"
            self.constants[below] = scale * np.float32(limits.min - int(zero))
            self.constants[above] = scale * np.float32(limits.max - int(zero))
            clip = self._node("Clip", [node.input[0], below, above], f"{node.name}_limited")
            self.nodes.insert(self.nodes.index(node), clip)
            node.input[0] = clip.output[0]
            self._drop_pair(node)

    def join_sums(self) -> None:
        """Turn the sum of two convolutions into one of both inputs, side by side.

        The sum is the same, but one operand of it is not written and read in floating point.
        """
        for node in self._of("Add"):
            parts = [self._maker(name) for name in node.input]
            pair = [part for part in parts if part is not None and self._is_joinable(part)]
            if len(pair) == 2 and self._agree(*pair):
                self._join(node, *pair)

    def fold_weights(self) -> None:
        """Dequantise the weights of convolutions that do not read levels."""
        for node in self.nodes:
            dequantize = self._maker(node.input[1]) if node.op_type in _CONVOLUTIONS else None
            if dequantize is not None and not self._reads_levels(node):
                self.constants[node.input[1]] = self._dequantized(dequantize)
                self.nodes.remove(dequantize)

    def convert(self, kind: type[np.floating[Any]]) -> None:
        """Put all that is in floating point into one type."""
        self.type = kind
        scales = {node.input[1] for node in self.nodes if node.op_type in _LEVELS}
        for name, value in self.constants.items():
            if value.dtype != np.float32:
                continue
            with np.errstate(over="ignore"):  # looked for next
                converted = value.astype(kind)
            if not np.isfinite(converted).all() or (name in scales and not np.all(converted)):
                raise self._error(f"has values in {name} that {kind.__name__} has not; use fp32")
            self.constants[name] = converted

    def wrap(self) -> None:
        """Let the graph take and give bytes, channels last."""
        onnx = _onnx()
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.type))
        head = [
            self._node("Cast", ["tiles"], "tiles_values", to=kind),
            self._node("Transpose", ["tiles_values"], "image", perm=[0, 3, 1, 2]),
        ]
        last = self._maker("cells")
        if last is not None and last.op_type == "Sigmoid":
            self.nodes.remove(last)
            values, steps = last.input[0], ["Sigmoid"]
        else:
            self._rename("cells", "cells_values")
            values, steps = "cells_values", []
        self.constants["full"] = np.array(255, np.float32)
        # Conversion truncates, so half is added first; 255.5 still converts to 255.
        self.constants["half"] = np.array(0.5, np.float32)
        tail = [
            # First of all, so that TensorRT makes one kernel of all that follows.
            self._node("Transpose", [values], "cells_last", perm=[0, 2, 3, 1]),
            self._node("Cast", ["cells_last"], "cells_float", to=onnx.TensorProto.FLOAT),
            *[self._node(step, ["cells_float"], "cells_share") for step in steps],
            self._node("Mul", ["cells_share" if steps else "cells_float", "full"], "cells_scaled"),
            self._node("Add", ["cells_scaled", "half"], "cells_shifted"),
            self._node("Cast", ["cells_shifted"], "cells", to=onnx.TensorProto.UINT8),
        ]
        self.nodes = [*head, *self.nodes, *tail]

    def written(self) -> onnx.ModelProto:
        """Give the whole, checked."""
        library = _onnx()
        used = {name for node in self.nodes for name in node.input}
        constants = [
            library.numpy_helper.from_array(value, name)
            for name, value in self.constants.items()
            if name in used
        ]
        inputs = [_bytes("tiles", ["batch", "height", "width", 3])]
        outputs = [_bytes("cells", ["batch", "rows", "columns", 8])]
        graph = library.helper.make_graph(self.nodes, "nuclei", inputs, outputs, constants)
        opsets = [library.helper.make_opsetid("", self.opset)]
        written: onnx.ModelProto = library.helper.make_model(
            graph, opset_imports=opsets, producer_name="nucleiseg"
        )
        written.ir_version = _IR_VERSION
        try:
            library.checker.check_model(written, full_check=True)
        except Exception as error:  # two classes, of two modules of onnx
            raise self._error(f"cannot be written for TensorRT: {_first(error)}") from error
        return written

    def _join(self, node: Any, first: Any, second: Any) -> None:
        both, levels, kernel = (f"{node.output[0]}_{part}" for part in ("both", "levels", "kernel"))
        quantized = [self._maker(part.input[0]) for part in (first, second)]
        weights = [self._maker(part.input[1]) for part in (first, second)]
        kernels = [self.constants[part.input[0]] for part in weights]
        self.constants[kernel] = np.concatenate(kernels, axis=1)
        place = self.nodes.index(node)
        self.nodes[place : place + 1] = [
            self._node("Concat", [part.input[0] for part in quantized], levels, axis=1),
            self._node("DequantizeLinear", [levels, *quantized[0].input[1:]], both),
            self._node(
                "DequantizeLinear", [kernel, *weights[0].input[1:]], f"{kernel}_values", axis=0
            ),
            _copy(first, [both, f"{kernel}_values", *self._biases(first, second)], node.output[0]),
        ]
        for part in (first, second, *weights):
            self.nodes.remove(part)

    def _is_joinable(self, node: Any) -> bool:
        """Say whether this is a convolution of levels with levels that only one node reads."""
        if node.op_type != "Conv" or len(self._readers(node.output[0])) != 1:
            return False
        makers = [self._maker(name) for name in node.input[:2]]
        return all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)

    def _agree(self, first: Any, second: Any) -> bool:
        """Say whether two convolutions differ in nothing but input, weights and who has a bias."""
        same = list(first.attribute) == list(second.attribute)
        for index in (0, 1):
            one, other = (self._maker(part.input[index]) for part in (first, second))
            scales = [self.constants[maker.input[1]] for maker in (one, other)]
            same = same and np.array_equal(*scales) and one.attribute == other.attribute
        return same and len(self._biases(first, second)) < 2

    def _biases(self, first: Any, second: Any) -> list[str]:
        return [name for part in (first, second) for name in part.input[2:]]

    def _reads_levels(self, node: Any) -> bool:
        maker = self._maker(node.input[0])
        while maker is not None and maker.op_type == "MaxPool":
            maker = self._maker(maker.input[0])
        return maker is not None and maker.op_type == "DequantizeLinear"

    def _zero(self, node: Any) -> NDArray[Any]:
        # ONNX takes a missing zero point for uint8.
        return self.constants[node.input[2]] if len(node.input) > 2 else np.zeros((), np.uint8)

    def _dequantized(self, node: Any) -> NDArray[np.float32]:
        levels, scale = self.constants[node.input[0]], self.constants[node.input[1]]
        zero = self._zero(node).astype(np.float32)
        axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
        shape = [1] * levels.ndim
        if scale.ndim:
            shape[axes[0] if axes else 1] = -1
        values: NDArray[np.float32] = (levels - zero.reshape(shape)) * scale.reshape(shape)
        return values

    def _drop_pair(self, node: Any) -> None:
        for reader in self._readers(node.output[0]):
            self._rename(reader.output[0], node.input[0])
            self.nodes.remove(reader)
        self.nodes.remove(node)

    def _rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == old:
                        names[index] = new

    def _of(self, kind: str) -> list[Any]:
        return [node for node in self.nodes if node.op_type == kind]

    def _maker(self, name: str) -> Any:
        return next((node for node in self.nodes if name in node.output), None)

    def _readers(self, name: str) -> list[Any]:
        return [node for node in self.nodes if name in node.input]

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return _onnx().helper.make_node(kind, inputs, [output], name=output, **attributes)

    def _error(self, words: str) -> ModelError:
        return ModelError(f"model: {self.path} {words}")


def _copy(node: Any, inputs: list[str], output: str) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    copy.name = output
    copy.input[:] = inputs
    copy.output[:] = [output]
    return copy


def _bytes(name: str, shape: list[str | int]) -> Any:
    onnx = _onnx()
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, shape)


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError(
            "onnx is not installed; an engine is built from ONNX: pip install onnx"
        ) from error
    return onnx
