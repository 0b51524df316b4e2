"""Begin a wide network with what a narrow one has learned.

``python -m training.widen --weights FILE --network nuclei --output START.npz``

The wide network computes at first what the narrow one does (Net2Net, Chen et al. 2016,
doi:10.48550/arXiv.1511.05641): its first channels are the narrow network's, convolutions that the
narrow one lacks pass these on, and the other channels are random and not yet used by the first.
``python -m training.train --start START.npz`` goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from nucleiseg import images
from training import train, unet, weights
from training.integers import BATCH_NORM_EPSILON
from training.topology import NETWORKS, Topology

Values = dict[str, NDArray[np.float32]]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.widen", description=__doc__)
    parser.add_argument("--weights", type=train.existing_file, required=True, help="narrow ones")
    parser.add_argument("--network", choices=tuple(NETWORKS), required=True, help="the wide one")
    parser.add_argument("--output", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args(arguments)
    narrow = weights.load(options.weights)
    try:
        wide = widened(narrow, NETWORKS[options.network])
    except ValueError as error:
        parser.error(f"argument --network: {error}")
    images.write(options.output, weights.pack(wide))


def widened(narrow: keras.Model, topology: Topology, seed: int = 0) -> keras.Model:
    """Build a wide network that computes what a narrow one does.

    Parameters
    ----------
    narrow : keras.Model
        With its weights, as `weights.load` builds it.
    topology : Topology
        Nowhere narrower, and nowhere with fewer convolutions.
    seed : int
        Of the other channels' weights.

    Raises
    ------
    ValueError
        The topology is narrower somewhere.
    """
    before = NETWORKS[narrow.name]
    _check_wider(before, topology)
    keras.utils.set_random_seed(seed)
    wide = unet.build(topology)
    old = {weight.path: keras.ops.convert_to_numpy(weight) for weight in narrow.weights}
    befores = _befores(before, topology)
    for weight in wide.weights:
        value = keras.ops.convert_to_numpy(weight).copy()
        layer, what = weight.path.split("/")
        name = layer.removesuffix("_conv").removesuffix("_norm")
        if weight.path not in old:
            _pass_on(value, what, befores[name], old)
        elif what == "kernel":
            _embed(value, old[weight.path], name, before, topology)
        else:
            value[: old[weight.path].size] = old[weight.path]
        weight.assign(value)
    return wide


def _check_wider(narrow: Topology, wide: Topology) -> None:
    for name in ("widths", "down", "up"):
        pairs = zip(getattr(narrow, name), getattr(wide, name), strict=True)
        if any(few > many for few, many in pairs):
            raise ValueError(f"{wide.name} is narrower than {narrow.name} in {name}")


def _befores(narrow: Topology, wide: Topology) -> dict[str, str]:
    """Return, for each convolution that the narrow network lacks, its last one before it."""
    result = {}
    for level in range(len(wide.widths)):
        ways = [(narrow.down_names(level), wide.down_names(level))]
        if level < len(wide.up):
            ways.append((narrow.up_names(level), wide.up_names(level)))
        for few, many in ways:
            result |= dict.fromkeys(many[len(few) :], few[-1])
    return result


def _embed(
    value: NDArray[np.float32],
    kernel: NDArray[np.float32],
    name: str,
    narrow: Topology,
    wide: Topology,
) -> None:
    """Write a narrow kernel into a wide one; other inputs do not yet reach its outputs."""
    if name.startswith("grow"):  # (height, width, out, in)
        value, kernel = value.swapaxes(2, 3), kernel.swapaxes(2, 3)
    count, outputs = kernel.shape[2:]
    inputs = np.arange(count)
    if name.startswith("up") and name == wide.up_names(int(name[2]))[0]:
        level = int(name[2])  # the skip connection's channels, then those from below
        inputs[narrow.widths[level] :] += wide.widths[level] - narrow.widths[level]
    first = 0
    if name == "stem":
        first = wide.stem_pads()[0] - narrow.stem_pads()[0]
    rows = slice(first, first + kernel.shape[0])
    value[..., :outputs] = 0
    value[rows, rows, inputs, :outputs] = kernel


def _pass_on(value: NDArray[np.float32], what: str, before: str, old: Values) -> None:
    """Make part of a convolution and its normalisation that pass the first channels on.

    What comes in is a rectified normal distribution, as the normalisation before it was learned;
    normalised and scaled back by its own mean and variance it stays what it is.
    """
    gain, shift = (old[f"{before}_norm/{part}"] for part in ("gamma", "beta"))
    count = gain.size
    if what == "kernel":
        value[..., :count] = 0
        channels = np.arange(count)
        value[1, 1, channels, channels] = 1
        return
    spread = np.maximum(np.abs(gain), 1e-6)
    above, density = norm.cdf(shift / spread), norm.pdf(shift / spread)
    mean = shift * above + spread * density
    variance = (shift**2 + spread**2) * above + shift * spread * density - mean**2
    variance = np.maximum(variance, 1e-6)
    parts = {
        "gamma": np.sqrt(variance + BATCH_NORM_EPSILON),
        "beta": mean,
        "moving_mean": mean,
        "moving_variance": variance,
    }
    value[:count] = parts[what]


if __name__ == "__main__":
    main()
