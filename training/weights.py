"""The trained float weights as a small file: half precision, one array a variable."""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np

from . import unet
from .topology import NETWORKS

FOLDER = Path(__file__).parent / "weights"
"""The float twins of the shipped int8 models; in ``before_rounding``, weights to train on from."""


LIMIT = "limit/"
"""Begins the names of the arrays that hold limits of `unet.build`."""


def shipped(name: str) -> Path:
    """Return the file of the float weights of a shipped model."""
    return FOLDER / f"{name}.npz"


def pack(model: keras.Model) -> bytes:
    """Return the model's weights, rounded to float16, and its limits as a compressed NPZ."""
    buffer = io.BytesIO()
    largest = np.finfo(np.float16).max  # variances of channels that hardly count may be larger
    arrays = {
        weight.path: keras.ops.convert_to_numpy(weight).clip(-largest, largest).astype(np.float16)
        for weight in model.weights
    }
    found = {f"{LIMIT}{name}": np.float32(value) for name, value in unet.limits(model).items()}
    np.savez_compressed(buffer, **arrays, **found)
    return buffer.getvalue()


def load(path: Path) -> keras.Model:
    """Build the network in float32 that fits the weights of a file that `fill` takes.

    Raises
    ------
    KeyError, ValueError
        They fit none of `topology.NETWORKS`.
    """
    keras.config.set_dtype_policy("float32")
    found = limits(path)
    reasons = []
    for topology in NETWORKS.values():
        model = unet.build(topology, found)
        try:
            fill(model, path)
        except (KeyError, ValueError) as error:
            reasons.append(error)
        else:
            return model
    raise reasons[-1]


def fill(model: keras.Model, path: Path) -> None:
    """Fill a network with the weights of `pack`."""
    with np.load(path) as arrays:
        for weight in model.weights:
            weight.assign(arrays[weight.path].astype(np.float32))


def limits(path: Path) -> dict[str, float]:
    """Return the limits of a file: none but of quantization-aware training."""
    with np.load(path) as arrays:
        names = [name for name in arrays if name.startswith(LIMIT)]
        return {name.removeprefix(LIMIT): float(arrays[name]) for name in names}
