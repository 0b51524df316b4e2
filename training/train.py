"""Train: ``python -m training.train --data DIR[=WEIGHT] ... --output RUN --networks NAME ...``.

Any backend of Keras runs it: set ``KERAS_BACKEND`` to ``jax`` or ``torch`` where TensorFlow has no
GPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from . import augment, batches, losses, sampling, unet, weights
from .argument_types import existing_file, positive, whole
from .callbacks import Bar, Keep, Pace, Stop, interruptible
from .distillation import SideBySide
from .samples import Sample, unpack, with_opinions
from .topology import FAST, NETWORKS

MOMENTUM = 0.999
"""Averages the weights over about the last 1,000 steps, in short runs over a tenth of them."""

CHECKPOINT = "checkpoint"
"""Folder of a run's state at the end of its last epoch."""

LONGEST_EPOCH = 100
"""Steps between two checkpoints, at which the clock and requests to end are checked too."""

KEPT_SETTINGS = (
    "networks",
    "data",
    "steps",
    "batch",
    "rate",
    "seed",
    "precision",
    "validate_every",
    "teacher",
    "opinions",
    "light",
    "emphasis",
    "keep_colours",
)
"""A run is resumed with the same of these, or it would be neither the old run nor a new one."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    train(parser().parse_args(arguments))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    add = made.add_argument
    add(
        "--data",
        nargs="+",
        required=True,
        metavar="DIR[=WEIGHT]",
        help="annotated folders, or a file of training.pack; weight 2 draws a data set's images "
        "twice as often, default 1",
    )
    add("--output", type=Path, required=True, metavar="RUN", help="folder of this run")
    add(
        "--networks",
        choices=tuple(NETWORKS),
        nargs="+",
        default=[FAST.name],
        help="of training/topology.py, default %(default)s; the first teaches the others",
    )
    add("--steps", type=whole(1), default=24_000, help="batches to learn from, default %(default)s")
    add("--minutes", type=positive, help="end after this time instead; such a run is not resumed")
    add("--batch", type=whole(1), default=8, help="crops per step, default %(default)s")
    add("--rate", type=positive, default=2e-3, help="highest learning rate, default %(default)s")
    add("--seed", type=whole(0), default=0, help="of first weights and crops")
    add(
        "--validate-every",
        type=whole(1),
        default=1000,
        metavar="STEPS",
        help="and save, default %(default)s",
    )
    add(
        "--patience",
        type=whole(0),
        default=5,
        metavar="N",
        help="stop after N validations without a better AP@0.5, default %(default)s; 0 is never",
    )
    add("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    add(
        "--start",
        type=existing_file,
        nargs="+",
        metavar="WEIGHTS",
        help="a file of weights for each network to begin with; random ones if left out",
    )
    add(
        "--teacher",
        type=existing_file,
        metavar="WEIGHTS",
        help="those of a network whose opinion of each crop counts as much as the annotation",
    )
    add(
        "--opinions",
        type=existing_file,
        metavar="FILE",
        help="of training.opinions: the networks learn from the mean of it and the annotation",
    )
    add(
        "--light",
        action="store_true",
        help="crops nearer to what users' images are, for the end of training",
    )
    add(
        "--keep-colours",
        action="store_true",
        help="change no stains and tints, to measure what these changes bring",
    )
    add(
        "--emphasis",
        type=positive,
        default=losses.EMPHASIS,
        help="extra weight of gaps and small nuclei, default %(default)s",
    )
    add("--stop-after", type=whole(1), metavar="STEP", help="end this sitting at that step")
    add(
        "--resume",
        action="store_true",
        help="go on from the run's last checkpoint, where it has one",
    )
    return made


def load(
    texts: list[str], opinions: Path | None = None
) -> tuple[list[Sample], list[Sample], dict[str, float]]:
    """Read what ``--data`` and ``--opinions`` name.

    Returns
    -------
    training, validation : list of Sample
        A packed file has nothing to validate with.
    weights : dict
        By the name of the data set.
    """
    if len(texts) == 1 and texts[0].endswith(".npz"):
        (training, shares), validation = unpack(Path(texts[0])), []
    else:
        # The package reads and stretches images; packed ones need it no more.
        from . import data

        training, validation, shares = data.load_weighted(texts)
        if not training or not validation:
            raise ValueError(
                f"{len(training)} images to train on and {len(validation)} to validate with; "
                "at least two that do not look alike are needed"
            )
    if opinions is not None:
        training = with_opinions(training, opinions)
    return training, validation, shares


def with_option(error: ValueError) -> str:
    """Return the sentence of an error of `load`, the option's name first."""
    text = str(error)
    return f"--{text}" if text.startswith(("data: ", "opinions: ")) else f"--data: {text}"


def train(options: argparse.Namespace) -> Path:
    """Train, and leave the weights and the history of each network in the run's folder.

    Parameters
    ----------
    options : Namespace
        What `parser` reads.

    Returns
    -------
    Path
        The run's folder.
    """
    _check(options)
    output: Path = options.output
    try:
        training, validation, shares = load(options.data, options.opinions)
    except ValueError as error:
        raise SystemExit(with_option(error)) from None
    _describe(options, training, validation, shares)
    print(f"{len(training)} images to train on, {len(validation)} to validate with", flush=True)
    _fit(options, training, validation, sampling.chances(training, shares))
    return output


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be meant."""
    output: Path = options.output
    holds_run = any(output.glob("*.csv")) or (output / CHECKPOINT).exists()
    if holds_run and not options.resume:
        raise SystemExit(f"--output: {output} holds a run; add --resume or name another")
    if options.resume and options.minutes:
        raise SystemExit("--resume: a run of some --minutes is not resumed")
    if len(set(options.networks)) < len(options.networks):
        raise SystemExit("--networks: each can be named once")
    if options.start and len(options.start) != len(options.networks):
        raise SystemExit(
            f"--start: {len(options.start)} files for {len(options.networks)} --networks"
        )


def _fit(
    options: argparse.Namespace,
    training: list[Sample],
    validation: list[Sample],
    chances: NDArray[np.float64],
) -> None:
    length = math.gcd(LONGEST_EPOCH, options.validate_every, options.steps)
    checkpoint = options.output / CHECKPOINT
    first = _epochs_done(checkpoint) if options.resume else 0
    last = min(options.steps, options.stop_after or options.steps) // length
    keep = Keep(options.output, validation, options.validate_every // length, length)
    keep.drop_after(first * length)
    stop = Stop(keep, options.patience)
    if stop.is_due():
        return
    pace = Pace(options.rate, options.steps // length, options.minutes)
    backup = keras.callbacks.BackupAndRestore(checkpoint, delete_checkpoint=False)
    # A run without checkpoints that was asked to end keeps its weights before it does.
    saving = [pace, stop, keep] if options.minutes else [backup, pace, keep, stop]
    model = _model(options)
    settings = augment.LIGHT if options.light else augment.Settings()
    settings = augment.with_own_colours(settings) if options.keep_colours else settings
    source = batches.Source(training, chances, options.batch, options.seed, settings)
    epochs = last if options.minutes is None else sys.maxsize
    with interruptible(stop):
        fit(model, source, length, epochs, saving, first)


def fit(
    model: SideBySide,
    source: batches.Source,
    length: int,
    epochs: int = 1,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    first: int = 0,
) -> None:
    """Let a model learn from a source until the end of an epoch, `length` steps each.

    Batches begin where those of the ``first`` epochs ended.
    """
    with closing(source.endless(first * length)) as crops:
        model.fit(
            inputs(crops, clean=model.teacher is not None),
            epochs=epochs,
            steps_per_epoch=length,
            callbacks=[*callbacks, Bar(length)],
            shuffle=False,
            verbose=0,
        )


def inputs(crops: Iterable[batches.Batch], clean: bool) -> Iterator[tuple[Any, Any]]:
    """Return batches in the form that `SideBySide` takes: with clean crops if it has a teacher."""
    for image, maps, unchanged in crops:
        yield ((image, unchanged) if clean else image), maps


def _model(options: argparse.Namespace) -> SideBySide:
    """Build the networks in the precision of training, and the optimiser."""
    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy(options.precision)
    networks = [unet.build(NETWORKS[name]) for name in options.networks]
    for network, path in zip(networks, options.start or (), strict=False):
        _start(network, path)
    teacher = options.teacher and weights.load(options.teacher)
    keras.config.set_dtype_policy("float32")
    model = SideBySide(networks, teacher, options.emphasis)
    optimizer = keras.optimizers.AdamW(
        options.rate,
        weight_decay=1e-3,
        clipnorm=5.0,
        use_ema=True,
        ema_momentum=min(MOMENTUM, 1 - 10 / (options.steps + 10)),
    )
    model.compile(optimizer, jit_compile=keras.backend.backend() == "jax")
    return model


def _start(network: keras.Model, path: Path) -> None:
    try:
        if weights.limits(path):
            raise SystemExit(
                f"--start: {path} was written by training.quantize, and its batch normalisations "
                "are folded; accepted are files of training.train (or training.quantize --weights)"
            )
        weights.fill(network, path)
    except (ValueError, KeyError, OSError) as error:
        raise SystemExit(
            f"--start: {path} does not hold weights of --networks {network.name}"
        ) from error


def _epochs_done(checkpoint: Path) -> int:
    path = checkpoint / "training_metadata.json"
    return json.loads(path.read_text())["epoch"] if path.exists() else 0


def _describe(
    options: argparse.Namespace,
    training: list[Sample],
    validation: list[Sample],
    shares: dict[str, float],
) -> None:
    """Write what the run is made of, or check that a resumed run is made of the same."""
    settings = {name: getattr(options, name) for name in KEPT_SETTINGS}
    settings["networks"] = {name: asdict(NETWORKS[name]) for name in options.networks}
    settings["data"] = shares
    for name in ("teacher", "opinions"):
        path = getattr(options, name)
        settings[name] = path and hashlib.sha256(path.read_bytes()).hexdigest()
    split = {
        name: [[one.name, one.modality, one.group] for one in samples]
        for name, samples in (("training", training), ("validation", validation))
    }
    options.output.mkdir(parents=True, exist_ok=True)
    for name, now in (("settings.json", settings), ("split.json", split)):
        path = options.output / name
        if options.resume and path.exists():
            _check_same(options.output, json.loads(path.read_text()), now)
        else:
            path.write_text(json.dumps(now, indent=1))


def _check_same(output: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    now = json.loads(json.dumps(now))
    # A run of before --keep-colours did not keep them.
    changed = [name for name in now if before.get(name, False) != now[name]]
    if not changed:
        return
    if "training" in changed or "validation" in changed:
        what = "with other images, or with images that were grouped in another way"
    elif "networks" in changed:
        what = "with other --networks, or with another training/topology.py"
    else:
        what = "with " + ", ".join(
            f"--{name.replace('_', '-')} {before.get(name)} (now {now[name]})" for name in changed
        )
    raise SystemExit(
        f"--resume: {output} was started {what}; give the same, or name another --output"
    )


if __name__ == "__main__":
    main()
