"""The average of two models of one network.

``python -m training.average A.onnx B.onnx --output C.onnx``

Weights that were trained on from the same start lie in one basin of the loss, and their average
often does better on what neither was trained for than both (Wortsman et al. 2022,
doi:10.48550/arXiv.2109.01903). Kernels, biases and the logarithms of the ranges are averaged before
they are rounded, so each file's float twin, ``.npz``, is read: beside it, or that of a shipped
model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx

from . import export, integers, quantize, weights
from .argument_types import existing_file, share
from .integers import IntegerNetwork

KEPT = ("version", "licence", "data", "input", "output", "decoding")
"""What the average keeps of the second model's description."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.average", description=__doc__)
    parser.add_argument("models", nargs=2, type=existing_file, help="files of training.quantize")
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument(
        "--share", type=share, default=0.5, help="of the second, 0 to 1; default 0.5"
    )
    options = parser.parse_args(arguments)
    first, second = options.models
    try:
        network = average(load(first), load(second), options.share)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    about = json.loads(second.with_suffix(".json").read_text())
    kept = {key: about[key] for key in KEPT}
    packed = weights.pack(integers.as_float(network))
    quantize.save(export.to_onnx(network), packed, network.topology, options.output, kept)


def load(path: Path) -> IntegerNetwork:
    """Return the network of an int8 file with the weights of its float twin, before rounding.

    Raises
    ------
    ValueError
        The file is not of `training.quantize`.
    OSError
        There is no float twin.
    """
    network = integers.from_file(onnx.load(path))
    beside = path.with_suffix(".npz")
    twin = IntegerNetwork(weights.load(beside if beside.exists() else weights.shipped(path.stem)))
    for name, layer in network.convolutions.items():
        layer.kernel.assign(twin.convolutions[name].kernel)
        layer.bias.assign(twin.convolutions[name].bias)
    return network


def average(first: IntegerNetwork, second: IntegerNetwork, share: float) -> IntegerNetwork:
    """Set the first network to the weighted mean of both, and return it.

    Parameters
    ----------
    first, second : IntegerNetwork
    share : float
        Weight of the second, 0..1.

    Raises
    ------
    ValueError
        They are of different networks.
    """
    if first.topology != second.topology:
        names = f"{first.topology.name} and {second.topology.name}"
        raise ValueError(f"models: {names} are different networks; accepted are two of one")
    for name, layer in first.convolutions.items():
        other = second.convolutions[name]
        layer.kernel.assign(
            (1 - share) * np.asarray(layer.kernel) + share * np.asarray(other.kernel)
        )
        layer.bias.assign((1 - share) * np.asarray(layer.bias) + share * np.asarray(other.bias))
    for name, value in first.log_ranges.items():
        value.assign((1 - share) * float(value) + share * float(second.log_ranges[name]))
    first.limited = True
    return first


if __name__ == "__main__":
    main()
