"""The network in eight bits: weights and activations rounded while it goes on learning.

Rounding a finished network costs it three hundredths of AP@0.5; a network that is rounded in every
training step learns to live with it (Jacob et al. 2018, doi:10.1109/CVPR.2018.00286). Everything is
symmetric and signed, -127 to 127, which TensorRT has int8 kernels for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np
import onnx
from keras import ops
from numpy.typing import NDArray
from onnx import numpy_helper

from .topology import IMAGE, NETWORKS, Link, Node
from .unet import build, limits, spread

LEVELS = 127.0
"""Largest integer; with -128 left out, a weight and its negative have the same rounding."""

LEVEL_VALUES = "level_values"
"""Entry of an ONNX file's metadata: JSON, what one level of each rounded tensor stands for."""

COVERED = 99.99
"""Percentile of an activation's values that its range covers before it is learned."""

BATCH_NORM_EPSILON = 1e-3
"""The epsilon of `keras.layers.BatchNormalization`."""

EVENNESS = 0.5
"""Share of the unevenness of channels that moves from activations to weights: 1 is all of it."""


class Layer(NamedTuple):
    """A convolution with its normalisation folded in.

    ``kernel`` is (height, width, in, out) of a convolution, (height, width, out, in) of a
    transposed one; the axes say which.
    """

    kernel: keras.Variable
    bias: keras.Variable
    input_axis: int
    output_axis: int


class IntegerNetwork(keras.Model):
    """`unet.build`'s network on rounded weights and activations.

    Parameters
    ----------
    trained : keras.Model
        With its weights, in float32.
    """

    def __init__(self, trained: keras.Model) -> None:
        super().__init__(name=trained.name)
        self.built = True
        self.topology = NETWORKS[trained.name]
        kinds = {node.name: node.kind for node in self.topology.nodes()}
        self.convolutions = {
            name: Layer(
                self._variable(f"{name}_kernel", kernel),
                self._variable(f"{name}_bias", bias),
                *((3, 2) if kinds[name] == "grow" else (2, 3)),
            )
            for name, (kernel, bias) in folded(trained).items()
        }
        self.ranges = {link.maker: link.range_name for link in self.topology.links()}
        self.log_ranges = {
            name: self._variable(f"{name}_log_range", np.zeros(()))
            for name in dict.fromkeys(self.ranges.values())
        }
        self.limited = bool(limits(trained))
        for maker, limit in limits(trained).items():
            self.log_ranges[self.ranges[maker]].assign(np.log(limit))

    def _variable(self, name: str, value: NDArray[np.generic]) -> keras.Variable:
        variable = self.add_weight(value.shape, name=name, dtype="float32")
        variable.assign(value.astype(np.float32))
        return variable

    def call(self, image: keras.KerasTensor, training: bool = True) -> keras.KerasTensor:
        """(N, h, w, 3) float32 in 0..255 -> (N, h, w, 2) float32 in 0..1."""
        return self.forward(image, self._rounded)

    def forward(
        self,
        image: keras.KerasTensor,
        seen: Callable[[keras.KerasTensor, str], keras.KerasTensor],
    ) -> keras.KerasTensor:
        """Run the network; `seen` gets what other convolutions read, and the name of its maker."""
        tensors = {IMAGE: ops.cast(image, "float32") / 255.0}
        for node in self.topology.nodes():
            x = self._computed(node, [tensors[name] for name in node.inputs])
            tensors[node.name] = seen(x, node.name) if node.name in self.ranges else x
        return ops.sigmoid(spread(tensors["logits"]))

    def _computed(self, node: Node, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        if node.kind == "join":
            return ops.concatenate(inputs, -1)
        (x,) = inputs
        if node.kind == "pool":
            return ops.max_pool(x, 2, 2, "valid", "channels_last")
        layer = self.convolutions[node.name]
        kernel = _round_to(layer.kernel, kernel_scale(layer))
        if node.kind == "grow":
            x = ops.conv_transpose(x, kernel, 2, "valid", data_format="channels_last")
            return x + layer.bias
        x = ops.conv(x, kernel, node.step, "same", "channels_last") + layer.bias
        return x if node.kind == "logits" else ops.relu(x)

    def _rounded(self, x: keras.KerasTensor, maker: str) -> keras.KerasTensor:
        limit = ops.exp(self.log_ranges[self.ranges[maker]])
        return _round_to(ops.maximum(ops.minimum(x, limit), -limit), limit / LEVELS)

    def scales(self) -> dict[str, float]:
        """Return the value of one level of each link's tensor, by its maker."""
        return {
            maker: float(ops.exp(self.log_ranges[name])) / LEVELS
            for maker, name in self.ranges.items()
        }


def from_file(proto: onnx.ModelProto) -> IntegerNetwork:
    """Return the network of a file that `training.export` wrote, as it can go on learning.

    Raises
    ------
    ValueError
        It is of none of `topology.NETWORKS`, or does not say what its levels stand for.
    """
    kernels = [one for one in proto.graph.initializer if one.name.endswith("_kernel")]
    found = {one.name: one.dims[0] for one in kernels}
    for topology in NETWORKS.values():
        nodes = [node for node in topology.nodes() if node.kind not in ("pool", "join")]
        widths = {f"{x.name}_kernel": x.width * (4 if x.kind == "grow" else 1) for x in nodes}
        if found == widths:
            network = IntegerNetwork(build(topology))
            restore(network, proto)
            return network
    raise ValueError(f"model: accepted is a file of the networks {', '.join(NETWORKS)}")


def restore(network: IntegerNetwork, proto: onnx.ModelProto) -> None:
    """Set a network to the weights and ranges of a file that `training.export` wrote.

    Parameters
    ----------
    network : IntegerNetwork
    proto : onnx.ModelProto
        With Q/DQ nodes.

    Raises
    ------
    ValueError
        It does not say what its levels stand for.
    """
    constants = {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}
    props = {one.key: one.value for one in proto.metadata_props}
    if LEVEL_VALUES not in props:
        raise ValueError(
            f"model: its metadata has no {LEVEL_VALUES}, what its levels stand for; accepted are "
            "files that this version of training.export wrote"
        )
    values = {IMAGE: 1 / 255} | json.loads(props[LEVEL_VALUES])
    for node in network.topology.nodes():
        if node.kind in ("pool", "join"):  # their levels stand for what they read
            values[node.name] = values[node.inputs[0]]
            continue
        layer = network.convolutions[node.name]
        after = values.get(node.name, 1.0)
        scale = constants[f"{node.name}_factor"] * (after / values[node.inputs[0]])
        kernel = constants[f"{node.name}_kernel"] * scale.reshape(-1, 1, 1, 1)
        if node.kind == "grow":
            kernel = kernel.reshape(2, 2, -1, kernel.shape[1])
        else:  # ONNX's kernels begin with the two channel axes, TensorFlow's end with them
            kernel = kernel.transpose(2, 3, 1, 0)
        layer.kernel.assign(kernel)
        offsets = constants[f"{node.name}_offset"].ravel()[: layer.bias.shape[0]]
        layer.bias.assign(offsets * after)
        if node.name in network.ranges:
            limit = np.log(after * LEVELS)
            network.log_ranges[network.ranges[node.name]].assign(limit)


def kernel_scale(layer: Layer) -> keras.KerasTensor:
    """Return the value of one of 255 levels for each output channel, shaped to fit the kernel."""
    axes = [axis for axis in range(4) if axis != layer.output_axis]
    largest = ops.max(ops.abs(layer.kernel), axes, keepdims=True)
    return ops.stop_gradient(ops.maximum(largest, 1e-8) / LEVELS)


def _round_to(x: keras.KerasTensor, step: keras.KerasTensor) -> keras.KerasTensor:
    """Round to multiples of a step; the gradient passes as if nothing were rounded (Bengio et al.
    2013, doi:10.48550/arXiv.1308.3432)."""
    return x + ops.stop_gradient(ops.round(x / step) * step - x)


def folded(trained: keras.Model) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return kernel and bias of each convolution, its batch normalisation folded in."""
    values = {w.path: keras.ops.convert_to_numpy(w) for w in trained.weights}
    found = {}
    for path, kernel in values.items():
        layer, what = path.rsplit("/", 1)
        if what != "kernel":
            continue
        name = layer.removesuffix("_conv")
        if f"{name}_norm/gamma" in values:
            gamma, beta, mean, variance = (
                values[f"{name}_norm/{part}"]
                for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            gain = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
            found[name] = (kernel * gain, beta - mean * gain)
        else:
            found[name] = (kernel, values[f"{layer}/bias"])
    return found


def as_float(network: IntegerNetwork) -> keras.Model:
    """Return the float32 network of the weights that an integer network learned, unrounded.

    `folded` gives them back from it: kernels are as they are, biases are in the batch
    normalisations, which otherwise let everything pass.

    Parameters
    ----------
    network : IntegerNetwork

    Returns
    -------
    keras.Model
        As `unet.build` makes it, with the limits that the network learned.
    """
    trained = build(
        network.topology, limits={name: LEVELS * x for name, x in network.scales().items()}
    )
    values = {"gamma": 1.0, "moving_mean": 0.0, "moving_variance": 1 - BATCH_NORM_EPSILON}
    for weight in trained.weights:
        layer, what = weight.path.rsplit("/", 1)
        learned = network.convolutions[layer.removesuffix("_conv").removesuffix("_norm")]
        if what == "kernel":
            weight.assign(learned.kernel)
        elif what in ("bias", "beta"):
            weight.assign(learned.bias)
        else:
            weight.assign(np.full(weight.shape, values[what], np.float32))
    return trained


def calibrate(network: IntegerNetwork, crops: NDArray[np.uint8]) -> None:
    """Even out the channels and set the ranges from what the network computes of some images.

    Parameters
    ----------
    network : IntegerNetwork
    crops : ndarray, (N, h, w, 3) uint8
    """
    _even_out(network, crops)
    spans: dict[str, list[float]] = {}

    def look(x: keras.KerasTensor, maker: str) -> keras.KerasTensor:
        values = np.abs(ops.convert_to_numpy(x))
        span = float(np.percentile(values, COVERED))
        spans.setdefault(network.ranges[maker], []).append(span)
        return x

    for crop in crops:
        network.forward(crop[None].astype(np.float32), look)
    for name, values in spans.items():
        network.log_ranges[name].assign(np.log(max(*values, 1e-3)))


def _even_out(network: IntegerNetwork, crops: Iterable[NDArray[np.uint8]]) -> None:
    """Divide channels where they are made and multiply them where they are used.

    ReLU, pooling and joining let positive factors pass, so the network computes the same, but a
    channel with a tenth of its neighbours' range no longer lives on a tenth of the levels. The
    factors are those of Xiao et al. 2023, doi:10.48550/arXiv.2211.10438.
    """
    table = network.topology.links()
    spans = {link.maker: np.zeros(1, np.float32) for link in table}

    def look(x: keras.KerasTensor, maker: str) -> keras.KerasTensor:
        spans[maker] = np.maximum(spans[maker], np.abs(ops.convert_to_numpy(x)).max((0, 1, 2)))
        return x

    for crop in crops:
        network.forward(crop[None].astype(np.float32), look)
    for link in table:
        _even_out_link(network, link, spans[link.maker])


def _even_out_link(network: IntegerNetwork, link: Link, span: NDArray[np.float32]) -> None:
    users = [(network.convolutions[name], first) for name, first in link.users]
    kernels = [ops.convert_to_numpy(layer.kernel).copy() for layer, _ in users]
    used = [
        np.moveaxis(kernel, layer.input_axis, 0)[first : first + len(span)]
        for (layer, first), kernel in zip(users, kernels, strict=True)
    ]
    strength = np.max([np.abs(one).max((1, 2, 3)) for one in used], axis=0)
    alive = (span > 1e-6) & (strength > 1e-9)
    factors = np.ones_like(span)
    factors[alive] = span[alive] ** EVENNESS / strength[alive] ** (1 - EVENNESS)
    factors /= np.exp(np.log(factors).mean())
    maker = network.convolutions[link.maker]
    shape = [1] * 4
    shape[maker.output_axis] = -1
    maker.kernel.assign(maker.kernel / factors.reshape(shape))
    maker.bias.assign(maker.bias / factors)
    for (layer, _), kernel, part in zip(users, kernels, used, strict=True):
        part *= factors[:, None, None, None]
        layer.kernel.assign(kernel)
