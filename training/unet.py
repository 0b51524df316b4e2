"""The network: a U-Net that works at half resolution and answers at full."""

from __future__ import annotations

import math

import keras
from keras import layers, ops

from training.topology import CELL, FAST, Topology


class SubPixels(layers.Layer):
    """Spread the channels of each position over 2 x 2 pixels (Shi et al. 2016,
    doi:10.1109/CVPR.2016.207), so that no convolution runs at full resolution."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """(N, h, w, 8) -> (N, 2h, 2w, 2)."""
        return spread(x)


def spread(x: keras.KerasTensor) -> keras.KerasTensor:
    """(N, h, w, 8) -> (N, 2h, 2w, 2): the channels are 2 x 2 pixels in raster order."""
    count, height, width, channels = ops.shape(x)
    depth = channels // CELL**2
    x = ops.reshape(x, (count, height, width, CELL, CELL, depth))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (count, height * CELL, width * CELL, depth))


def build(topology: Topology = FAST, size: int | None = None, rescale: bool = True) -> keras.Model:
    """Build the U-Net of Ronneberger et al. 2015 (doi:10.1007/978-3-319-24574-4_28) in plain
    operators: 3 x 3 convolutions, max pooling, 2 x 2 transposed convolutions, one sigmoid.

    Parameters
    ----------
    topology : Topology
        Of `topology.NETWORKS`.
    size : int, optional
        Fixed height and width, a multiple of `topology.STRIDE`; free when left out.
    rescale : bool
        Divide the input by 255 first; an export folds that into the first convolution.

    Returns
    -------
    keras.Model
        (N, h, w, 3) float32 in 0..255 -> (N, h, w, 2) float32 in 0..1: nucleus probability and
        centre distance. It is named as the topology is.
    """
    widths = topology.widths
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 255.0, name="rescale")(image) if rescale else image
    x = _convolution(x, widths[0], "stem", side=topology.stem, stride=2)
    skips = []
    for level, width in enumerate(widths):
        if level:
            skips.append(x)
            x = layers.MaxPooling2D(2, name=f"pool{level}")(x)
        for name in topology.down_names(level):
            x = _convolution(x, width, name)
    for level in reversed(range(len(skips))):
        x = layers.Conv2DTranspose(widths[level], 2, 2, name=f"grow{level}")(x)
        x = layers.Concatenate(name=f"join{level}")([skips[level], x])
        for name in topology.up_names(level):
            x = _convolution(x, widths[level], name)
    x = layers.Conv2D(2 * CELL**2, 3, padding="same", name="logits", dtype="float32")(x)
    x = SubPixels(name="pixels", dtype="float32")(x)
    maps = layers.Activation("sigmoid", name="maps", dtype="float32")(x)
    return keras.Model(image, maps, name=topology.name)


def _convolution(
    x: keras.KerasTensor, width: int, name: str, side: int = 3, stride: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(width, side, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def multiply_adds_per_pixel(model: keras.Model) -> float:
    """Count the multiply-adds of all convolutions, per pixel of the input image."""
    total = 0.0
    for layer in model.layers:
        if isinstance(layer, layers.Conv2DTranspose | layers.Conv2D):
            side = layer.input if isinstance(layer, layers.Conv2DTranspose) else layer.output
            per_position = math.prod(layer.kernel.shape)
            total += per_position * side.shape[1] * side.shape[2]
    return total / (model.input.shape[1] * model.input.shape[2])
