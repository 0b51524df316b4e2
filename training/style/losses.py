"""What style transfer makes small, and its gradient in the image.

Each loss is divided by what it is of the content or the style alone. So a weight means the same for
any layer and any network, and the style may be of another size than the content.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from .features import Features

SMALLEST = 1e-12
"""Added to what is divided by, so that a layer without any activation counts nothing."""


class Weights(NamedTuple):
    """How much each loss counts."""

    content: float = 1.0
    style: float = 5.0
    tv: float = 0.1


class Losses(NamedTuple):
    """The sum and its weighted parts."""

    total: float
    content: float
    style: float
    tv: float


def gram(activations: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean product of each pair of channels: (N, h, w, C) -> (C, C).

    The paper sums over positions and divides the loss by their number squared, which is the same
    for images of one size.
    """
    flat = ops.reshape(activations, (-1, activations.shape[-1]))
    return ops.matmul(ops.transpose(flat), flat) / ops.cast(ops.shape(flat)[0], flat.dtype)


def relative_error(found: keras.KerasTensor, wanted: keras.KerasTensor) -> keras.KerasTensor:
    """Return the squared distance of two tensors over the squared length of the second."""
    return ops.sum(ops.square(found - wanted)) / (ops.sum(ops.square(wanted)) + SMALLEST)


def mean_error(
    found: Sequence[keras.KerasTensor], wanted: Sequence[keras.KerasTensor]
) -> keras.KerasTensor:
    """Return the mean of `relative_error` over layers."""
    errors = [relative_error(a, b) for a, b in zip(found, wanted, strict=True)]
    return sum(errors[1:], errors[0]) / len(errors)


def total_variation(image: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean squared difference of neighbouring pixels: (1, H, W, 3) -> ().

    The mean over neighbours in a column and that over neighbours in a row are added.
    """
    down = image[:, 1:] - image[:, :-1]
    right = image[:, :, 1:] - image[:, :, :-1]
    return ops.mean(ops.square(down)) + ops.mean(ops.square(right))


class Objective:
    """The losses of an image beside a content and a style, as an optimiser asks for them.

    The content loss is `mean_error` of the activations, the style loss that of their Gram matrices,
    and the third the `total_variation` over that of the style.

    Parameters
    ----------
    features : Features
        Network and layers.
    content, style : ndarray, (H, W, 3) float64
        RGB in 0..1, of any two sizes.
    weights : Weights
    """

    def __init__(
        self,
        features: Features,
        content: NDArray[np.float64],
        style: NDArray[np.float64],
        weights: Weights,
    ) -> None:
        self.shape = content.shape
        self.losses = Losses(*[np.nan] * 4)
        self._value_and_gradient = _compiled(features)
        activations, _ = features(_tensor(content))
        _, textures = features(_tensor(style))
        self._wanted = (
            activations,
            [gram(one) for one in textures],
            total_variation(_tensor(style)) + SMALLEST,
            [tf.constant(one, tf.float32) for one in weights],
        )

    def __call__(self, flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient; `losses` then holds the parts.

        Parameters
        ----------
        flat : ndarray, (H * W * 3,) float64
            The image in 0..1, in raster order.

        Raises
        ------
        ValueError
            The loss is not finite.
        """
        parts, gradient = self._value_and_gradient(_tensor(flat.reshape(self.shape)), *self._wanted)
        self.losses = Losses(*(float(one) for one in parts))
        if not np.isfinite(self.losses.total):
            raise ValueError(
                f"the loss is {self.losses.total}: content {self.losses.content}, style "
                f"{self.losses.style}, total variation {self.losses.tv}; lower the weights"
            )
        return self.losses.total, gradient.numpy().astype(np.float64).ravel()


@functools.cache
def _compiled(features: Features) -> Callable[..., tuple[list[tf.Tensor], tf.Tensor]]:
    """Compile the losses of a network once for each size of an image."""

    def value_and_gradient(
        image: tf.Tensor,
        content: list[tf.Tensor],
        style: list[tf.Tensor],
        variation: tf.Tensor,
        weights: list[tf.Tensor],
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            activations, textures = features(image)
            errors = (
                mean_error(activations, content),
                mean_error([gram(one) for one in textures], style),
                total_variation(image) / variation,
            )
            parts = [weight * error for weight, error in zip(weights, errors, strict=True)]
            total = parts[0] + parts[1] + parts[2]
        return [total, *parts], tape.gradient(total, image)

    return tf.function(value_and_gradient)


def _tensor(image: NDArray[np.float64]) -> tf.Tensor:
    return tf.constant(image[None], tf.float32)
