"""The plain U-Net that nucleiseg started from, in ``keras.Model.predict``."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from . import seconds

WIDTHS = (64, 128, 256, 512, 1024)


def build(size: int) -> keras.Model:
    """Build Ronneberger et al. 2015 (doi:10.1007/978-3-319-24574-4_28) with padded convolutions."""
    x = image = keras.Input((size, size, 3))
    skips = []
    for level, width in enumerate(WIDTHS):
        if level:
            skips.append(x)
            x = layers.MaxPooling2D(2)(x)
        x = _twice(x, width)
    for width, skip in zip(reversed(WIDTHS[:-1]), reversed(skips), strict=True):
        x = layers.Conv2DTranspose(width, 2, 2)(x)
        x = _twice(layers.Concatenate()([skip, x]), width)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))


def _twice(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    for _ in range(2):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    return x


class Program:
    packages = ("tensorflow-cpu", "tensorflow", "keras")
    weights = "random"
    about = "64 to 1024 channels at full resolution, 31 M weights, in keras.Model.predict"

    def __init__(self, threads: int, files: dict[str, str]) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)

    def take(self, image: np.ndarray, labels: np.ndarray) -> None:
        keras.backend.clear_session()
        self.model = build(image.shape[0])
        self.batch = image[None].astype(np.float32) / 255

    def run(self) -> dict[str, float]:
        return {"maps": seconds(self.model.predict, self.batch, verbose=0)}
