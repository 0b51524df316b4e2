"""Cellpose 4, with SAM's ViT-L (Pachitariu et al. 2025, doi:10.1101/2025.04.28.651001)."""

from __future__ import annotations

import time

import numpy as np
import torch
from cellpose.dynamics import labels_to_flows
from cellpose.models import CellposeModel
from cellpose.vit import CPSAM

from . import seconds

FLOW = 5.0
"""What the network multiplies flows by, and `cellpose.dynamics.compute_masks` divides them by."""


class PerfectModel(CellposeModel):
    """Runs the network in full, and goes on with the flows of true nuclei."""

    def __init__(self) -> None:  # the base class insists on a file of weights
        self.device = torch.device("cpu")
        self.gpu = False
        self.pretrained_model = "none"
        self.backbone = "sam_vitl"
        self.net = CPSAM(dtype=torch.float32)
        self.seconds = 0.0

    def take(self, labels: np.ndarray) -> None:
        _, inside, down, right = labels_to_flows([labels.copy()], device=self.device)[0]
        self.flows = FLOW * np.stack([down, right])[:, None]
        self.inside = np.where(inside, 4.0, -4.0).astype(np.float32)[None]

    def _run_net(self, *arguments: object, **options: object) -> tuple[np.ndarray, ...]:
        begin = time.perf_counter()
        flows, inside, styles = super()._run_net(*arguments, **options)
        self.seconds = time.perf_counter() - begin
        if (flows.shape, inside.shape) != (self.flows.shape, self.inside.shape):
            raise ValueError(f"the network answers in {flows.shape} and {inside.shape}")
        return self.flows, self.inside, styles


class Program:
    packages = ("cellpose", "torch")
    weights = "random"

    def __init__(self, threads: int, files: dict[str, str]) -> None:
        torch.set_num_threads(threads)
        self.model = PerfectModel()
        self.precision = _faster(self.model.net)

    @property
    def about(self) -> str:
        return (
            f"eval() with the network of cpsam in {self.precision}, the faster here of bfloat16 "
            "and float32; its mask step sees the true nuclei's flows"
        )

    def take(self, image: np.ndarray, labels: np.ndarray) -> None:
        self.image = image
        self.model.take(labels)

    def run(self) -> dict[str, float]:
        whole = seconds(self.model.eval, self.image)
        return {"maps": self.model.seconds, "labels": whole}


def _faster(net: CPSAM) -> str:
    """Leave the network in the type of weights that one block of it is faster in."""
    block = net.encoder.blocks[0]
    taken = {}
    for kind in (torch.float32, torch.bfloat16):
        block.to(kind)
        tokens = torch.rand(1, 32, 32, block.norm1.normalized_shape[0]).to(kind)
        with torch.no_grad():
            block(tokens)
            taken[kind] = seconds(block, tokens)
    best = min(taken, key=taken.get)
    block.to(torch.float32)
    net.dtype = best
    return str(best).removeprefix("torch.")
