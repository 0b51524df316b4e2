"""StarDist 2D in ``predict_instances`` (Schmidt et al. 2018, doi:10.1007/978-3-030-00934-2_30)."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf
from csbdeep.utils import normalize
from stardist import edt_prob, star_dist
from stardist.models import Config2D, StarDist2D

from . import seconds

HE = {"axes": "YXC", "n_channel_in": 3, "n_rays": 32, "grid": (2, 2)}
"""Settings of 2D_versatile_he, StarDist's model for tissue; the rest are the defaults."""

THRESHOLDS = {"prob": 0.692, "nms": 0.3}
"""Thresholds of the same model."""


class PerfectNetwork:
    """Runs the network in full, and answers with the maps of true nuclei."""

    def __init__(self, network: object) -> None:
        self.network = network
        self.maps: list[np.ndarray] = []
        self.seconds = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self.network, name)

    def predict(self, batch: np.ndarray, **options: object) -> list[np.ndarray]:
        begin = time.perf_counter()
        answer = self.network.predict(batch, **options)
        self.seconds = time.perf_counter() - begin
        if [each.shape for each in answer] != [each.shape for each in self.maps]:
            raise ValueError(f"the network answers in {[each.shape for each in answer]}")
        return self.maps


class Program:
    packages = ("stardist", "tensorflow-cpu", "tensorflow")
    weights = "random"
    about = (
        "predict_instances of the network of 2D_versatile_he on the whole picture, normalised "
        "before; its non-maximum suppression sees the true nuclei's distances"
    )

    def __init__(self, threads: int, files: dict[str, str]) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.model = StarDist2D(Config2D(**HE), basedir=None)
        self.model.thresholds = THRESHOLDS
        self.network = self.model.keras_model = PerfectNetwork(self.model.keras_model)

    def take(self, image: np.ndarray, labels: np.ndarray) -> None:
        self.image = normalize(image, 1, 99.8, axis=(0, 1))
        grid = tuple(HE["grid"])
        thinned = tuple(slice(None, None, step) for step in grid)
        probability = edt_prob(labels)[thinned].astype(np.float32)
        distances = star_dist(labels, HE["n_rays"], grid=grid)
        self.network.maps = [probability[None, ..., None], distances[None]]

    def run(self) -> dict[str, float]:
        whole = seconds(self.model.predict_instances, self.image)
        return {"maps": self.network.seconds, "labels": whole}
