"""The networks whose activations style transfer compares: our own encoder, or VGG19."""

from __future__ import annotations

import itertools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import ops
from keras.applications import vgg19 as keras_vgg19

from .. import weights
from ..topology import ACCURATE, NETWORKS, STRIDE

STYLE_LEVELS, CONTENT_LEVELS = (0, 1, 2), (1, 2)
"""Levels of the U-Net whose last convolutions are compared, before the ReLU: after it, where
gradients are cut off, colours stayed far from the style's. The style's first layer is the stem. The
content's see 28 and 80 pixels: a nucleus, and its neighbours."""

VGG19_STYLE = tuple(f"block{number}_conv1" for number in range(1, 6))
VGG19_CONTENT = ("block4_conv2",)
"""Those of the paper, after the ReLU."""

VGG19_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
VGG19_SOURCE = (
    f"{VGG19_FILE} (80 MB), which Keras publishes at "
    f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{VGG19_FILE}"
)

MARGIN = STRIDE
"""Pixels around the image, mirrored, whose activations are not compared: the networks pad with
zeros, and an image that makes up for those gets a bright frame."""

SMALLEST_SIDE = 2 * MARGIN
"""Pixels; mirroring needs as many as it adds."""


@dataclass(frozen=True, eq=False)
class Features:
    """A network's activations that are compared.

    Attributes
    ----------
    model : keras.Model
        (N, h, w, 3) float32 RGB in 0..255, sides multiples of 32 -> the style's layers, then the
        content's.
    style_layers : int
        How many of its outputs are the style's.
    pixels : bool
        Compare the image's own colours as a layer of the style, too.
    phases : tuple of (int, int)
        Rows and columns that the image is shifted by; the activations of all are compared. A first
        convolution of stride 2 sees a grid of 2 pixels differently in each, and one phase alone
        leaves such a grid in the result.
    """

    model: keras.Model
    style_layers: int
    pixels: bool
    phases: tuple[tuple[int, int], ...]

    def __call__(
        self, image: keras.KerasTensor
    ) -> tuple[list[keras.KerasTensor], list[keras.KerasTensor]]:
        """Return the activations of the content's layers and of the style's.

        Parameters
        ----------
        image : tensor, (1, H, W, 3) float32
            RGB in 0..1, with sides of `SMALLEST_SIDE` pixels or more.

        Returns
        -------
        content, style : list of tensor, (phases, h, w, C) float32
        """
        found = self._cropped(image)
        colours = [image] if self.pixels else []
        return found[self.style_layers :], colours + found[: self.style_layers]

    def _cropped(self, image: keras.KerasTensor) -> list[keras.KerasTensor]:
        height, width = image.shape[1:3]
        inner = [-(-length // STRIDE) * STRIDE for length in (height, width)]
        after = [
            MARGIN + whole - length + 1
            for whole, length in zip(inner, (height, width), strict=True)
        ]
        pads = ((0, 0), (MARGIN, after[0]), (MARGIN, after[1]), (0, 0))
        padded = ops.pad(255.0 * image, pads, "reflect")
        rows, columns = (whole + 2 * MARGIN for whole in inner)
        batch = [padded[:, row : row + rows, col : col + columns] for row, col in self.phases]
        return [
            _inside(one, rows // one.shape[1], height, width)
            for one in self.model(ops.concatenate(batch), training=False)
        ]


def _inside(
    activations: keras.KerasTensor, stride: int, height: int, width: int
) -> keras.KerasTensor:
    first = MARGIN // stride
    return activations[:, first : (MARGIN + height) // stride, first : (MARGIN + width) // stride]


def load(kind: str, path: Path | None = None) -> Features:
    """Build a network and load its weights.

    Parameters
    ----------
    kind : {"nuclei", "vgg19"}
    path : Path, optional
        A file of weights: of "nuclei" one that `weights.fill` takes, the shipped one if left out.

    Raises
    ------
    ValueError
        There are no weights, or they are of another network.
    """
    hint = f"; get {VGG19_SOURCE}" if kind == "vgg19" else ""
    if path is None:
        if kind == "vgg19":
            raise ValueError(f"weights: vgg19 needs a file{hint}")
        path = weights.shipped(ACCURATE.name)
    if not path.is_file():
        raise ValueError(f"weights: no such file: {path}{hint}")
    try:
        return _nuclei(path) if kind == "nuclei" else _vgg19(path)
    # NumPy, Keras and HDF5 have these for a file that is damaged or of another network.
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"weights: {path} holds none of {kind}{hint}") from error


def _nuclei(path: Path) -> Features:
    """Take the encoder of a U-Net of `topology.NETWORKS`."""
    network = weights.load(path)
    nodes = NETWORKS[network.name].nodes()
    encoder = itertools.takewhile(lambda node: node.kind != "grow", nodes)
    by_stride = {node.stride: node.name for node in encoder if node.kind == "convolution"}
    last = list(by_stride.values())
    style = ["stem", *(last[level] for level in STYLE_LEVELS)]
    content = [last[level] for level in CONTENT_LEVELS]
    layers = [network.get_layer(f"{name}_norm").output for name in style + content]
    return Features(keras.Model(network.input, layers), len(style), True, ((0, 0), (1, 1)))


def _vgg19(path: Path) -> Features:
    """Take VGG19 (Simonyan & Zisserman 2014, doi:10.48550/arXiv.1409.1556) with mean pooling.

    The paper replaces the maxima, as means pass the gradient on to every pixel.
    """
    network = keras.models.clone_model(
        keras_vgg19.VGG19(include_top=False, weights=None), clone_function=_with_mean_pooling
    )
    network.load_weights(str(path))
    layers = [network.get_layer(name).output for name in (*VGG19_STYLE, *VGG19_CONTENT)]
    image = keras.Input((None, None, 3))
    answers = keras.Model(network.input, layers)(keras_vgg19.preprocess_input(image))
    return Features(keras.Model(image, answers), len(VGG19_STYLE), False, ((0, 0),))


def _with_mean_pooling(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, keras.layers.MaxPooling2D):
        return keras.layers.AveragePooling2D(2, name=layer.name)
    return layer.__class__.from_config(layer.get_config())
