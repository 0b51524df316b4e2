"""Small networks, and runs of them that take no time."""

import numpy as np
import pytest
from small_networks import NETWORKS

from training import batches, metrics, plots, predict, topology
from training.distillation import SideBySide


@pytest.fixture(scope="module")
def small_networks():
    """Have only these to choose from."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(topology.NETWORKS):
            patch.delitem(topology.NETWORKS, name)
        for name, one in NETWORKS.items():
            patch.setitem(topology.NETWORKS, name, one)
        yield


class Blanks:
    """Takes the place of `batches.Source`: empty crops, made at once."""

    def __init__(self, samples, chances, batch, seed, settings):
        self.crops = np.zeros((3, batch, 32, 32, 3), np.uint8)

    def endless(self, first):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return tuple(self.crops)

    def close(self):
        pass


@pytest.fixture
def without_learning(monkeypatch):
    """Count steps instead of taking them, and find every nucleus each time."""

    def make_train_function(model, force=False):
        still = [np.zeros(weight.shape, np.float32) for weight in model.trainable_variables]

        def step(iterator):
            next(iterator)
            model.optimizer.apply(still, model.trainable_variables)
            return dict.fromkeys(model.means, 1.0)

        model.train_function = step

    monkeypatch.setattr(batches, "Source", Blanks)
    monkeypatch.setattr(SideBySide, "make_train_function", make_train_function)
    monkeypatch.setattr(plots, "curves", lambda history, picture: None)
    monkeypatch.setattr(
        predict, "scores", lambda _, samples: [metrics.score(s.labels, s.labels) for s in samples]
    )
