"""The network that measures how large nuclei are: ``python -m training.sizes --data DIR ...``.

It goes on from a shipped model and keeps its wiring. The first map stays the probability of a
nucleus; the second becomes the diameter of the nucleus that a pixel is in (`targets.code`). Crops
bring nuclei to diameters of 3.5 to 170 pixels. `nucleiseg.autoscale` asks it where nuclei are not
found with confidence; ``docs/experiments.md`` says what that is worth.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

import keras

from nucleiseg.model import FAST

from . import augment, batches, export, integers, losses, quantize, sampling, train, weights
from .argument_types import existing_file
from .callbacks import Bar
from .distillation import SideBySide
from .integers import IntegerNetwork
from .targets import DIAMETERS

MOMENTUM = 0.998
"""Averages the weights over about the last 500 steps."""

WARM_UP = 400
"""Steps in which the learning rate rises: the second map begins as another one."""


class Measuring(SideBySide):
    """A network that learns the diameters of nuclei."""

    def loss_of(self, maps: keras.KerasTensor, target: keras.KerasTensor) -> keras.KerasTensor:
        """Return the losses of the nucleus map and of the diameter."""
        return losses.of_sizes(maps, target)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.sizes", description=__doc__)
    parser.add_argument("--data", nargs="+", required=True, help="annotated folders, as to train")
    parser.add_argument(
        "--weights",
        type=existing_file,
        default=weights.FOLDER / f"{FAST}.npz",
        help="the float twin to go on from, default %(default)s",
    )
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8, help="crops per step")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="0.1.0", help="of the model")
    parser.add_argument("--licence", default="not stated", help="of the model")
    parser.add_argument("--source", nargs="+", help="what to say of the data; by default its name")
    options = parser.parse_args(arguments)
    try:
        samples, _, shares = train.load(options.data)
    except ValueError as error:
        parser.error(f"argument {train.with_option(error)}")
    network = IntegerNetwork(weights.load(options.weights))
    if not network.limited:
        integers.calibrate(network, quantize.calibration_crops(samples))
    source = batches.Source(
        samples, sampling.chances(samples, shares), options.batch, options.seed, augment.SIZES
    )
    with closing(source.endless()) as crops:
        learner(network, options.rate, options.steps).fit(
            train.inputs(crops, clean=False),
            steps_per_epoch=options.steps,
            callbacks=[Bar(options.steps)],
            shuffle=False,
            verbose=0,
        )
    about = {
        "version": options.version,
        "licence": options.licence,
        "data": options.source or sorted({sample.dataset for sample in samples}),
        "output": {
            "layout": "(N, h / 2, w / 2, 8) uint8",
            "maps": ["nucleus", "diameter"],
            "diameters": list(DIAMETERS),
        },
    }
    packed = weights.pack(integers.as_float(network))
    quantize.save(export.to_onnx(network), packed, network.topology, options.output, about)


def learner(network: IntegerNetwork, rate: float, steps: int) -> Measuring:
    """Return the network with its losses and optimiser, for `fit`."""
    warm_up = min(WARM_UP, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=rate, warmup_steps=warm_up
    )
    model = Measuring([network])
    optimizer = keras.optimizers.Adam(schedule, clipnorm=5.0, use_ema=True, ema_momentum=MOMENTUM)
    model.compile(optimizer, jit_compile=keras.backend.backend() == "jax")
    return model


if __name__ == "__main__":
    main()
