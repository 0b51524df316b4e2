"""A model that goes on learning from a user's own annotated images: ``nucleiseg train``.

It begins with the weights and ranges of an int8 file and goes on with quantization-aware training.
So it is int8 all the time, and the figures of the held-out images are those of the file itself.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import onnx

from nucleiseg import Model, images

from . import batches, data, evaluate, export, integers, metrics, plots, quantize, sampling, train
from . import weights as float_weights
from .augment import LIGHT
from .callbacks import Logs, Pace
from .distillation import loss_names
from .integers import IntegerNetwork
from .samples import Sample

FEWEST = 3
"""Images: two to learn from and one held out."""

HELD_OUT = 0.2
"""Share of the images that nothing is learned from."""

CHECKS = 5
"""How often the held-out images are scored; the best is kept, and more would choose by luck."""

LENGTH = 10
"""Steps between two changes of the learning rate."""

BATCH = 8
"""Crops per step."""

RATE = 3e-4
"""Highest learning rate: that of a network that has learned already."""


class Figures(NamedTuple):
    """What a model reaches on the held-out images after some steps; the start has no losses."""

    step: int
    dice: float
    ap50: float
    loss_nucleus: float = math.nan
    loss_distance: float = math.nan


class Outcome(NamedTuple):
    """The figures before training and of the best model afterwards, and whether it is written."""

    before: Figures
    after: Figures
    written: bool


def finetune(
    folder: Path,
    output: Path,
    start: str | Path,
    *,
    validation: Path | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    even_if_worse: bool = False,
    report: Callable[[str], None] = print,
) -> Outcome:
    """Train a model on annotated images, and write it if it is better than before.

    Parameters
    ----------
    folder : Path
        Annotated images, in one of the layouts of `training.data`.
    output : Path
        The ONNX file to write, and beside it its JSON, its float weights (NPZ) and the curves of
        the run (PNG).
    start : str or Path
        A shipped model or the ONNX file of another.
    validation : Path, optional
        Annotated images to hold out; a fifth of `folder` when left out.
    minutes, steps : optional
        One of them says when the training ends.
    seed : int
        Of the crops and the held-out images. The same seed and steps give the same model, but for
        the order in which threads add numbers up.
    even_if_worse : bool
        Write the model though its AP@0.5 is below that of the start.
    report : callable
        Gets a line of text at a time.

    Raises
    ------
    ValueError
        The images cannot be learned from.
    """
    base = Model.load(start)
    samples, held_out = annotated(folder, validation, seed)
    report(f"{len(samples)} images to learn from, {len(held_out)} held out")
    keras.utils.set_random_seed(seed)
    network = integers.from_file(onnx.load(base.path))
    with tempfile.TemporaryDirectory(prefix="nucleiseg-train-") as place:
        check = Check(network, held_out, base, Path(place) / output.name, folder, minutes, report)
        check.score(base, 0)
        _learn(network, samples, check, minutes, steps, seed)
        before, *others = check.rows
        after = max(others, key=lambda row: (row.ap50, row.step))
        written = even_if_worse or after.ap50 >= before.ap50
        if written:
            _write(check, after, output)
    return Outcome(before, after, written)


def annotated(
    folder: Path, validation: Path | None, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Read the images to learn from, and those held out.

    Raises
    ------
    ValueError
        They are too few, or have no pairs, no nuclei or wrong shapes.
    """
    samples = _read(folder)
    if validation is not None:
        return samples, _read(validation)
    if len(samples) < FEWEST:
        raise ValueError(
            f"data: {folder} has {len(samples)} annotated images; accepted are {FEWEST} and more "
            "(large ones can be cut), or others to hold out with --validation"
        )
    order = np.random.default_rng(seed).permutation(len(samples))
    count = max(1, round(HELD_OUT * len(samples)))
    return [samples[i] for i in sorted(order[count:])], [samples[i] for i in sorted(order[:count])]


def _read(folder: Path) -> list[Sample]:
    samples = data.load([folder])
    empty = [sample.name.partition("/")[2] for sample in samples if not sample.labels.any()]
    if empty:
        raise ValueError(
            f"data: {folder}: no nuclei are annotated in {', '.join(empty)}; leave such images out"
        )
    return samples


def _learn(
    network: IntegerNetwork,
    samples: list[Sample],
    check: Check,
    minutes: float | None,
    steps: int | None,
    seed: int,
) -> None:
    length = math.gcd(steps, LENGTH) if steps else LENGTH
    epochs = steps // length if steps else sys.maxsize
    source = batches.Source(samples, sampling.chances(samples), BATCH, seed, LIGHT)
    callbacks = [Pace(RATE, epochs, minutes), check]
    train.fit(quantize.learner(network, RATE), source, length, epochs, callbacks)


class Check(keras.callbacks.Callback):
    """Scores the model that a network would ship as, on the held-out images.

    Attributes
    ----------
    rows : list of Figures
        One per check; the first is of the start.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        held_out: list[Sample],
        base: Model,
        path: Path,
        folder: Path,
        minutes: float | None,
        report: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.network = network
        self.held_out = held_out
        self.path = path
        self.about = {
            "version": f"{base.version}-tuned",
            "licence": base.licence,
            "data": [*base.data, f"{folder.resolve().name} (after {base.name} {base.version})"],
            "input": base.metadata["input"],
            # It is less sure of what it has just begun to learn.
            "decoding": base.metadata["decoding"] | {"min_probability": 0},
        }
        self.report = report
        self.rows: list[Figures] = []
        self.minutes = minutes
        self.began = time.monotonic()
        self.averages = keras.callbacks.SwapEMAWeights()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write and score the averaged weights where it is time to."""
        losses = [float((logs or {})[name]) for name in loss_names(self.network.name)]
        if not math.isfinite(sum(losses)):
            raise ValueError(f"the loss is {sum(losses)}: these images cannot be learned from")
        ended = self.model.stop_training or epoch + 1 == self.params["epochs"]
        if not ended and self._share(epoch + 1) * CHECKS < len(self.rows):
            return
        self.averages.set_model(self.model)
        self.averages.on_test_begin()
        self.keep((epoch + 1) * self.params["steps"], losses)
        self.averages.on_test_end()

    def keep(self, step: int, losses: Sequence[float]) -> None:
        """Write the network as it is now, and score it."""
        path = self.candidate(step)
        packed = float_weights.pack(integers.as_float(self.network))
        proto = export.to_onnx(self.network)
        quantize.save(proto, packed, self.network.topology, path, self.about)
        self.score(Model.load(path), step, losses)

    def candidate(self, step: int) -> Path:
        """Return where the model of a step is."""
        return self.path.parent / str(step) / self.path.name

    def score(self, model: Model, step: int, losses: Sequence[float] = ()) -> None:
        """Add the figures of a model."""
        label = evaluate.int8_labeller(model)
        found = metrics.total([evaluate.score(sample, label) for sample in self.held_out])
        row = Figures(step, found.mean_dice, float(found.ap[0]), *losses)
        self.rows.append(row)
        self.report(f"step {step}: Dice {row.dice:.3f}, AP@0.5 {row.ap50:.3f} (held-out images)")

    def _share(self, epochs: int) -> float:
        if self.minutes is None:
            return epochs / self.params["epochs"]
        return (time.monotonic() - self.began) / (60 * self.minutes)


def _write(check: Check, kept: Figures, output: Path) -> None:
    """Copy the model that was scored, and draw its curves."""
    picture = check.path.with_suffix(".png")
    plots.curves([row._asdict() for row in check.rows], picture)
    output.parent.mkdir(parents=True, exist_ok=True)
    images.write(output.with_suffix(".png"), picture.read_bytes())
    model = check.candidate(kept.step)
    for suffix in (".npz", ".onnx", ".json"):
        images.write(output.with_suffix(suffix), model.with_suffix(suffix).read_bytes())
