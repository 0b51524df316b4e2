"""Building a TensorRT engine."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from nucleiseg._native import cpu
from nucleiseg.engines import native, tensorrt_library
from nucleiseg.model import Model, ModelError

logger = logging.getLogger("nucleiseg")

TILE = 2048
"""Largest side of a tile in pixels. What memory is needed goes by the tiles that come, not by this:
about 32 bytes a pixel, so 540 MB for the largest of the default batches."""

BATCH = 4
"""Most tiles at once."""

USUAL = 1024
"""Side of the one tile that kernels are chosen for, where the library chooses them when it builds:
a camera's picture."""

WORKSPACE_SHARE = 4
"""Of the GPU's free memory, a layer's workspace is this fraction at most: on a Jetson it is the
whole machine's."""

GRAPH = "3"
"""Changes whenever other engines come out of the same model and settings."""

PORTABLE = (8, 0)
"""TensorRT for RTX builds one engine for this compute capability and all later ones that it knows;
earlier ones need an engine of their own."""

_building = threading.Lock()


@dataclass(frozen=True)
class Recipe:
    """All that an engine depends on.

    Attributes
    ----------
    model : Model
    library : module
        ``tensorrt`` or ``tensorrt_rtx``.
    compute_capability : tuple of int
        Of the GPU that it is for, as in (8, 6); `PORTABLE` stands for the later ones too with
        TensorRT for RTX.
    tile : int
        Largest side of a tile, a multiple of the model's stride.
    batch : int
        Most tiles at once.
    gpu : str
        Its name and multiprocessors, as an engine of TensorRT is for one kind of device; empty for
        TensorRT for RTX, whose engines run on every GPU of their compute capability.
    """

    model: Model
    library: ModuleType
    compute_capability: tuple[int, int]
    tile: int = TILE
    batch: int = BATCH
    gpu: str = ""

    def __post_init__(self) -> None:
        """Refuse what no engine can be built of."""
        if self.tile < self.model.stride or self.tile % self.model.stride:
            raise ValueError(
                f"tile: got {self.tile}; accepted are multiples of {self.model.stride}"
            )
        if self.batch < 1:
            raise ValueError(f"batch: got {self.batch}; accepted is 1 or more")

    @property
    def target(self) -> str:
        """The compute capability in words."""
        is_portable = not self.gpu and self.compute_capability == PORTABLE
        return dotted(self.compute_capability) + (" and later" if is_portable else "")

    @property
    def key(self) -> dict[str, str]:
        """Every dependence, as text."""
        return {
            "model": " ".join(self.model.identity.values()),
            "library": self.library.__name__,
            "library version": str(self.library.__version__),
            "system": f"{platform.system()} {platform.machine()}",
            "compute capability": self.target,
            "GPU": self.gpu,
            "tile": str(self.tile),
            "batch": str(self.batch),
            "graph": GRAPH,
        }

    @property
    def filename(self) -> str:
        """A name that stays when the library or this package changes, so that old files go."""
        major, minor = self.compute_capability
        lasting = {name: self.key[name] for name in ("model", "system", "GPU", "tile", "batch")}
        short = hashlib.sha256(json.dumps(lasting).encode()).hexdigest()[:12]
        library = self.library.__name__
        return f"{self.model.path.stem}-sm{major}{minor}-{short}.{library}"


@dataclass(frozen=True)
class Built:
    """An engine, as the library writes it, and how it came about.

    Attributes
    ----------
    plan : bytes
    timing : bytes
        What is worth knowing for the next build: a timing cache. Empty where there is none.
    seconds : float
    log : list of str
        All that the library said, the layers of the engine with their types among it.
    """

    plan: bytes
    timing: bytes
    seconds: float
    log: list[str]


def dotted(compute_capability: tuple[int, int]) -> str:
    """Write a compute capability as people do: "8.6"."""
    return ".".join(map(str, compute_capability))


def covering(library: ModuleType, compute_capability: tuple[int, int]) -> tuple[int, int]:
    """Return the compute capability of the engine of TensorRT for RTX that runs on a GPU.

    Parameters
    ----------
    library : module
        ``tensorrt_rtx``.
    compute_capability : tuple of int
        Of the GPU.

    Raises
    ------
    ValueError
        The library does not know such GPUs.
    """
    names = [each for each in library.ComputeCapability.__members__ if each.startswith("SM")]
    known = sorted(divmod(int(each.removeprefix("SM")), 10) for each in names)
    if compute_capability not in known:
        raise ValueError(
            f"compute capability: got {dotted(compute_capability)}; "
            f"{tensorrt_library.title(library)} builds for {', '.join(map(dotted, known))}; "
            "for other GPUs: pip install tensorrt"
        )
    return min(compute_capability, PORTABLE)


def compile_engine(recipe: Recipe, timing: bytes = b"", free: int = 0) -> Built:
    """Build an engine; the bar on stderr shows how far it is, if that is a terminal.

    TensorRT builds for the current GPU, on it. TensorRT for RTX needs none.

    Parameters
    ----------
    recipe : Recipe
    timing : bytes
        What an earlier build of the same library for the same GPU left.
    free : int
        Free bytes of the GPU, of which building may use a quarter at once; 0 where there is none.

    Raises
    ------
    ModelError
        The file holds another network than the int8 U-Net of `training.export`, or TensorRT does
        not take it. What it warns of is logged.
    RuntimeError
        The library cannot build it; with its own reason.
    KeyboardInterrupt
        Interrupted; the library has been told to stop.
    """
    start = time.perf_counter()
    native.add_layers(recipe.model, cpu.Network())
    graph = recipe.model.path.read_bytes()
    messages = tensorrt_library.messages(recipe.library)
    with _building, tensorrt_library.uninterrupted() as interrupted:
        plan, kept = _built(recipe, graph, timing, free, interrupted)
    if plan is None:
        raise RuntimeError(f"TensorRT: cannot build the engine: {messages.errors()}")
    for warning in messages.warnings():
        logger.warning("%s: %s", tensorrt_library.NAMES[recipe.library.__name__], warning)
    return Built(plan, kept, time.perf_counter() - start, messages.lines())


def _built(
    recipe: Recipe, graph: bytes, timing: bytes, free: int, interrupted: threading.Event
) -> tuple[bytes | None, bytes]:
    """Give the engine, or None, and the timing cache; all else of the library is gone after it."""
    messages = tensorrt_library.messages(recipe.library)
    builder = messages.start(recipe.library.Builder)
    # What counts is what it says of the network; before, it may say that it has another logger.
    messages.forget()
    network = _parsed(recipe, builder, graph)
    config = _config(recipe, builder, timing, free)
    logger.info(
        "builds the engine for compute capability %s with %s, once",
        recipe.target,
        tensorrt_library.title(recipe.library),
    )
    with _bar() as bar:
        monitor = _monitor(recipe.library, bar, interrupted)
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
    return (None, b"") if plan is None else (bytes(plan), _timing(recipe, config))


def _parsed(recipe: Recipe, builder: Any, graph: bytes) -> Any:
    library, messages = recipe.library, tensorrt_library.messages(recipe.library)
    strongly_typed = 1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly_typed)
    parser = library.OnnxParser(network, messages.logger)
    if not parser.parse(graph):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        found = "; ".join(
            f"{error.node_operator()} {error.node_name()}: {error.desc()}" for error in errors
        )
        raise ModelError(f"model: TensorRT cannot take {recipe.model.path}: {found}")
    return network


def _config(recipe: Recipe, builder: Any, timing: bytes, free: int) -> Any:
    library, config = recipe.library, builder.create_builder_config()
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    config.clear_flag(library.BuilderFlag.TF32)
    config.max_aux_streams = 0  # images run beside each other; their layers need not
    if free:
        config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, free // WORKSPACE_SHARE)
    if hasattr(library.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # Without, TensorRT for RTX may allocate in a stream that is being captured.
        config.set_flag(library.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if hasattr(config, "set_compute_capability"):
        if recipe.compute_capability != PORTABLE:  # which is the default
            major, minor = recipe.compute_capability
            config.num_compute_capabilities = 1
            config.set_compute_capability(
                library.ComputeCapability.__members__[f"SM{major}{minor}"], 0
            )
    else:
        config.set_timing_cache(config.create_timing_cache(timing), False)
    profile = builder.create_optimization_profile()
    usual = min(USUAL, recipe.tile)
    sides = ((1, recipe.model.stride), (1, usual), (recipe.batch, recipe.tile))
    profile.set_shape("tiles", *[(count, side, side, 3) for count, side in sides])
    if config.add_optimization_profile(profile) < 0:
        words = tensorrt_library.messages(library).errors()
        raise RuntimeError(f"TensorRT: refuses the range of shapes: {words}")
    return config


def _timing(recipe: Recipe, config: Any) -> bytes:
    if hasattr(config, "set_compute_capability"):
        return b""
    cache = config.get_timing_cache()
    return bytes(cache.serialize()) if cache else b""


@contextmanager
def _bar() -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield progress


def _monitor(library: ModuleType, bar: Any, interrupted: threading.Event) -> Any:
    """Show the builder's phases, and end the build once it is interrupted."""
    tasks: dict[str, Any] = {}

    # The builder calls it from C++ code that no exception may cross.
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
