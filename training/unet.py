"""The network: a U-Net that works at half resolution and answers at full."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

WIDTHS = (16, 32, 64, 128, 256)
"""Channels of each level, the first at half the resolution of the image."""

DOWN = (1, 2, 2, 2, 2)
"""3 x 3 convolutions of each level on the way down, the stem not counted; on the way up it is one.
About 9,500 multiply-adds a pixel; two everywhere would be 12,400."""

STRIDE = 2 ** len(WIDTHS)
"""Image sides are multiples of this many pixels."""


CELL = 2
"""The last convolution answers for cells of this many pixels a side."""


class SubPixels(layers.Layer):
    """Spread the channels of each position over 2 x 2 pixels (Shi et al. 2016,
    doi:10.1109/CVPR.2016.207), so that no convolution runs at full resolution."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(N, h, w, 8) -> (N, 2h, 2w, 2)."""
        return tf.nn.depth_to_space(x, CELL)


def build(
    widths: tuple[int, ...] = WIDTHS, size: int | None = None, rescale: bool = True
) -> keras.Model:
    """Build the U-Net of Ronneberger et al. 2015 (doi:10.1007/978-3-319-24574-4_28) in plain
    operators: 3 x 3 convolutions, max pooling, 2 x 2 transposed convolutions, one sigmoid.

    Parameters
    ----------
    widths : tuple of int
        Channels from half resolution down to the bottom.
    size : int, optional
        Fixed height and width, a multiple of `STRIDE`; free when left out.
    rescale : bool
        Divide the input by 255 first; an export folds that into the first convolution.

    Returns
    -------
    keras.Model
        (N, h, w, 3) float32 in 0..255 -> (N, h, w, 2) float32 in 0..1: nucleus probability and
        centre distance.
    """
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 255.0, name="rescale")(image) if rescale else image
    x = _convolution(x, widths[0], "stem", stride=2)
    skips = []
    for level, width in enumerate(widths):
        if level:
            skips.append(x)
            x = layers.MaxPooling2D(2, name=f"pool{level}")(x)
        for letter in "ab"[: DOWN[level]]:
            x = _convolution(x, width, f"down{level}{letter}")
    for level in reversed(range(len(skips))):
        x = layers.Conv2DTranspose(widths[level], 2, 2, name=f"grow{level}")(x)
        x = layers.Concatenate(name=f"join{level}")([skips[level], x])
        x = _convolution(x, widths[level], f"up{level}")
    x = layers.Conv2D(2 * CELL**2, 3, padding="same", name="logits", dtype="float32")(x)
    x = SubPixels(name="pixels", dtype="float32")(x)
    maps = layers.Activation("sigmoid", name="maps", dtype="float32")(x)
    return keras.Model(image, maps, name="nuclei")


def _convolution(x: keras.KerasTensor, width: int, name: str, stride: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(width, 3, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def halo(levels: int = len(WIDTHS)) -> int:
    """Count the pixels around a stride-aligned cell that its maps depend on.

    Where tiles overlap by twice this much and are cut at multiples of `STRIDE`, their maps are
    those of the whole image, whatever the tiles' size.

    Returns
    -------
    int
        Pixels, a multiple of `STRIDE`.
    """
    # The last convolution sees one position on each side, before it spreads over 2 x 2 pixels.
    first, last = _decoder_reach(0, -1, STRIDE // 2, levels)
    reach = max(-first, last - (STRIDE - 1))
    return -(-reach // STRIDE) * STRIDE


def _decoder_reach(level: int, first: int, last: int, levels: int) -> tuple[int, int]:
    """Give the image pixels seen by the positions first..last after a level of the way up."""
    if level == levels - 1:
        return _encoder_reach(level, first, last)
    first, last = first - 1, last + 1
    skip = _encoder_reach(level, first, last)
    below = _decoder_reach(level + 1, first // 2, last // 2, levels)
    return min(skip[0], below[0]), max(skip[1], below[1])


def _encoder_reach(level: int, first: int, last: int) -> tuple[int, int]:
    """Give the image pixels seen by the positions first..last after a level of the way down."""
    first, last = first - DOWN[level], last + DOWN[level]
    if level == 0:
        return 2 * first, 2 * last + 2  # the stem pads at the end only
    return _encoder_reach(level - 1, 2 * first, 2 * last + 1)


def multiply_adds_per_pixel(model: keras.Model) -> float:
    """Count the multiply-adds of all convolutions, per pixel of the input image."""
    total = 0.0
    for layer in model.layers:
        if isinstance(layer, layers.Conv2DTranspose | layers.Conv2D):
            side = layer.input if isinstance(layer, layers.Conv2DTranspose) else layer.output
            per_position = layer.kernel.shape.num_elements()
            total += per_position * side.shape[1] * side.shape[2]
    return total / (model.input.shape[1] * model.input.shape[2])
