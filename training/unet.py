"""The network: a U-Net that works at half resolution and answers at full."""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import layers, ops

from .topology import BLOCK, FAST, IMAGE, Node, Topology


class SubPixels(layers.Layer):
    """Spread the channels of each position over 2 x 2 pixels (Shi et al. 2016,
    doi:10.1109/CVPR.2016.207), so that no convolution runs at full resolution."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """(N, h, w, 8) -> (N, 2h, 2w, 2)."""
        return spread(x)


def spread(x: keras.KerasTensor) -> keras.KerasTensor:
    """(N, h, w, 8) -> (N, 2h, 2w, 2): the channels are 2 x 2 pixels in raster order."""
    count, height, width, channels = ops.shape(x)
    depth = channels // BLOCK**2
    x = ops.reshape(x, (count, height, width, BLOCK, BLOCK, depth))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (count, height * BLOCK, width * BLOCK, depth))


class Limit(layers.Layer):
    """Limit the values of a tensor to the range that its integers have in the int8 network."""

    def __init__(self, value: float, **options: object) -> None:
        super().__init__(**options)
        self.value = value

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """(N, h, w, C) -> the same, in -value..value."""
        return ops.clip(x, -self.value, self.value)


def limits(model: keras.Model) -> dict[str, float]:
    """Return the largest absolute value of each node of `build` that has a limit."""
    found = (layer for layer in model.layers if isinstance(layer, Limit))
    return {layer.name.removesuffix("_limit"): layer.value for layer in found}


def build(topology: Topology = FAST, limits: Mapping[str, float] | None = None) -> keras.Model:
    """Build the U-Net of Ronneberger et al. 2015 (doi:10.1007/978-3-319-24574-4_28) in plain
    operators: 3 x 3 convolutions, max pooling, 2 x 2 transposed convolutions, one sigmoid.

    Parameters
    ----------
    topology : Topology
        Of `topology.NETWORKS`.
    limits : mapping, optional
        The largest absolute value of nodes, by name. Quantization-aware training learns them, and
        what it learns holds within them only.

    Returns
    -------
    keras.Model
        (N, h, w, 3) float32 in 0..255 -> (N, h, w, 2) float32 in 0..1: nucleus probability and
        centre distance. It is named as the topology is.
    """
    image = keras.Input((None, None, 3), name="image")
    tensors = {IMAGE: layers.Rescaling(1 / 255.0, name="rescale")(image)}
    for node in topology.nodes():
        x = _LAYERS[node.kind](node, *(tensors[name] for name in node.inputs))
        if limits and node.name in limits:
            x = Limit(limits[node.name], name=f"{node.name}_limit")(x)
        tensors[node.name] = x
    x = SubPixels(name="pixels", dtype="float32")(tensors["logits"])
    maps = layers.Activation("sigmoid", name="maps", dtype="float32")(x)
    return keras.Model(image, maps, name=topology.name)


def _convolution(node: Node, x: keras.KerasTensor) -> keras.KerasTensor:
    options = {"strides": node.step, "padding": "same", "use_bias": False}
    x = layers.Conv2D(node.width, node.side, **options, name=f"{node.name}_conv")(x)
    x = layers.BatchNormalization(name=f"{node.name}_norm")(x)
    return layers.ReLU(name=f"{node.name}_relu")(x)


def _pool(node: Node, x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.MaxPooling2D(2, name=node.name)(x)


def _grow(node: Node, x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Conv2DTranspose(node.width, 2, 2, name=node.name)(x)


def _join(node: Node, *tensors: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Concatenate(name=node.name)(tensors)


def _logits(node: Node, x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Conv2D(node.width, 3, padding="same", name=node.name, dtype="float32")(x)


_LAYERS = {
    "stem": _convolution,
    "convolution": _convolution,
    "pool": _pool,
    "grow": _grow,
    "join": _join,
    "logits": _logits,
}
