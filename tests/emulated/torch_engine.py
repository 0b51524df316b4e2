"""The network on a real GPU without TensorRT, for tests of the driver: PyTorch's convolutions.

Double precision adds up whole numbers exactly, so the bytes are those of the CPU's kernels.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from nucleiseg import Model
from nucleiseg.engines import native

LIMIT = 1015
"""``kLogitLimit`` in csrc/kernels/network.h: beyond it are 0 and 255."""

Tensors = list[torch.Tensor]


class Network:
    """Takes layers as `nucleiseg._native.cpu.Network` does.

    Each layer is a function of all tensors so far, (N, C, H, W) float64 of whole numbers.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.layers: list[Callable[[Tensors], torch.Tensor]] = []
        logits = np.arange(-LIMIT, LIMIT + 1) / native.LOGIT_STEPS
        levels = np.rint(255 / (1 + np.exp(-logits))).astype(np.uint8)
        self.probabilities = torch.from_numpy(levels).to(device)

    def stem(self, kernel: np.ndarray, factors: np.ndarray, offsets: np.ndarray) -> int:
        weights, level = self._on(kernel), self._level(factors, offsets, 0, 127)

        def run(tensors: Tensors) -> torch.Tensor:
            padded = functional.pad(tensors[-1], (0, 1, 0, 1))
            return level(functional.conv2d(padded, weights, stride=2))

        return self._add(run)

    def convolution(
        self,
        sources: list[int],
        kernels: list[np.ndarray],
        factors: np.ndarray,
        offsets: np.ndarray,
    ) -> int:
        weights, level = list(map(self._on, kernels)), self._level(factors, offsets, 0, 127)

        def run(tensors: Tensors) -> torch.Tensor:
            sums = [
                functional.conv2d(tensors[source], kernel, padding=1)
                for source, kernel in zip(sources, weights, strict=True)
            ]
            return level(sum(sums[1:], sums[0]))

        return self._add(run)

    def grow(
        self, source: int, kernel: np.ndarray, factors: np.ndarray, offsets: np.ndarray
    ) -> int:
        weights, level = self._on(kernel), self._level(factors, offsets, -128, 127)
        return self._add(
            lambda tensors: level(functional.conv_transpose2d(tensors[source], weights, stride=2))
        )

    def pool(self, source: int) -> int:
        return self._add(lambda tensors: functional.max_pool2d(tensors[source], 2))

    def cells(
        self, source: int, kernel: np.ndarray, factors: np.ndarray, offsets: np.ndarray
    ) -> None:
        weights, level = self._on(kernel), self._level(factors, offsets, -LIMIT, LIMIT)

        def run(tensors: Tensors) -> torch.Tensor:
            logits = level(functional.conv2d(tensors[source], weights, padding=1))
            return self.probabilities[logits.long() + LIMIT]

        self._add(run)

    def run(self, tiles: torch.Tensor) -> torch.Tensor:
        """Give (N, h / 2, w / 2, 8) uint8 of (N, h, w, 3) uint8."""
        image = tiles.permute(0, 3, 1, 2).double()
        tensors: Tensors = []
        for layer in self.layers:
            tensors.append(layer(tensors or [image]))
        return tensors[-1].permute(0, 2, 3, 1)

    def _add(self, layer: Callable[[Tensors], torch.Tensor]) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1

    def _on(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(array, np.float64)).to(self.device)

    def _level(
        self, factors: np.ndarray, offsets: np.ndarray, low: int, high: int
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Give ``level`` of csrc/kernels/network.h, whose fused operation rounds once."""
        factor, offset = (self._on(values).reshape(1, -1, 1, 1) for values in (factors, offsets))

        def run(sums: torch.Tensor) -> torch.Tensor:
            scaled = (sums.float().double() * factor + offset).float()
            return scaled.round().clamp(low, high).double()

        return run


class TorchEngine:
    """An engine as `nucleiseg.backends.cuda.Engine` describes it."""

    layout, dtype, scale = "NHWC", "uint8", 1.0

    def __init__(self, model: Model, largest_tile: int = 2048, largest_batch: int = 4) -> None:
        self.largest_tile, self.largest_batch = largest_tile, largest_batch
        self._network = Network("cuda")
        native.add_layers(model, self._network)

    def enqueue(self, tiles: object, cells: object, stream: object) -> None:
        """PyTorch keeps the memory between the layers with the stream, as a graph needs it."""
        with torch.no_grad(), torch.cuda.stream(torch.cuda.ExternalStream(stream.handle)):
            found = self._network.run(torch.as_tensor(View(tiles), device="cuda"))
            torch.as_tensor(View(cells), device="cuda").copy_(found)


class View:
    """A Buffer as PyTorch takes it without waiting for the stream of its maker."""

    def __init__(self, buffer: object) -> None:
        self.kept = buffer
        self.__cuda_array_interface__ = {**buffer.__cuda_array_interface__, "stream": None}
