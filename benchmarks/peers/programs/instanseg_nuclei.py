"""InstanSeg for nuclei (Goldsborough et al. 2024, doi:10.48550/arXiv.2408.15954)."""

from __future__ import annotations

import numpy as np
import torch
from instanseg import InstanSeg
from instanseg.utils.loss.instanseg_loss import InstanSeg_Torchscript, ProbabilityNet
from instanseg.utils.model_loader import build_model_from_dict
from scipy import ndimage

from . import seconds

NUCLEI = {
    "model_str": "InstanSeg_UNet",
    "dim_in": 3,
    "layers": (32, 64, 128, 256),
    "norm": "BATCH",
    "dim_coords": 2,
    "n_sigma": 2,
    "dim_seeds": 1,
    "multihead": False,
    "cells_and_nuclei": False,
}
"""The defaults of its training program."""

CLASSIFIER_WIDTH = 5
"""Likewise."""

UNIT = 4
"""Pixels to one unit of its coordinates."""

REACH = 8.0
"""Units from end to end that its network can point across."""


class PerfectNetwork(torch.nn.Module):
    """Runs the network in full, and answers with the maps of true nuclei once there are any."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("maps", torch.zeros(0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        answer = self.network(image)
        return self.maps if self.maps.numel() == answer.numel() else answer


class Program:
    packages = ("instanseg-torch", "torch")
    weights = "random"
    about = (
        "eval_small_image with the network of its training's defaults; its clustering sees the "
        "true nuclei's centres"
    )

    def __init__(self, threads: int, files: dict[str, str]) -> None:
        torch.set_num_threads(threads)
        network = build_model_from_dict(NUCLEI, random_seed=0)
        network.pixel_classifier = _nearness()
        model = InstanSeg_Torchscript(network, pixel_size=0.5)
        model.fcn = PerfectNetwork(model.fcn)
        self.model = torch.jit.script(model)
        self.tool = InstanSeg(self.model, device="cpu", verbosity=0)

    def take(self, image: np.ndarray, labels: np.ndarray) -> None:
        self.image = image
        self.batch = torch.rand(1, 3, *labels.shape)
        self.model.fcn.maps = torch.from_numpy(_maps(labels))

    def run(self) -> dict[str, float]:
        with torch.no_grad():
            network = seconds(self.model.fcn, self.batch)
        options = {"pixel_size": None, "return_image_tensor": False}
        return {
            "maps": network,
            "labels": seconds(self.tool.eval_small_image, self.image, **options),
        }


def _nearness() -> ProbabilityNet:
    """Set weights of its pixel classifier that say yes where a pixel points to within 4 pixels.

    Random ones would say yes or no to whole windows, and the steps after that see no nuclei.
    """
    classifier = ProbabilityNet(4, width=CLASSIFIER_WIDTH)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.zero_()
        for row, (axis, sign) in enumerate(((0, 1), (0, -1), (1, 1), (1, -1))):
            classifier.fc1.weight[row, axis] = sign
            classifier.fc2.weight[0, row] = 1
        classifier.fc3.weight[0, 0] = -4
        classifier.fc3.bias[0] = 4
    return classifier


def _maps(labels: np.ndarray) -> np.ndarray:
    """Draw nuclei as its network would: (1, 5, H, W) float32.

    Two axes that point to the centre, columns first, two spreads, and the distance to the edge.
    """
    numbers = np.arange(1, labels.max() + 1)
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, numbers)).reshape(-1, 2)
    here = np.stack(np.indices(labels.shape))
    there = np.where(labels, centres[labels - 1].transpose(2, 0, 1), here) if len(numbers) else here
    shares = np.clip((there - here)[::-1] / UNIT / REACH + 0.5, 0.01, 0.99)
    depth = ndimage.gaussian_filter(_depth(labels, numbers), 1.0)
    pointing = np.log(shares / (1 - shares))
    maps = np.concatenate([pointing, np.ones_like(pointing), (15 * (depth - 0.5))[None]])
    return maps[None].astype(np.float32)


def _depth(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the distance to the edge over that nucleus's largest: 0 to 1."""
    distance = ndimage.distance_transform_edt(labels > 0)
    largest = np.concatenate([[1.0], ndimage.maximum(distance, labels, numbers)])
    return distance / np.maximum(largest, 1)[labels]
