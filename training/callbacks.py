"""What happens between the epochs of a run: the learning rate, validation, and the end."""

from __future__ import annotations

import csv
import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from . import unet, weights
from .distillation import loss_names
from .samples import Sample
from .topology import NETWORKS

WARM_UP = 0.02
"""Share of a run in which the learning rate rises."""

LOWEST = 0.002
"""Learning rate at the end, as a share of the highest."""

Logs = dict[str, float] | None


class Pace(keras.callbacks.Callback):
    """The learning rate: up, and down along a cosine, over a number of epochs or of minutes.

    Parameters
    ----------
    rate : float
        The highest.
    epochs : int
    minutes : float, optional
        The run ends after this time, whatever its epochs.
    """

    def __init__(self, rate: float, epochs: int, minutes: float | None = None) -> None:
        super().__init__()
        self.rate = rate
        self.epochs = epochs
        self.seconds = minutes and 60 * minutes
        self.began = time.monotonic()
        self.learns_since: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Set the rate of an epoch."""
        self.model.optimizer.learning_rate = self.rate * shape(self._progress(epoch))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """End the run in time."""
        now = time.monotonic()
        if self.learns_since is None:
            self.learns_since = now  # the first epoch also compiles the network
        if self.seconds and now >= self.began + self.seconds:
            self.model.stop_training = True

    def _progress(self, epoch: int) -> float:
        if not self.seconds:
            return epoch / self.epochs
        if self.learns_since is None:
            return 0.0
        left = self.began + self.seconds - self.learns_since
        return min(1.0, (time.monotonic() - self.learns_since) / max(left, 1e-3))


def shape(progress: float) -> float:
    """Return the learning rate over its highest, at a share of the run."""
    if progress < WARM_UP:
        return 0.02 + 0.98 * progress / WARM_UP
    cosine = 0.5 + 0.5 * math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))
    return LOWEST + (1 - LOWEST) * cosine


class Keep(keras.callbacks.Callback):
    """Validate the networks, and keep the weights of each that found its nuclei best.

    Parameters
    ----------
    folder : Path
        Gets ``NAME.npz``, ``NAME.csv`` and ``NAME.png`` of each network.
    validation : list of Sample
        Where there are none the latest weights are kept.
    every : int
        Epochs.
    length : int
        Steps of an epoch.
    """

    def __init__(self, folder: Path, validation: list[Sample], every: int, length: int) -> None:
        super().__init__()
        self.folder = folder
        self.validation = validation
        self.every = every
        self.length = length
        self.averages = keras.callbacks.SwapEMAWeights()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Score and save the averaged weights where it is time to."""
        done = epoch + 1
        if done % self.every and done != self.params["epochs"] and not self.model.stop_training:
            return
        self.averages.set_model(self.model)
        self.averages.on_test_begin()
        for network in self.model.networks:
            self._keep(network, done * self.length, logs or {})
        self.averages.on_test_end()

    def _keep(self, network: keras.Model, step: int, logs: dict[str, float]) -> None:
        losses = [float(logs[name]) for name in loss_names(network.name)]
        if not np.isfinite(losses).all():
            raise SystemExit(f"the loss is {sum(losses)} by step {step}; lower --rate")
        path = self.folder / f"{network.name}.csv"
        row = {"step": step}
        row |= {"loss_nucleus": round(losses[0], 5), "loss_distance": round(losses[1], 5)}
        if self.validation:
            row |= self._scores(network)
        if not self.validation or row["ap50"] >= best(path)[0]:  # of equals the later
            self.folder.joinpath(f"{network.name}.npz").write_bytes(weights.pack(network))
        _append(path, row)
        if self.validation:
            from . import plots

            plots.curves(history(path), path.with_suffix(".png"))
        tqdm.write(json.dumps({"network": network.name, **row}))

    def _scores(self, network: keras.Model) -> dict[str, float]:
        from . import predict

        # Half precision roughens the maps: AP@0.5 of the same weights was 0.42, in int8 0.53.
        precise = unet.build(NETWORKS[network.name])
        precise.set_weights(network.get_weights())
        return predict.columns(predict.scores(precise, self.validation), self.validation)

    def drop_after(self, step: int) -> None:
        """Drop the rows of the histories that come after a step, which will be made again."""
        for path in self.folder.glob("*.csv"):
            head, *rows = path.read_text().splitlines()
            kept = [row for row in rows if int(row.split(",")[0]) <= step]
            path.write_text("\n".join([head, *kept, ""]))

    def stale(self) -> int:
        """Count the validations since the last that was better, of the network that still gains."""
        return min((best(path)[1] for path in self.folder.glob("*.csv")), default=0)


def history(path: Path) -> list[dict[str, float]]:
    """Read what `Keep` writes of a network."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def best(path: Path) -> tuple[float, int]:
    """Return a history's best AP@0.5 and the number of rows after it."""
    scores = [row.get("ap50", math.nan) for row in history(path)] if path.exists() else []
    if not scores or math.isnan(scores[0]):
        return -1.0, 0
    return max(scores), len(scores) - 1 - scores.index(max(scores))


class Stop(keras.callbacks.Callback):
    """The end of a run that was asked to end, or that gains no more.

    Parameters
    ----------
    keep : Keep
    patience : int
        Validations without gain; 0 is never.
    """

    def __init__(self, keep: Keep, patience: int) -> None:
        super().__init__()
        self.keep = keep
        self.patience = patience
        self.asked = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """End the run if it is due; the checkpoint of this epoch, if it has any, is written."""
        if self.is_due():
            self.model.stop_training = True
        if self.asked and epoch + 1 < self.params["epochs"]:
            tqdm.write(f"interrupted and saved at step {(epoch + 1) * self.keep.length}")

    def is_due(self) -> bool:
        """Return whether there is nothing more to do, and print why."""
        if 0 < self.patience <= self.keep.stale():
            tqdm.write(f"stopped: no better AP@0.5 in the last {self.patience} validations")
            return True
        return self.asked


@contextmanager
def interruptible(stop: Stop) -> Iterator[None]:
    """Let the first Ctrl-C or request to end stop the run; the second ends the process."""

    def ask(number: int, _: object) -> None:
        stop.asked = True
        signal.signal(number, before[number])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Bar(keras.callbacks.Callback):
    """A progress bar over the steps, with the losses of the last epoch."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.bar: tqdm

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Begin where the run does."""
        if not hasattr(self, "bar"):
            epochs = self.params["epochs"]
            total = epochs * self.length if epochs < 1_000_000 else None
            first = epoch * self.length
            self.bar = tqdm(total=total, initial=first, unit="step", mininterval=5)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Count a step."""
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Show the losses."""
        names = [loss_names(network.name) for network in self.model.networks]
        sums = [sum(float(logs[one]) for one in pair) for pair in names]
        self.bar.set_postfix_str("loss " + " ".join(f"{one:.3f}" for one in sums), refresh=False)

    def on_train_end(self, logs: Logs = None) -> None:
        """Leave the terminal in order."""
        if hasattr(self, "bar"):
            self.bar.close()


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
