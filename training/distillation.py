"""Networks that learn side by side from the same crops, also from what a larger one sees.

What a larger network gives for a crop is smoother than an annotation, and where annotations are
wrong it is often right. A small network that learns from both comes close to it (Hinton et al.
2015, doi:10.48550/arXiv.1503.02531). The larger one may learn at the same time, so that crops are
made once for all (online distillation, Lan et al. 2018, doi:10.48550/arXiv.1806.04606). One that
has learned looks several times at the clean crop, mirrored and magnified: the mean of these looks
is better than each (Radosavovic et al. 2018, doi:10.1109/CVPR.2018.00433).
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from . import losses

SHARE = 0.5
"""Weight of the teacher in the loss; the rest is the annotation's."""

MAGNIFIED = 1.5
"""Touching nuclei come apart when they are magnified: from 101 merges in seven crowded images to 72
at 1.375, to 28 at 2."""

LARGE = 28.0
"""Nuclei of more pixels across gain nothing from being magnified, and break apart."""


class SideBySide(keras.Model):
    """Networks that are trained together.

    Parameters
    ----------
    networks : sequence of keras.Model
        (N, h, w, 3) in 0..255 -> (N, h, w, 2) in 0..1, with different names. If no teacher is
        given and they are several, the first is the teacher of the others while it learns itself.
    teacher : keras.Model, optional
        A network that has learned. The model then takes two inputs, crops and clean crops.
    emphasis : float
        Extra weight of a pixel where the target's emphasis is full.
    """

    def __init__(
        self,
        networks: Sequence[keras.Model],
        teacher: keras.Model | None = None,
        emphasis: float = losses.EMPHASIS,
    ) -> None:
        super().__init__()
        self.built = True  # the networks are
        self.networks = list(networks)
        self.teacher = teacher
        if teacher is not None:
            teacher.trainable = False
        self.emphasis = emphasis
        self.means = {
            name: keras.metrics.Mean(name)
            for network in networks
            for name in loss_names(network.name)
        }

    def call(self, inputs: keras.KerasTensor, training: bool = False) -> list[keras.KerasTensor]:
        """Return the maps of each network."""
        image = inputs if self.teacher is None else inputs[0]
        return [network(image, training=training) for network in self.networks]

    def compute_loss(
        self,
        x: keras.KerasTensor | None = None,
        y: keras.KerasTensor | None = None,
        y_pred: list[keras.KerasTensor] | None = None,
        sample_weight: keras.KerasTensor | None = None,
        training: bool = True,
    ) -> keras.KerasTensor:
        """Add up the losses of all networks; the target's maps are (N, h, w, 3) uint8."""
        target = ops.cast(y, "float32") / 255.0
        if self.teacher is None:
            opinion = y_pred[0]
        else:
            opinion = looked(self.teacher, ops.cast(x[1], "float32"), target)
        both = (1 - SHARE) * target[..., :2] + SHARE * ops.stop_gradient(opinion)
        taught = ops.concatenate([both, target[..., 2:]], -1)
        total = 0.0
        for number, (network, maps) in enumerate(zip(self.networks, y_pred, strict=True)):
            is_teacher = self.teacher is None and number == 0
            parts = self.loss_of(maps, target if is_teacher else taught)
            for name, part in zip(loss_names(network.name), (parts[0], parts[1]), strict=True):
                self.means[name].update_state(part)
                total = total + part
        return total

    def loss_of(self, maps: keras.KerasTensor, target: keras.KerasTensor) -> keras.KerasTensor:
        """Return the two losses of a network's maps."""
        return losses.of_maps(maps, target, self.emphasis)


def loss_names(network: str) -> tuple[str, str]:
    """Name the two losses of a network."""
    return f"{network}_nucleus_loss", f"{network}_distance_loss"


def looked(
    teacher: keras.Model, image: keras.KerasTensor, target: keras.KerasTensor
) -> keras.KerasTensor:
    """Return the mean of a teacher's maps of the crops, upright and mirrored, at their own size
    and, where nuclei are small, magnified.

    Parameters
    ----------
    teacher : keras.Model
    image : Tensor, (N, h, w, 3) float32
    target : Tensor, (N, h, w, 3) float32
        Tells the size of the nuclei.

    Returns
    -------
    Tensor, (N, h, w, 2) float32
    """
    size = image.shape[1:3]
    large = [round(length * MAGNIFIED) for length in size]
    both = teacher(ops.concatenate([image, ops.flip(image, 1)], 0), training=False)
    upright, mirrored = ops.split(both, 2, 0)
    magnified = ops.image.resize(ops.flip(image, 2), large, interpolation="bilinear")
    seen = ops.image.resize(teacher(magnified, training=False), size, antialias=True)
    own = (upright + ops.flip(mirrored, 1)) / 2
    is_small = ops.cast(diameters(target) < LARGE, "float32")[:, None, None, None]
    return own + is_small * (ops.flip(seen, 2) - own) / 2


def diameters(target: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean diameter of each crop's nuclei in pixels, (N,).

    The distance map rises from 0 at an edge to 1 at the centre, so its slope is one over the
    nucleus's radius.
    """
    distance = target[..., 1]
    down = ops.abs(distance[:, 1:, :-1] - distance[:, :-1, :-1])
    right = ops.abs(distance[:, :-1, 1:] - distance[:, :-1, :-1])
    inside = ops.cast(distance[:, :-1, :-1] > 0, "float32")
    slope = ops.sum(inside * ops.sqrt(down**2 + right**2), (1, 2))
    return 2 * ops.sum(inside, (1, 2)) / ops.maximum(slope, 1e-6)
