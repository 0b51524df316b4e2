"""The model run by the package's own integer kernels on a GPU: `_native.cuda.Network`."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from nucleiseg.engines import native
from nucleiseg.model import Model, ModelError

TILE = 2048
"""Largest side of a tile: above it nothing gets faster."""

BATCH = 4
"""Most tiles at once."""


class Engine:
    """Run the network on bytes in a GPU's memory, with the bytes of the CPU's kernels.

    Made for the current device. Nothing is built or kept: it starts in the time that its weights
    need to get there, and takes any shape.

    Parameters
    ----------
    model : Model
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    level : str
        One of ``kernels.convolution_levels()``; the best when empty.

    Attributes
    ----------
    largest_tile, largest_batch : int

    Raises
    ------
    ModelError
        The file holds another network than the int8 U-Net of `training.export`.
    """

    largest_tile, largest_batch = TILE, BATCH

    def __init__(self, model: Model, kernels: ModuleType, level: str = "") -> None:
        self.network = kernels.Network(level)
        native.add_layers(model, self.network)
        if model.stride % self.network.stride:
            raise ModelError(
                f"model: {model.path} takes sides that are multiples of {self.network.stride} "
                f"pixels, its description says {model.stride}"
            )

    @property
    def name(self) -> str:
        """Return the name of what runs the network."""
        return f"its own int8 kernels ({self.network.level})"

    def enqueue(
        self,
        tiles: int,
        cells: int,
        shape: tuple[int, int, int],
        stream: int,
        memory: Callable[[int], int],
    ) -> None:
        """Put the network into a stream. Does not wait.

        Parameters
        ----------
        tiles : int
            The address of (N, h, w, 3) uint8; h and w are multiples of the model's stride.
        cells : int
            The address of (N, h / 2, w / 2, 8) uint8. Nucleus probability and centre distance,
            0..255 for 0..1, of 2 x 2 pixels in raster order.
        shape : tuple of int
            N, h, w.
        stream : int
            A ``cudaStream_t``. It may be captured into a graph, after one call with the same shape
            that was not; its later calls have that shape until the graph is gone.
        memory : callable
            Returns the address of so many bytes, for what comes between the layers. Streams that
            wait for each other may be given the same.

        Raises
        ------
        ValueError
            Shapes beyond these.
        """
        self.network.enqueue(tiles, cells, shape, stream, memory)
