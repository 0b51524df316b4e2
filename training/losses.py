"""What the network's maps are measured by while it learns, in `keras.ops` alone."""

from __future__ import annotations

import keras
from keras import ops

EMPHASIS = 3.0
"""Extra weight of a pixel where the target's emphasis is full."""


def of_maps(
    predicted: keras.KerasTensor, target: keras.KerasTensor, extra: float = EMPHASIS
) -> keras.KerasTensor:
    """Return the losses of the two maps.

    Parameters
    ----------
    predicted : Tensor, (N, h, w, 2) float32
    target : Tensor, (N, h, w, 3) float32
        Nucleus, distance and emphasis, 0..1.
    extra : float
        Extra weight of a pixel where the emphasis is full.

    Returns
    -------
    Tensor, (2,) float32
        Cross-entropy and Dice of the nucleus map; cross-entropy of the distance map, less its
        smallest possible value, so that it is zero for a perfect map.
    """
    predicted = ops.clip(predicted, 1e-6, 1 - 1e-6)
    nucleus, distance, emphasis = (target[..., i] for i in range(3))
    weight = 1 + extra * emphasis
    entropy = weight * _cross_entropy(nucleus, predicted[..., 0])
    both = ops.sum(nucleus * predicted[..., 0])
    dice = 1 - (2 * both + 1) / (ops.sum(nucleus) + ops.sum(predicted[..., 0]) + 1)
    clipped = ops.clip(distance, 1e-6, 1 - 1e-6)
    excess = _cross_entropy(distance, predicted[..., 1]) - _cross_entropy(distance, clipped)
    return ops.stack([ops.mean(entropy) + 0.5 * dice, 2 * ops.mean(weight * excess)])


def of_sizes(predicted: keras.KerasTensor, target: keras.KerasTensor) -> keras.KerasTensor:
    """Return the losses of a network that measures diameters (`training.sizes`).

    Parameters
    ----------
    predicted : Tensor, (N, h, w, 2) float32
    target : Tensor, (N, h, w, 3) float32
        Nucleus, diameter and nothing, 0..1.

    Returns
    -------
    Tensor, (2,) float32
        Cross-entropy and Dice of the nucleus map; cross-entropy of the diameter in nuclei, less its
        smallest possible value. Each crop counts the same, however many nuclei it has.
    """
    predicted = ops.clip(predicted, 1e-6, 1 - 1e-6)
    nucleus, diameter = target[..., 0], ops.clip(target[..., 1], 1e-6, 1 - 1e-6)
    found, seen = predicted[..., 0], predicted[..., 1]
    both = ops.sum(nucleus * found)
    dice = 1 - (2 * both + 1) / (ops.sum(nucleus) + ops.sum(found) + 1)
    excess = _cross_entropy(diameter, seen) - _cross_entropy(diameter, diameter)
    share = nucleus / (ops.sum(nucleus, (1, 2), keepdims=True) + 50.0)
    entropy = ops.mean(_cross_entropy(nucleus, found))
    return ops.stack([entropy + 0.3 * dice, 20 * ops.mean(ops.sum(share * excess, (1, 2)))])


def _cross_entropy(target: keras.KerasTensor, predicted: keras.KerasTensor) -> keras.KerasTensor:
    return -(target * ops.log(predicted) + (1 - target) * ops.log(1 - predicted))
