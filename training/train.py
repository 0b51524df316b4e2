"""Train the model: ``python -m training.train --data DIR [DIR ...] --output RUN``."""

from __future__ import annotations

import argparse
import csv
import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from training import augment, data, groups, metrics, plots, predict, unet
from training.data import Sample

MODALITY_WEIGHTS = {
    "fluorescence": 0.50,
    "grey bright-field": 0.07,
    "purple stain": 0.18,
    "H&E": 0.25,
}
"""Share of the crops of each modality: bright-field is a sixth of the images, but half of the
uses."""

GAP_WEIGHT = 4.0
"""Extra weight of a pixel between two nuclei that touch or nearly do."""

EMA_MOMENTUM = 0.998
"""Averages the weights over about the last 500 steps."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="annotated folders")
    parser.add_argument("--output", type=Path, required=True, help="folder of this run")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--batch", type=int, default=8, help="crops a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validate-every", type=int, default=1000, help="steps")
    parser.add_argument(
        "--patience", type=int, default=0, help="validations without gain; 0 is never"
    )
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--stop-after", type=int, help="end this sitting at that step")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    train(parser.parse_args(arguments))


def train(options: argparse.Namespace) -> Path:
    """Train and leave ``best.weights.h5`` and ``history.csv`` in the run's folder."""
    if (options.output / "history.csv").exists() and not options.resume:
        raise SystemExit(f"--output: {options.output} holds a run; add --resume or name another")
    options.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    training, validation = data.load_split(options.data)
    _write_split(options.output, training, validation)
    print(f"{len(training)} images to train on, {len(validation)} to validate")
    Run(options, training, validation).go()
    return options.output


class Run:
    """One training: its model, optimiser, averaged weights and checkpoints."""

    def __init__(
        self, options: argparse.Namespace, training: list[Sample], validation: list[Sample]
    ) -> None:
        self.options = options
        self.training = training
        self.validation = validation
        keras.config.set_dtype_policy(options.precision)
        self.model = unet.build()
        # Half precision roughens the maps: AP@0.5 of the same weights was 0.42, in int8 0.53.
        keras.config.set_dtype_policy("float32")
        self.averaged = unet.build()
        schedule = keras.optimizers.schedules.CosineDecay(
            options.rate / 50,
            options.steps,
            warmup_target=options.rate,
            warmup_steps=max(1, min(300, options.steps // 10)),
            alpha=0.002,
        )
        self.optimizer = keras.optimizers.AdamW(schedule, weight_decay=1e-3, clipnorm=5.0)
        self.optimizer.build(self.model.trainable_variables)
        self.average = [tf.Variable(v, trainable=False) for v in self.model.weights]
        self.step = tf.Variable(0, dtype=tf.int64)
        self.best = tf.Variable(-1.0)
        self.stale = tf.Variable(0)
        state = tf.train.Checkpoint(
            model=self.model,
            optimizer=self.optimizer,
            step=self.step,
            best=self.best,
            stale=self.stale,
            average=self.average,
        )
        self.checkpoints = tf.train.CheckpointManager(state, str(options.output / "checkpoints"), 2)
        if options.resume and self.checkpoints.latest_checkpoint:
            state.restore(self.checkpoints.latest_checkpoint).expect_partial()
            print(f"resumed at step {int(self.step)}")

    def go(self) -> None:
        """Train to the last step or until validation has stopped to improve."""
        options = self.options
        first, last = int(self.step), min(options.steps, options.stop_after or options.steps)
        source = batches(self.training, options.batch, options.seed + first)
        losses: list[NDArray[np.float32]] = []
        with tqdm(total=options.steps, initial=first, unit="step", mininterval=5) as bar:
            for _ in range(first, last):
                losses.append(self.train_step(*next(source)).numpy())
                bar.update()
                if int(self.step) % options.validate_every == 0 or int(self.step) == last:
                    self._validate(np.mean(losses, axis=0))
                    losses.clear()
                    if options.patience and int(self.stale) >= options.patience:
                        break

    @tf.function
    def train_step(self, image: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        """Take one step; gives the losses of nucleus and distance."""
        target = tf.cast(maps, tf.float32) / 255.0
        with tf.GradientTape() as tape:
            predicted = self.model(tf.cast(image, tf.float32), training=True)
            losses = loss(predicted, target)
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
        for weight, value in zip(self.averaged.weights, self.average, strict=True):
            weight.assign(value)
        scores = predict.scores(self.averaged, self.validation)
        score = metrics.total(scores)
        row = {
            "step": int(self.step),
            "loss_nucleus": round(float(losses[0]), 5),
            "loss_distance": round(float(losses[1]), 5),
            "dice": round(score.mean_dice, 5),
            "ap50": round(float(score.ap[0]), 5),
            "ap": round(float(score.ap.mean()), 5),
        }
        for kind in groups.MODALITIES:
            mine = [s for s, v in zip(scores, self.validation, strict=True) if v.modality == kind]
            if mine:
                one = metrics.total(mine)
                row[f"dice {kind}"] = round(one.mean_dice, 5)
                row[f"ap50 {kind}"] = round(float(one.ap[0]), 5)
        self.stale.assign_add(1)
        if score.ap[0] >= float(self.best):
            self.best.assign(score.ap[0])
            self.stale.assign(0)
            self.averaged.save_weights(self.options.output / "best.weights.h5")
        _append(self.options.output / "history.csv", row)
        plots.curves(self.options.output / "history.csv", self.options.output / "curves.png")
        self.checkpoints.save()
        tqdm.write(json.dumps(row))


def loss(predicted: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Give the losses of the two maps.

    Parameters
    ----------
    predicted : Tensor, (N, h, w, 2) float32
    target : Tensor, (N, h, w, 3) float32
        Nucleus, distance and gap, 0..1.

    Returns
    -------
    Tensor, (2,) float32
        Cross-entropy and Dice of the nucleus map; cross-entropy of the distance map, less its
        smallest possible value, so that it is zero for a perfect map.
    """
    predicted = tf.clip_by_value(predicted, 1e-6, 1 - 1e-6)
    nucleus, distance, gap = (target[..., i] for i in range(3))
    weight = 1 + GAP_WEIGHT * gap
    entropy = weight * _cross_entropy(nucleus, predicted[..., 0])
    both = tf.reduce_sum(nucleus * predicted[..., 0])
    dice = 1 - (2 * both + 1) / (tf.reduce_sum(nucleus) + tf.reduce_sum(predicted[..., 0]) + 1)
    clipped = tf.clip_by_value(distance, 1e-6, 1 - 1e-6)
    excess = _cross_entropy(distance, predicted[..., 1]) - _cross_entropy(distance, clipped)
    return tf.stack([tf.reduce_mean(entropy) + 0.5 * dice, 2 * tf.reduce_mean(weight * excess)])


def _cross_entropy(target: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    return -(target * tf.math.log(predicted) + (1 - target) * tf.math.log(1 - predicted))


def batches(
    samples: list[Sample], batch: int, seed: int, settings: augment.Settings | None = None
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Make batches of changed crops in a thread of its own, without end."""
    made: queue.Queue[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = queue.Queue(maxsize=8)
    arguments = (samples, batch, seed, settings or augment.Settings(), made)
    threading.Thread(target=_produce, args=arguments, daemon=True).start()
    while True:
        yield made.get()


def _produce(
    samples: list[Sample], batch: int, seed: int, settings: augment.Settings, made: queue.Queue
) -> None:
    rng = np.random.default_rng(seed)
    targets = [sample.targets() for sample in samples]
    share = sampling(samples)
    while True:
        chosen = rng.choice(len(samples), batch, p=share)
        crops = [augment.crop(samples[i], targets[i], rng, settings) for i in chosen]
        made.put((np.stack([image for image, _ in crops]), np.stack([maps for _, maps in crops])))


def sampling(samples: list[Sample]) -> NDArray[np.float64]:
    """Give each image's chance of being drawn.

    Modalities get their share of `MODALITY_WEIGHTS`; within one, a group counts by the square root
    of its size, so that large series do not drown small ones.
    """
    sizes = dict.fromkeys({sample.group for sample in samples}, 0)
    for sample in samples:
        sizes[sample.group] += 1
    raw = np.array([sizes[sample.group] ** -0.5 for sample in samples])
    kinds = np.array([sample.modality for sample in samples])
    for kind, weight in MODALITY_WEIGHTS.items():
        if (kinds == kind).any():
            raw[kinds == kind] *= weight / raw[kinds == kind].sum()
    return raw / raw.sum()


def _write_split(output: Path, training: list[Sample], validation: list[Sample]) -> None:
    split = {
        "training": [[s.name, s.modality, s.group] for s in training],
        "validation": [[s.name, s.modality, s.group] for s in validation],
    }
    (output / "split.json").write_text(json.dumps(split, indent=1))


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
