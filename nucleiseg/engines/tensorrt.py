"""The model compiled by TensorRT, or by TensorRT for RTX, for an NVIDIA GPU."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from nucleiseg import _native
from nucleiseg.engines import cache, known_answer, tensorrt_library
from nucleiseg.engines.tensorrt_build import (
    BATCH,
    TILE,
    Recipe,
    compile_engine,
    covering,
    dotted,
)
from nucleiseg.model import Model

logger = logging.getLogger("nucleiseg")


@dataclass(frozen=True)
class Report:
    """What `build` did.

    Attributes
    ----------
    recipe : Recipe
    path : Path or None
        The file in the cache; None if the folder cannot be written.
    size : int
        Bytes of the engine.
    seconds : float or None
        Time to build it; None where it was there already.
    """

    recipe: Recipe
    path: Path | None
    size: int
    seconds: float | None

    def __str__(self) -> str:
        """Give a line for people."""
        recipe = self.recipe
        took = "was there" if self.seconds is None else f"built in {self.seconds:.1f} s"
        return (
            f"{recipe.model.name} {recipe.model.version}, compute capability "
            f"{recipe.target}, {tensorrt_library.title(recipe.library)}: "
            f"{self.size / 1e6:.1f} MB, {took}, {self.path or 'not kept'}"
        )


def build(
    model: Model,
    *,
    compute_capability: tuple[int, int] | None = None,
    tile: int = TILE,
    batch: int = BATCH,
    library: str | None = None,
    folder: Path | None = None,
) -> Report:
    """Build an engine into the cache, unless it is there; one for the current GPU is tried, too.

    Parameters
    ----------
    model : Model
    compute_capability : tuple of int, optional
        Of the GPU that it is for; that of the current one when left out. Others need TensorRT for
        RTX, which then needs no GPU, and whose engine for 8.0 runs on all later ones that it knows.
    tile, batch : int
        Largest side of a tile, and most tiles at once.
    library : {"tensorrt", "tensorrt_rtx"}, optional
        Whichever is installed when left out.
    folder : Path, optional
        The user's folder for engines when left out.

    Raises
    ------
    ImportError
        TensorRT is not installed; says how to install it.
    ModelError
        The model cannot be given to TensorRT.
    ValueError
        A tile, batch or compute capability that is not accepted.
    RuntimeError
        No GPU where one is needed, TensorRT's own reason, or a wrong answer.
    """
    kernels = getattr(_native, "cuda", None)
    recipe = _recipe(model, compute_capability, tile, batch, library, kernels)
    folder = cache.default_folder() if folder is None else folder
    seconds: list[float] = []
    plan = _plan(recipe, folder, seconds, kernels)
    path = folder / recipe.filename
    kept = path if _read(path, recipe.key) else None
    if kept and kernels and compute_capability is None:
        Engine(model, kernels, tile=tile, batch=batch, library=library, folder=folder)
    return Report(recipe, kept, len(plan), seconds[0] if seconds else None)


class Engine:
    """Run the network on bytes in a GPU's memory.

    Made for the current device, on which it is built if it is not in the cache: with TensorRT that
    takes minutes, once. A shape within the limits never needs another engine. It has given the
    known answer once it is made: see `nucleiseg.engines.known_answer`.

    Parameters
    ----------
    model : Model
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    tile, batch : int
        Largest side of a tile, and most tiles at once.
    library : {"tensorrt", "tensorrt_rtx"}, optional
        Whichever is installed when left out.
    folder : Path, optional
        Where engines are kept; the user's folder for them when left out.

    Attributes
    ----------
    largest_tile, largest_batch : int

    Raises
    ------
    ImportError, ModelError, ValueError, RuntimeError
        See `build`; its answer is wrong.
    """

    name = "TensorRT"

    def __init__(
        self,
        model: Model,
        kernels: ModuleType,
        *,
        tile: int = TILE,
        batch: int = BATCH,
        library: str | None = None,
        folder: Path | None = None,
    ) -> None:
        recipe = _recipe(model, None, tile, batch, library, kernels)
        folder = cache.default_folder() if folder is None else folder
        self.largest_tile, self.largest_batch = tile, batch
        self._stride = model.stride
        self._messages = tensorrt_library.messages(recipe.library)
        self._library = recipe.library
        plan = _plan(recipe, folder, [], kernels)
        with tensorrt_library.uninterrupted():
            self._runtime = self._messages.start(recipe.library.Runtime)
            self._engine = self._deserialized(plan, folder / recipe.filename)
            self._compiled = _compiled(recipe, self._engine, folder)
        if self._compiled is not None:
            weakref.finalize(self, _keep_compiled, self._compiled, recipe, folder)
        self._strategy = recipe.library.ExecutionContextAllocationStrategy.USER_MANAGED
        self._lanes: weakref.WeakKeyDictionary[Any, _Lane] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        logger.debug(
            "%s, from %s",
            tensorrt_library.title(recipe.library),
            folder / recipe.filename,
        )
        known_answer.check(model, self, kernels)

    def enqueue(self, tiles: Any, cells: Any, stream: Any, memory: Callable[[int], Any]) -> None:
        """Put the network into a stream. Does not wait.

        A call may be captured into a graph if the stream saw its shape before; then all later calls
        on this stream must have that shape. A stream has to be idle when it goes.

        Parameters
        ----------
        tiles : Buffer, (N, h, w, 3) uint8
            C-contiguous; h and w are multiples of the model's stride.
        cells : Buffer, (N, h / 2, w / 2, 8) uint8
            C-contiguous. Nucleus probability and centre distance, 0..255 for 0..1, of 2 x 2 pixels
            in raster order.
        stream : Stream
        memory : callable
            Gives a Buffer of so many bytes, for what comes between the layers.

        Raises
        ------
        ValueError
            Shapes or types beyond what the engine was built for.
        RuntimeError
            TensorRT's own reason, or not enough memory.
        """
        check_shapes(tiles, cells, self._stride, self.largest_tile, self.largest_batch)
        with self._lock:
            lane = self._lanes.get(stream)
            if lane is None:
                with tensorrt_library.uninterrupted():
                    lane = self._lanes[stream] = _Lane(self._context())
        lane.run(tiles, cells, stream, memory, self._messages)

    def _deserialized(self, plan: bytes, path: Path) -> Any:
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            # The file is whole and of this library: what is wrong is not cured by building again.
            raise RuntimeError(f"TensorRT: cannot load {path}: {self._messages.errors()}")
        return engine

    def _context(self) -> Any:
        if hasattr(self._engine, "create_runtime_config"):
            config = self._engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(self._strategy)
            if self._compiled is not None:
                config.set_runtime_cache(self._compiled)
                # A kernel that replaces another later would not do so in a captured graph.
                eager = self._library.DynamicShapesKernelSpecializationStrategy.EAGER
                config.dynamic_shapes_kernel_specialization_strategy = eager
            context = self._engine.create_execution_context(config)
        else:
            context = self._engine.create_execution_context(self._strategy)
        if context is None:
            raise RuntimeError(f"TensorRT: cannot prepare to run: {self._messages.errors()}")
        return context


def check_shapes(tiles: Any, cells: Any, stride: int, tile: int, batch: int) -> None:
    """Refuse arrays that an engine is not built for.

    Parameters
    ----------
    tiles, cells : array-like
        Anything with a shape, strides and a dtype.
    stride : int
        Of the model.
    tile, batch : int
        Limits of the engine.

    Raises
    ------
    ValueError
        Names the array, what came and what is accepted.
    """
    shape = tuple(tiles.shape)
    fits = (
        len(shape) == 4
        and 1 <= shape[0] <= batch
        and all(0 < side <= tile and side % stride == 0 for side in shape[1:3])
        and shape[3] == 3
    )
    if not fits:
        raise ValueError(
            f"tiles: got shape {shape}; accepted is (N, h, w, 3) with N up to {batch}, and h and w "
            f"multiples of {stride} up to {tile}"
        )
    expected = (shape[0], shape[1] // 2, shape[2] // 2, 8)
    if tuple(cells.shape) != expected:
        raise ValueError(f"cells: got shape {tuple(cells.shape)}; accepted is {expected}")
    for name, array in (("tiles", tiles), ("cells", cells)):
        _, height, width, depth = array.shape
        dense = (height * width * depth, width * depth, depth, 1)
        if array.dtype != "uint8" or tuple(array.strides) != dense:
            raise ValueError(
                f"{name}: got {array.dtype} with strides {tuple(array.strides)}; accepted is "
                f"uint8, C-contiguous: {dense}"
            )


class _Lane:
    """The state of a run, of which each stream needs its own."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._shape: tuple[int, ...] = ()
        self._size = 0

    def run(
        self,
        tiles: Any,
        cells: Any,
        stream: Any,
        memory: Callable[[int], Any],
        messages: tensorrt_library.Messages,
    ) -> None:
        ready = tiles.shape == self._shape or self._take(tiles.shape)
        ready = ready and self._context.set_tensor_address("tiles", tiles.ptr)
        ready = ready and self._context.set_tensor_address("cells", cells.ptr)
        if ready:
            block = memory(self._size)
            self._context.set_device_memory(block.ptr, block.nbytes)
        if not ready or not self._context.execute_async_v3(stream.handle):
            self._shape = ()
            raise RuntimeError(f"TensorRT: cannot run on {tiles.shape}: {messages.errors()}")

    def _take(self, shape: tuple[int, ...]) -> bool:
        """Find out what another shape needs."""
        if not self._context.set_input_shape("tiles", shape):
            return False
        self._size = max(1, self._context.update_device_memory_size_for_shapes())
        self._shape = shape
        return True


def _recipe(
    model: Model,
    compute_capability: tuple[int, int] | None,
    tile: int,
    batch: int,
    library: str | None,
    kernels: ModuleType | None,
) -> Recipe:
    found = tensorrt_library.find(library)
    gpu, is_for_one = "", found.__name__ == "tensorrt"
    if compute_capability is None or is_for_one:
        device = _device(kernels)
        current = device["compute_capability"]
        if compute_capability not in (None, current):
            raise ValueError(
                f"compute capability: got {dotted(compute_capability)}, but TensorRT builds for "
                f"the GPU that is there, {dotted(current)}; for others: "
                "pip install tensorrt-rtx-cu12"
            )
        compute_capability = current
        if is_for_one:
            gpu = f"{device['name']}, {device['multiprocessors']} multiprocessors"
    if not is_for_one:
        compute_capability = covering(found, compute_capability)
    return Recipe(model, found, compute_capability, tile, batch, gpu)


def _device(kernels: ModuleType | None) -> Any:
    """Describe the current GPU."""
    if kernels is None:
        raise RuntimeError(
            "TensorRT: this build of nucleiseg has no CUDA kernels; put nvcc on the path and run: "
            "pip install --force-reinstall ."
        )
    if not kernels.device_count():
        raise RuntimeError("TensorRT: no NVIDIA GPU is visible; see what nvidia-smi says")
    return kernels.devices()[kernels.current_device()]


def _plan(recipe: Recipe, folder: Path, seconds: list[float], kernels: ModuleType | None) -> bytes:
    """Give the engine as the library wrote it; the seconds it took, if it was built."""

    def make() -> bytes:
        path, key = _beside(recipe, folder, "timing")
        free = kernels.memory()[0] if recipe.gpu and kernels else 0
        built = compile_engine(recipe, _read(path, key), free)
        if built.timing:
            _write(path, key, built.timing)
        seconds.append(built.seconds)
        return built.plan

    return cache.get(folder / recipe.filename, recipe.key, make)


def _compiled(recipe: Recipe, engine: Any, folder: Path) -> Any:
    """Give TensorRT for RTX the kernels that it compiled in earlier runs; None for TensorRT."""
    if not hasattr(recipe.library, "IRuntimeCache"):
        return None
    kernels = engine.create_runtime_config().create_runtime_cache()
    kept = _read(*_beside(recipe, folder, "kernels"))
    if kept and not kernels.deserialize(kept):
        logger.info("%s compiles its kernels again", tensorrt_library.title(recipe.library))
    return kernels


def _keep_compiled(kernels: Any, recipe: Recipe, folder: Path) -> None:
    path, key = _beside(recipe, folder, "kernels")
    content = bytes(kernels.serialize())
    if content != _read(path, key):
        _write(path, key, content)


def _beside(recipe: Recipe, folder: Path, kind: str) -> tuple[Path, dict[str, str]]:
    """Give the place and the key of what is kept beside an engine."""
    return folder / f"{recipe.filename}.{kind}", {**recipe.key, "kind": kind}


def _read(path: Path, key: dict[str, str]) -> bytes:
    try:
        return cache.read(path, key) or b""
    except cache.UnfitError as reason:
        logger.info("%s is not used: %s", path, reason)
        return b""


def _write(path: Path, key: dict[str, str], content: bytes) -> None:
    """Keep what only saves time, where that is possible."""
    try:
        cache.write(path, key, content)
    except OSError as error:
        logger.info("cannot write %s (%s)", path, error.strerror or error)
