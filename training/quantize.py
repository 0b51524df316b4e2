"""From a training run to the model that ships: int8 ONNX with explicit Q/DQ, and its JSON.

``python -m training.quantize --weights RUN/nuclei.npz --data DIR ... --output FILE.onnx``

The network goes on learning for a while with rounded weights and activations. The weights that it
ends with, before they are rounded, go beside the file as ``FILE.npz``: the float twin, which
`training.evaluate` scores beside the int8 file. Those of the shipped models belong in
``training/weights``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray

from nucleiseg import images
from nucleiseg.model import PERCENTILES

from . import batches, export, integers, sampling, train, weights
from .argument_types import existing_file, share
from .augment import LIGHT
from .distillation import SideBySide
from .integers import IntegerNetwork
from .predict import DECODING, SCALING
from .samples import Sample
from .topology import STRIDE, Topology

CALIBRATION_CROPS = 64
CALIBRATION_SIZE = 256

EMPHASIS = 0.75
"""Extra weight of emphasised pixels, less than in training: weight on small nuclei finds more of
them but makes the network generous, and the last steps settle where edges are."""

MOMENTUM = 0.99
"""Averages the weights over about the last 100 steps."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.quantize", description=__doc__)
    file = {"type": existing_file}
    parser.add_argument("--weights", **file, required=True, help="of training.train")
    parser.add_argument(
        "--start", **file, help="go on from this int8 file, which was made of the same weights"
    )
    parser.add_argument("--data", nargs="+", required=True, help="annotated folders, as to train")
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--steps", type=int, default=2000, help="batches to learn rounding from")
    parser.add_argument("--batch", type=int, default=8, help="crops per step")
    parser.add_argument("--rate", type=float, default=1e-4, help="first learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--teacher", **file, help="as to train")
    parser.add_argument("--opinions", **file, help="as to train")
    parser.add_argument(
        "--brown",
        type=share,
        default=LIGHT.brown,
        metavar="SHARE",
        help="of H&E crops whose nuclei are stained brown, default %(default)s",
    )
    parser.add_argument("--version", default="0.1.0", help="of the model")
    parser.add_argument("--licence", default="not stated", help="of the model")
    parser.add_argument("--source", nargs="+", help="what to say of the data; by default its name")
    options = parser.parse_args(arguments)
    try:
        training, _, shares = train.load(options.data, options.opinions)
    except ValueError as error:
        parser.error(f"argument {train.with_option(error)}")
    network = IntegerNetwork(weights.load(options.weights))
    if options.start is not None:
        integers.restore(network, onnx.load(options.start))
    elif not network.limited:
        integers.calibrate(network, calibration_crops(training))
    learn(network, training, sampling.chances(training, shares), options)
    about = {
        "version": options.version,
        "licence": options.licence,
        "data": options.source or sorted({sample.dataset for sample in training}),
    }
    packed = weights.pack(integers.as_float(network))
    save(export.to_onnx(network), packed, network.topology, options.output, about)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB")


def learn(
    network: IntegerNetwork,
    samples: list[Sample],
    chances: NDArray[np.float64],
    options: argparse.Namespace,
) -> None:
    """Train on with rounding; the network ends with the average of its last weights.

    Parameters
    ----------
    network : IntegerNetwork
        Calibrated.
    samples : list of Sample
    chances : ndarray, (len(samples),) float64
        Each image's chance of being drawn.
    options : Namespace
        ``steps``, ``batch``, ``rate``, ``seed``, ``teacher`` and ``brown``.
    """
    if options.steps < 1:
        return
    settings = replace(LIGHT, brown=options.brown)
    source = batches.Source(samples, chances, options.batch, options.seed, settings)
    teacher = options.teacher and weights.load(options.teacher)
    rate = keras.optimizers.schedules.CosineDecay(options.rate, options.steps)
    train.fit(learner(network, rate, teacher), source, options.steps)


def learner(
    network: IntegerNetwork,
    rate: float | keras.optimizers.schedules.LearningRateSchedule,
    teacher: keras.Model | None = None,
) -> SideBySide:
    """Return the network with its losses and optimiser, for `fit`."""
    model = SideBySide([network], teacher, EMPHASIS)
    # At the end of `fit` the averages take the weights' place.
    optimizer = keras.optimizers.Adam(rate, clipnorm=5.0, use_ema=True, ema_momentum=MOMENTUM)
    model.compile(optimizer, jit_compile=keras.backend.backend() == "jax")
    return model


def calibration_crops(samples: list[Sample]) -> NDArray[np.uint8]:
    """Cut unchanged crops, modalities in the shares of training."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(samples), CALIBRATION_CROPS, p=sampling.chances(samples))
    return np.stack([_cut(samples[index].image, rng) for index in chosen])


def _cut(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    side = CALIBRATION_SIZE
    missing = [(0, max(0, side - length)) for length in image.shape[:2]]
    image = np.pad(image, (*missing, (0, 0)), mode="reflect")
    top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def save(
    proto: onnx.ModelProto,
    packed_weights: bytes,
    topology: Topology,
    path: Path,
    about: dict[str, Any],
) -> None:
    """Write the ONNX file, and beside it its JSON and the float twin's weights.

    Parameters
    ----------
    proto : ModelProto
    packed_weights : bytes
    topology : Topology
    path : Path
    about : dict
        Entries of the JSON: version, licence and data; what else it names replaces the usual.
    """
    content = proto.SerializeToString()
    description = {
        "name": path.stem,
        **about,
        "sha256": hashlib.sha256(content).hexdigest(),
        "float_weights_sha256": hashlib.sha256(packed_weights).hexdigest(),
        "input": {
            "layout": "(N, h, w, 3) RGB uint8",
            "range": [0, 255],
            "percentiles": list(PERCENTILES),
            "stride": STRIDE,
            "halo": topology.halo(),
            **SCALING,
        },
        "output": {"layout": "(N, h / 2, w / 2, 8) uint8", "maps": ["nucleus", "distance"]},
        "decoding": DECODING,
    } | about
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(path, content)
    images.write(path.with_suffix(".json"), (json.dumps(description, indent=2) + "\n").encode())
    images.write(path.with_suffix(".npz"), packed_weights)


if __name__ == "__main__":
    main()
