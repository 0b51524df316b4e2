"""Train the model: ``python -m training.train --data DIR[=WEIGHT] ... --output RUN``."""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from training import batches, data, groups, metrics, plots, predict, sampling, unet, weights
from training.data import Sample
from training.losses import of_maps
from training.teacher import Teacher
from training.topology import FAST, NETWORKS

EMA_MOMENTUM = 0.999
"""Averages the weights over about the last 1,000 steps."""

KEPT_SETTINGS = ("network", "data", "steps", "batch", "rate", "seed", "precision", "teacher")
"""A run is resumed with the same of these, or it would be neither the old run nor a new one."""

SHOWN_LOSSES = 50
"""Steps over which the progress bar averages the loss."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    train(parser().parse_args(arguments))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    add = made.add_argument
    add(
        "--data",
        type=_folder,
        nargs="+",
        required=True,
        metavar="DIR[=WEIGHT]",
        help="annotated folders; weight 2 draws a data set's images twice as often, default 1",
    )
    add("--output", type=Path, required=True, metavar="RUN", help="folder of this run")
    add(
        "--network",
        choices=tuple(NETWORKS),
        default=FAST.name,
        help="one of training/topology.py, default %(default)s",
    )
    add("--steps", type=_count, default=24_000, help="batches to learn from, default %(default)s")
    add("--batch", type=_count, default=8, help="crops a step, default %(default)s")
    add("--rate", type=_positive, default=2e-3, help="highest learning rate, default %(default)s")
    add("--seed", type=_count_or_zero, default=0, help="of first weights and crops")
    add(
        "--validate-every",
        type=_count,
        default=1000,
        metavar="STEPS",
        help="and save, default %(default)s",
    )
    add(
        "--patience",
        type=_count_or_zero,
        default=5,
        metavar="N",
        help="stop after N validations without a better AP@0.5, default %(default)s; 0 is never",
    )
    add("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    add(
        "--start",
        type=existing_file,
        metavar="WEIGHTS",
        help="weights to begin with: another run's best.weights.h5, or what training.quantize "
        "writes as .npz; random ones if left out",
    )
    add(
        "--teacher",
        type=existing_file,
        metavar="ONNX",
        help="a model of ours whose opinion of each crop counts as much as the annotation",
    )
    add("--stop-after", type=_count, metavar="STEP", help="end this sitting at that step")
    add(
        "--resume",
        action="store_true",
        help="go on from the run's last checkpoint, where it has one",
    )
    return made


def _folder(text: str) -> data.WeightedFolder:
    try:
        return data.parse_folder(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def existing_file(text: str) -> Path:
    """Read the path of a file, for an argument parser."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"no such file: {text}")
    return Path(text)


def _count_or_zero(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}; accepted is a whole number from 0 up")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"got {text!r}; accepted is a whole number from 1 up")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"got {text!r}; accepted is a number above 0")
    return value


def train(options: argparse.Namespace) -> Path:
    """Train and leave ``best.weights.h5``, ``history.csv`` and pictures in the run's folder.

    Parameters
    ----------
    options : Namespace
        What `parser` reads.

    Returns
    -------
    Path
        The run's folder.
    """
    if (options.output / "history.csv").exists() and not options.resume:
        raise SystemExit(f"--output: {options.output} holds a run; add --resume or name another")
    try:
        training, validation = data.load_split([folder.path for folder in options.data])
    except ValueError as error:
        raise SystemExit(f"--data: {str(error).removeprefix('data: ')}") from None
    if not training or not validation:
        raise SystemExit(
            f"--data: {len(training)} images to train on and {len(validation)} to validate with; "
            "at least two that do not look alike are needed"
        )
    _describe(options, training, validation)
    print(f"{len(training)} images to train on, {len(validation)} to validate with")
    Run(options, training, validation).go()
    return options.output


def _describe(
    options: argparse.Namespace, training: list[Sample], validation: list[Sample]
) -> None:
    """Write what the run is made of, or check that a resumed run is made of the same."""
    settings = {name: getattr(options, name) for name in KEPT_SETTINGS}
    settings["data"] = dataset_weights(options.data)
    settings["teacher"] = (
        options.teacher and hashlib.sha256(options.teacher.read_bytes()).hexdigest()
    )
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
    changed = [name for name in now if before.get(name) != now[name]]
    if not changed:
        return
    if "training" in changed or "validation" in changed:
        what = "with other images, or with images that were grouped in another way"
    else:
        what = "with " + ", ".join(
            f"--{name} {before.get(name)} (now {now[name]})" for name in changed
        )
    raise SystemExit(
        f"--resume: {output} was started {what}; give the same, or name another --output"
    )


def dataset_weights(folders: list[data.WeightedFolder]) -> dict[str, float]:
    """Give the weight of each data set by its name."""
    return {data.dataset_name(folder.path): folder.weight for folder in folders}


class Run:
    """One training: its model, optimiser, averaged weights and checkpoints.

    The crops of a step depend on the seed and the step alone, so a run that was interrupted learns
    from the same crops as one that was not.
    """

    def __init__(
        self, options: argparse.Namespace, training: list[Sample], validation: list[Sample]
    ) -> None:
        self.options = options
        self.training = training
        self.validation = validation
        keras.utils.set_random_seed(options.seed)
        keras.config.set_dtype_policy(options.precision)
        topology = NETWORKS[options.network]
        self.model = unet.build(topology)
        if options.start:
            _start(self.model, options.start)
        # Half precision roughens the maps: AP@0.5 of the same weights was 0.42, in int8 0.53.
        keras.config.set_dtype_policy("float32")
        self.averaged = unet.build(topology)
        self.optimizer = keras.optimizers.AdamW(
            _schedule(options.rate, options.steps), weight_decay=1e-3, clipnorm=5.0
        )
        self.optimizer.build(self.model.trainable_variables)
        self.average = [tf.Variable(v, trainable=False) for v in self.model.weights]
        self.step = tf.Variable(0, dtype=tf.int64)
        self.best = tf.Variable(-1.0)
        self.stale = tf.Variable(0)
        self.state = tf.train.Checkpoint(
            model=self.model,
            optimizer=self.optimizer,
            step=self.step,
            best=self.best,
            stale=self.stale,
            average=self.average,
        )
        folder = options.output / "checkpoints"
        self.checkpoints = tf.train.CheckpointManager(self.state, str(folder), 2)
        if options.resume and self.checkpoints.latest_checkpoint:
            self._restore(self.checkpoints.latest_checkpoint)

    def _restore(self, checkpoint: str) -> None:
        if stored_shapes(checkpoint) != [list(weight.shape) for weight in self.average]:
            raise SystemExit(
                f"--resume: {self.options.output} was started with another network than the one "
                "in training/topology.py; name another --output"
            )
        self.state.restore(checkpoint).expect_partial()
        _keep_rows(self.options.output / "history.csv", int(self.step))
        print(f"resumed at step {int(self.step)}")

    def go(self) -> None:
        """Train to the last step or until validation has stopped to improve."""
        options = self.options
        first, last = int(self.step), min(options.steps, options.stop_after or options.steps)
        chances = sampling.chances(self.training, dataset_weights(options.data))
        source = batches.endless(
            self.training,
            chances,
            options.batch,
            options.seed,
            first,
            teacher=options.teacher and Teacher(options.teacher),
        )
        losses: list[NDArray[np.float32]] = []
        bar = tqdm(total=options.steps, initial=first, unit="step", mininterval=5)
        with closing(source), closing(bar), _interruptible() as interrupted:
            while int(self.step) < last and not self._has_stalled() and not interrupted.is_set():
                losses.append(self.train_step(*next(source)).numpy())
                shown = np.mean(losses[-SHOWN_LOSSES:], axis=0).sum()
                bar.set_postfix_str(f"loss {shown:.3f}", refresh=False)
                bar.update()
                due = int(self.step) % options.validate_every == 0 or int(self.step) == last
                if due or interrupted.is_set():
                    self._validate(np.mean(losses, axis=0))
                    losses.clear()
        if interrupted.is_set() and int(self.step) < last:
            print(f"interrupted and saved at step {int(self.step)}; go on with --resume")
        if self._has_stalled():
            print(f"stopped: no better AP@0.5 in the last {int(self.stale)} validations")
        print(f"best AP@0.5 {float(self.best):.3f}: {options.output / 'best.weights.h5'}")

    def _has_stalled(self) -> bool:
        return 0 < self.options.patience <= int(self.stale)

    @tf.function
    def train_step(self, image: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        """Take one step; gives the losses of nucleus and distance."""
        target = tf.cast(maps, tf.float32) / 255.0
        with tf.GradientTape() as tape:
            predicted = self.model(tf.cast(image, tf.float32), training=True)
            losses = of_maps(predicted, target)
            objective = tf.add_n(tf.unstack(losses))
        gradients = tape.gradient(objective, self.model.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
        self.step.assign_add(1)
        # The average forgets its random start quickly, then grows long.
        steps = tf.cast(self.step, tf.float32)
        momentum = tf.minimum(EMA_MOMENTUM, (1 + steps) / (10 + steps))
        for mean, weight in zip(self.average, self.model.weights, strict=True):
            mean.assign(momentum * mean + (1 - momentum) * tf.cast(weight, mean.dtype))
        return losses

    def _validate(self, losses: NDArray[np.float32]) -> None:
        """Score the averaged weights, keep them if they are the best, and write it all down."""
        if not np.isfinite(losses).all():
            raise SystemExit(f"the loss is {losses.sum()} by step {int(self.step)}; lower --rate")
        for weight, value in zip(self.averaged.weights, self.average, strict=True):
            weight.assign(value)
        scores = predict.scores(self.averaged, self.validation)
        score, best = np.float32(metrics.total(scores).ap[0]), self.best.numpy()
        self.stale.assign(0 if score > best else self.stale + 1)
        if score >= best:  # of equals the later, which has seen more
            self.best.assign(score)
            self.averaged.save_weights(self.options.output / "best.weights.h5")
        row = {
            "step": int(self.step),
            "loss_nucleus": round(float(losses[0]), 5),
            "loss_distance": round(float(losses[1]), 5),
            **_columns(scores, self.validation),
        }
        _append(self.options.output / "history.csv", row)
        plots.curves(self.options.output / "history.csv", self.options.output / "curves.png")
        self.checkpoints.save()
        tqdm.write(json.dumps(row))


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or request to end into an event; the second ends the process."""
    asked = threading.Event()

    def ask(number: int, _: object) -> None:
        asked.set()
        signal.signal(number, before[number])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(model: keras.Model, path: Path) -> None:
    try:
        weights.fill(model, path)
    except (ValueError, KeyError, OSError) as error:
        raise SystemExit(
            f"--start: {path} does not hold weights of --network {model.name}"
        ) from error


def _schedule(rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    return keras.optimizers.schedules.CosineDecay(
        rate / 50,
        steps,
        warmup_target=rate,
        warmup_steps=max(1, min(300, steps // 10)),
        alpha=0.002,
    )


def stored_shapes(checkpoint: str) -> list[list[int]]:
    """Give the shapes of the averaged weights in a checkpoint, in their order."""
    stored = tf.train.load_checkpoint(checkpoint).get_variable_to_shape_map()
    names = (f"average/{index}/.ATTRIBUTES/VARIABLE_VALUE" for index in itertools.count())
    return [stored[name] for name in itertools.takewhile(stored.__contains__, names)]


def _columns(scores: list[metrics.Score], samples: list[Sample]) -> dict[str, float]:
    """Lay out the scores of all images and of each modality."""
    score = metrics.total(scores)
    row = {
        "dice": round(score.mean_dice, 5),
        "ap50": round(float(score.ap[0]), 5),
        "ap": round(score.mean_ap, 5),
    }
    for kind in groups.MODALITIES:
        mine = [s for s, sample in zip(scores, samples, strict=True) if sample.modality == kind]
        if mine:
            one = metrics.total(mine)
            row[f"dice {kind}"] = round(one.mean_dice, 5)
            row[f"ap50 {kind}"] = round(float(one.ap[0]), 5)
    return row


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _keep_rows(path: Path, step: int) -> None:
    """Drop the rows of a history that come after the checkpoint which is resumed."""
    head, *rows = path.read_text().splitlines()
    kept = [row for row in rows if int(row.split(",")[0]) <= step]
    path.write_text("\n".join([head, *kept, ""]))


if __name__ == "__main__":
    main()
