"""The network run by TensorRT, or by TensorRT for RTX, on an NVIDIA GPU.

`build` compiles the shipped ONNX file as it is and keeps the engine in the user's cache. `Engine`
loads it, compares its answer on one tile with the integer network's on the CPU, and enqueues it.
"""

from __future__ import annotations

import importlib
import logging
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.progress import TextColumn

from nucleiseg import _native, console, interrupts, tensorrt_cache
from nucleiseg.engines import known_answer, native
from nucleiseg.model import Model, ModelError
from nucleiseg.tensorrt_cache import (
    BATCH,
    LIBRARIES,
    PORTABLE,
    Built,
    Recipe,
    covering,
    dotted,
    title,
)

logger = logging.getLogger("nucleiseg")

USUAL = 1024
"""Side of the single tile for which the builder optimises: about a camera's frame."""

WORKSPACE_SHARE = 4
"""A layer's workspace is at most this fraction of the free GPU memory, which on a Jetson is all of
the machine's."""

_LINES = 20_000  # kept of the log, of which a build writes about 3,000
_building = threading.Lock()


class Messages:
    """The messages of a library, whose builder keeps the first logger of a process."""

    def __init__(self, library: ModuleType) -> None:
        lines: deque[tuple[str, str]] = deque(maxlen=_LINES)

        class Collector(library.ILogger):  # type: ignore[misc, name-defined]
            def log(self, severity: Any, message: str) -> None:
                lines.append((severity.name, message.strip()))

        self.lines, self.logger = lines, Collector()

    def start(self, kind: type[Any]) -> Any:
        """Return a new builder or runtime; RuntimeError with the library's own reason."""
        try:
            return kind(self.logger)
        except TypeError as error:  # the bindings got a null pointer
            raise RuntimeError(f"TensorRT: cannot start: {self.errors()}") from error

    def errors(self) -> str:
        """Return the last errors in one line."""
        return "; ".join(self.logged("INTERNAL_ERROR", "ERROR")[-3:]) or "no reason was given"

    def logged(self, *severities: str) -> list[str]:
        """Return each different message of these severities once."""
        return list(dict.fromkeys(line for kind, line in self.lines if kind in severities))


def find(name: str | None = None) -> ModuleType:
    """Import a library, any one if no name is given; ImportError with what to install."""
    reasons = []
    for candidate in LIBRARIES if name is None else [name]:
        try:
            return importlib.import_module(candidate)
        except (ImportError, OSError) as error:
            if not isinstance(error, ModuleNotFoundError) or error.name != candidate:
                reasons.append(f"{candidate} does not load ({error})")
    found = "; ".join(reasons) or f"{name or ' or '.join(LIBRARIES)} is not installed"
    raise ImportError(
        f"TensorRT: {found}; for a GeForce or RTX GPU, and to build engines without one: "
        "pip install tensorrt-rtx-cu12; for other NVIDIA GPUs: pip install tensorrt; "
        "a Jetson gets it with JetPack"
    )


messages = lru_cache(Messages)
"""Return the `Messages` of a library, of which there is one instance per process."""


def build(
    model: Model,
    kernels: ModuleType | None = None,
    *,
    compute_capability: tuple[int, int] | None = None,
    library: str | None = None,
    folder: Path | None = None,
) -> Built:
    """Return an engine from the cache, built first if it is missing.

    Parameters
    ----------
    model : Model
    kernels : module, optional
        ``_native.cuda`` or ``_native.emulated``; the first by default.
    compute_capability : tuple of int, optional
        The current GPU's by default. TensorRT for RTX builds for others, and without a GPU.
    library : {"tensorrt", "tensorrt_rtx"}, optional
        Whichever is installed by default.
    folder : Path, optional
        The user's folder for engines by default.

    Raises
    ------
    ImportError
        TensorRT is not installed; with how to install it.
    ModelError
        Another network than the int8 U-Net of `training.export`, or one that TensorRT refuses.
    ValueError
        A compute capability that is not accepted.
    RuntimeError
        No GPU where one is needed, or the library's own reason.
    """
    kernels = kernels or getattr(_native, "cuda", None)
    recipe = _recipe(model, find(library), compute_capability, kernels)
    path, seconds = (folder or tensorrt_cache.default_folder()) / recipe.filename, None

    def make() -> bytes:
        nonlocal seconds
        start = time.perf_counter()
        plan = compile_engine(recipe, kernels.memory()[0] if recipe.gpu and kernels else 0)
        seconds = time.perf_counter() - start
        return plan

    plan, is_kept = tensorrt_cache.load_or_make(path, recipe.key, make)
    return Built(recipe, plan, path if is_kept else None, seconds)


def _recipe(
    model: Model,
    library: ModuleType,
    compute_capability: tuple[int, int] | None,
    kernels: ModuleType | None,
) -> Recipe:
    if library.__name__ == "tensorrt_rtx":
        wanted = compute_capability or _device(kernels)["compute_capability"]
        return Recipe(model, library, covering(library, wanted))
    device = _device(kernels)
    current = device["compute_capability"]
    if compute_capability not in (None, current):
        raise ValueError(
            f"compute capability: got {dotted(compute_capability)}, but TensorRT builds for the "
            f"GPU of this machine, {dotted(current)}; for others: pip install tensorrt-rtx-cu12"
        )
    gpu = f"{device['name']}, {device['multiprocessors']} multiprocessors"
    return Recipe(model, library, current, gpu)


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


def compile_engine(recipe: Recipe, free: int = 0) -> bytes:
    """Return a new serialised engine; ``free`` is the GPU's free memory in bytes, if known.

    Warnings are logged, as the known answer decides whether they matter. Errors: see `build`.
    """
    native.add_layers(recipe.model, _native.cpu.Network())  # which refuses other networks
    said = messages(recipe.library)
    with _building, _uninterrupted() as interrupted:
        plan = _compile(recipe, free, interrupted)
    if plan is None:
        raise RuntimeError(f"TensorRT: cannot build the engine: {said.errors()}")
    for warning in said.logged("WARNING"):
        logger.warning("%s: %s", LIBRARIES[recipe.library.__name__], warning)
    return plan


def _compile(recipe: Recipe, free: int, interrupted: threading.Event) -> bytes | None:
    """Build; every other object of the library is destroyed on return."""
    library, said = recipe.library, messages(recipe.library)
    builder = said.start(library.Builder)
    said.lines.clear()  # of what is not about this network, such as an earlier logger
    network = _parse(recipe, builder, recipe.model.path.read_bytes())
    config = _config(recipe, builder, free)
    words = "builds the engine for compute capability %s with %s, once"
    logger.info(words, recipe.target, title(library))
    with console.bar(TextColumn("{task.description}", markup=False)) as bar:
        monitor = _monitor(library, bar, interrupted)  # kept alive by this variable alone
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
    return None if plan is None else bytes(plan)


def _parse(recipe: Recipe, builder: Any, graph: bytes) -> Any:
    library = recipe.library
    flag = library.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(flag))
    parser = library.OnnxParser(network, messages(library).logger)
    if not parser.parse(graph):
        errors = map(parser.get_error, range(parser.num_errors))
        found = "; ".join(f"{e.node_operator()} {e.node_name()}: {e.desc()}" for e in errors)
        raise ModelError(f"model: TensorRT cannot take {recipe.model.path}: {found}")
    return network


def _config(recipe: Recipe, builder: Any, free: int) -> Any:
    library, config = recipe.library, builder.create_builder_config()
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    config.clear_flag(library.BuilderFlag.TF32)
    config.max_aux_streams = 0  # images run in parallel; the layers of one need not
    if free:
        config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, free // WORKSPACE_SHARE)
    if hasattr(library.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # Otherwise TensorRT for RTX may allocate in a stream that is being captured.
        config.set_flag(library.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if hasattr(config, "set_compute_capability") and recipe.compute_capability != PORTABLE:
        name = "SM{}{}".format(*recipe.compute_capability)
        config.num_compute_capabilities = 1
        config.set_compute_capability(library.ComputeCapability.__members__[name], 0)
    profile = builder.create_optimization_profile()
    sides = ((1, recipe.model.stride), (1, USUAL), (BATCH, recipe.tile))
    profile.set_shape("tiles", *[(count, side, side, 3) for count, side in sides])
    if config.add_optimization_profile(profile) < 0:
        reason = messages(library).errors()
        raise RuntimeError(f"TensorRT: refuses the range of shapes: {reason}")
    return config


def _monitor(library: ModuleType, bar: Any, interrupted: threading.Event) -> Any:
    """Show the builder's phases, and end the build when interrupted."""
    tasks: dict[str, Any] = {}

    # Called from C++ code, through which no exception may pass.
    class Monitor(library.IProgressMonitor):  # type: ignore[misc, name-defined]
        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            with suppress(Exception):
                tasks[phase] = bar.add_task(phase, total=steps)

        def step_complete(self, phase: str, step: int) -> bool:
            with suppress(Exception):
                bar.update(tasks[phase], completed=step + 1)
            return not interrupted.is_set()

        def phase_finish(self, phase: str) -> None:
            with suppress(Exception):
                bar.remove_task(tasks.pop(phase))

    return Monitor()


@contextmanager
def _uninterrupted() -> Iterator[threading.Event]:
    """Postpone interruptions while the library is at work, and raise KeyboardInterrupt afterwards.

    The library calls its logger from C++ code, where a KeyboardInterrupt would abort the process.
    The event is set once there was one. Handlers of the program's own are left alone.
    """
    noted, handlers = threading.Event(), {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    ours = (signal.default_int_handler, interrupts.once)
    held = {number: handler for number, handler in handlers.items() if handler in ours}
    for number in held:
        signal.signal(number, lambda *_: noted.set())
    try:
        yield noted
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        if noted.is_set():
            next(iter(held.values()))(signal.SIGINT, None)


class Engine:
    """The network on tiles in GPU memory, verified by the known answer when it is created.

    Belongs to the current device. An engine that is not in the cache is built: with TensorRT that
    takes minutes, once. No shape within the limits needs another engine.

    Parameters
    ----------
    model, kernels, library, folder
        See `build`, also for the errors.

    Attributes
    ----------
    built : Built
    largest_tile, largest_batch : int
    """

    name = "TensorRT"
    largest_batch = BATCH

    def __init__(
        self,
        model: Model,
        kernels: ModuleType | None = None,
        *,
        library: str | None = None,
        folder: Path | None = None,
    ) -> None:
        folder = folder or tensorrt_cache.default_folder()
        self.built = build(model, kernels, library=library, folder=folder)
        recipe, path = self.built.recipe, folder / self.built.recipe.filename
        self.largest_tile, self._stride = recipe.tile, model.stride
        self._library, self._messages = recipe.library, messages(recipe.library)
        self._lock = threading.Lock()
        self._contexts: dict[int, _Prepared] = {}  # one per stream
        with _uninterrupted():
            self._runtime = self._messages.start(self._library.Runtime)
            self._engine = self._runtime.deserialize_cuda_engine(self.built.plan)
            if self._engine is None:  # the file is intact, so building again would not help
                raise RuntimeError(f"TensorRT: cannot load {path}: {self._messages.errors()}")
            self._kernels = self._compiled_kernels(recipe, path.with_name(f"{path.name}.kernels"))
        logger.debug("%s, from %s", title(self._library), path)
        known_answer.check(model, self, kernels or _native.cuda)
        self._contexts.clear()  # of a stream that is gone

    def enqueue(
        self,
        tiles: int,
        cells: int,
        shape: tuple[int, int, int],
        stream: int,
        memory: Callable[[int], int],
    ) -> None:
        """Put the network into a stream, without waiting: see `nucleiseg.engines.cuda.Engine`.

        Each stream has its own state, which a later stream of the same handle takes over.

        Raises
        ------
        ValueError
            Shapes that the engine is not built for.
        RuntimeError
            TensorRT's own reason, or not enough memory.
        """
        check_shape(shape, self._stride, self.largest_tile)
        with self._lock:
            prepared = self._contexts.get(stream)
            if prepared is None:
                with _uninterrupted():
                    prepared = self._contexts[stream] = _Prepared(self._context())
        context, is_ready = prepared.context, True
        if shape != prepared.shape:
            is_ready = context.set_input_shape("tiles", (*shape, 3))
            if is_ready:
                prepared.size = max(1, context.update_device_memory_size_for_shapes())
        prepared.shape = ()
        pairs = (("tiles", tiles), ("cells", cells))
        if is_ready and all(context.set_tensor_address(*pair) for pair in pairs):
            context.set_device_memory(memory(prepared.size), prepared.size)
            if context.execute_async_v3(stream):
                prepared.shape = shape
        if not prepared.shape:
            raise RuntimeError(f"TensorRT: cannot run on {shape}: {self._messages.errors()}")

    def _compiled_kernels(self, recipe: Recipe, path: Path) -> Any:
        """Return the cache of kernels that TensorRT for RTX compiles at run time, else None."""
        if not hasattr(self._library, "IRuntimeCache"):
            return None
        key = {**recipe.key, "kind": "kernels"}
        kernels = self._engine.create_runtime_config().create_runtime_cache()
        kept = tensorrt_cache.load(path, key)
        if kept and not kernels.deserialize(kept):
            logger.info("%s compiles its kernels again", title(self._library))

        def keep() -> None:
            content = bytes(kernels.serialize())
            if content != kept:
                tensorrt_cache.store(path, key, content)

        weakref.finalize(self, keep)  # once it holds what this run compiled
        return kernels

    def _context(self) -> Any:
        strategy = self._library.ExecutionContextAllocationStrategy.USER_MANAGED
        config = strategy
        if self._kernels is not None:
            config = self._engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            config.set_runtime_cache(self._kernels)
            # A graph would keep the generic kernels that lazily compiled ones replace later.
            eager = self._library.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        context = self._engine.create_execution_context(config)
        if context is None:
            raise RuntimeError(f"TensorRT: cannot prepare to run: {self._messages.errors()}")
        return context


@dataclass
class _Prepared:
    """The execution context of one stream, its shape, and the bytes of memory that this needs."""

    context: Any
    shape: tuple[int, ...] = ()
    size: int = 0


def check_shape(shape: tuple[int, int, int], stride: int, largest: int) -> None:
    """Raise ValueError for tiles, (N, h, w), that an engine does not take."""
    if not 1 <= shape[0] <= BATCH or any(not 0 < x <= largest or x % stride for x in shape[1:]):
        raise ValueError(
            f"tiles: got shape {(*shape, 3)}; accepted is (N, h, w, 3) with N up to {BATCH}, and h "
            f"and w multiples of {stride} up to {largest}"
        )
