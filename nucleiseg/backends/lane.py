"""The steps of one image on a GPU: streams, memory that is used again, and recorded graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nucleiseg._native import cpu
from nucleiseg.backends import arrays, devices
from nucleiseg.backends.memory import Memory
from nucleiseg.backends.replays import Replay, Replays
from nucleiseg.limits import Limits
from nucleiseg.model import Model

logger = logging.getLogger("nucleiseg")

# What the host reads once and kernels write once, in memory that both use where they share it. On
# Tegra the GPU does not cache such memory: maps and labels, which kernels read and write again and
# again, are copied once instead.
_SHARED = frozenset({"mask", "limits"})


@dataclass(frozen=True)
class Device:
    """What the lanes of a GPU share.

    Attributes
    ----------
    kernels : module
        ``_native.cuda`` or ``_native.emulated``.
    model : Model
    engine : Engine
        See `nucleiseg.backends.cuda.Engine`.
    gpu : nucleiseg.backends.devices.Device
    pool : MemoryPool
        Of results that stay on the GPU.
    host_pool : PinnedMemoryPool
        Of results that go to the host.
    threads : int
        Processor threads that copy an image.
    """

    kernels: ModuleType
    model: Model
    engine: Any
    gpu: devices.Device
    pool: Any
    host_pool: Any
    threads: int


class Lane:
    """What one image needs on a GPU, for one image after the other.

    Kernels and the network are given to one stream and copies to another, so that those of this
    image overlap the other lanes'. Nothing waits but `host`, `known` and `finish`.

    Parameters
    ----------
    device : Device
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._kernels = device.kernels
        self._memory = Memory(device.kernels, device.gpu.integrated)
        self._replays = Replays()
        self._copies = device.kernels.Stream()
        self._compute = device.kernels.Stream()
        self._event = device.kernels.Event()
        self._last = self._compute  # the stream that all work so far is in, or is waited for by
        self._work = self._compute  # the stream that kernels go to
        self._tile_shapes: set[tuple[int, ...]] = set()
        self._to_host = True
        self._forget_image()

    def _forget_image(self) -> None:
        self._image: Any = None
        self._source: NDArray[Any] | None = None
        self._limits: Limits | None = None
        self._staged: set[str] = set()
        self._given: list[Any] = []  # memory of results that may still be written

    @contextmanager
    def image(self, to_host: bool) -> Iterator[None]:
        """Take one image through; nothing of it is under way afterwards, whatever happens."""
        self._to_host = to_host
        try:
            yield
        finally:
            self.synchronize()
            self._forget_image()

    def synchronize(self) -> None:
        """Wait for all that was given to the device, which only who measures steps needs."""
        self._last.synchronize()

    def array(self, value: Any, name: str) -> Any:
        """Upload an array, or take one on the device as it is."""
        if arrays.is_on_gpu(value, name):
            self._image = self._kernels.as_buffer(value, name, stream=self._on(self._work))
            arrays.check(self._image, name)
        else:
            self._source = arrays.on_host(value, name)
            self._image = self._uploaded(self._source, "image")
        return self._image

    def host(self, *values: Any) -> list[NDArray[Any]]:
        """Download arrays, to be read until the next step; the image's own, until its end."""
        names = (
            "source" if value is self._image else f"host {i}" for i, value in enumerate(values)
        )
        found = [self._downloaded(*each) for each in zip(values, names, strict=True)]
        self._last.synchronize()
        return found

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Return memory, that of the last array of this name where it is large enough."""
        if name in _SHARED and self._device.gpu.integrated:
            return self._memory.pinned(name, shape, dtype).device()
        return self._memory.device(name, shape, dtype)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Return memory filled with 0."""
        return self._kernels.fill(self.empty(name, shape, dtype), 0, stream=self._on(self._work))

    def limits(self, image: Any) -> Any:
        """Find the two intensities that become 0 and 255; `known` tells them."""
        self._limits = None
        stream = self._on(self._work)
        low, high = self._device.model.percentiles
        search = self.empty("search", (self._kernels.limits_workspace(),), np.uint8)
        limits = self.empty("limits", (6,), np.float64)
        return self._kernels.limits(image, low, high, stream=stream, workspace=search, out=limits)

    def given(self, limits: Limits) -> Any:
        """Bring limits that are known to where kernels read them."""
        there = self._uploaded(np.array([*limits, 0, 0], np.float64), "given limits")
        self._limits = limits
        return there

    def known(self, limits: Any) -> Limits:
        """Wait for the limits; ValueError if the image has values that are not finite."""
        if self._limits is None:
            self._learn(self.host(limits)[0])
        assert self._limits is not None
        return self._limits

    def is_blank(self, limits: Any) -> bool:
        """Return whether nothing in the image is known to stand out from its noise."""
        return self._limits is not None and self._limits.is_blank

    def normalize(self, image: Any, limits: Any) -> Any:
        """Stretch the range between the limits to 0..255: (H, W, 3) uint8."""
        image = self._there(image, "resized")
        stream = self._on(self._work)
        picture = self.empty("picture", (*image.shape[:2], 3), np.uint8)
        return self._kernels.normalize(image, limits=limits, stream=stream, out=picture)

    def gather(self, image: Any, origins: NDArray[np.int64], height: int, width: int) -> Any:
        """Cut tiles, (N, height, width, 3) uint8, mirrored beyond the image."""
        return self._kernels.gather(
            image,
            origins,
            height,
            width,
            stream=self._on(self._work),
            out=self.empty("tiles", (len(origins), height, width, 3), np.uint8),
        )

    def infer(self, tiles: Any) -> Any:
        """Run the network: cells, (N, h / 2, w / 2, 8) uint8."""
        count, height, width, _ = tiles.shape
        self._tile_shapes.add(tiles.shape)
        cells = self.empty("cells", (count, height // 2, width // 2, 8), np.uint8)
        self._device.engine.enqueue(tiles, cells, self._on(self._work), self._between_layers)
        return cells

    def _between_layers(self, size: int) -> Any:
        """Return memory: one block for all streams, each of which waits for the last."""
        return self._memory.device("layers", (size,), np.uint8)

    def assemble(
        self, cells: Any, origins: NDArray[np.int64], cores: NDArray[np.int64], out: Any
    ) -> None:
        """Spread each tile's cells over pixels and write its core into ``out``."""
        self._kernels.assemble(cells, origins, cores, out, stream=self._on(self._work))

    def mask(self, maps: Any, threshold: int, out: Any) -> None:
        """Threshold the nucleus map into ``out``."""
        maps = self._there(maps, "restored")
        self._kernels.mask(maps, threshold, stream=self._on(self._work), out=out)

    def label(self, maps: Any, rule: tuple[int, int, int, int, int]) -> Any:
        """Return the labels of maps; ``rule`` is that of `nucleiseg.Model.label_rule`."""
        maps = self._there(maps, "restored")
        height, width = maps.shape[:2]
        workspace = self._kernels.label_workspace(height, width)
        labels, _ = self._kernels.label(
            maps,
            *rule,
            stream=self._on(self._work),
            workspace=self.empty("workspace", (workspace,), np.uint8),
            out=self.empty("labels", (height, width), np.int32),
            count=self.empty("count", (1,), np.int32),
        )
        return labels

    def repeat(self, key: tuple[Any, ...], image: Any, work: Callable[[Any], Any]) -> Any:
        """Do the work. From the third image on a graph does it, that is launched at once."""
        image = self._there(image, "resized")
        replay = self._replays.find((*key, image.shape, image.dtype.str))
        # An array with gaps cannot be brought to where a graph looks for it.
        if replay.seen == 1 or replay.has_no_graph or not arrays.is_dense(image):
            return work(image)
        if replay.stream is None:
            replay.stream = self._kernels.Stream()
            own = self._memory.owns(image)
            replay.image = image if own else self._kernels.Buffer(image.shape, image.dtype)
        stream = self._on(replay.stream)
        if image.ptr != replay.image.ptr:
            self._kernels.copy(replay.image, image, stream=stream)
        self._limits = None
        if replay.graph is None:
            return self._recorded(replay, work)
        replay.graph.launch(stream)
        return replay.result

    def _recorded(self, replay: Replay, work: Callable[[Any], Any]) -> Any:
        self._work = replay.stream
        self._tile_shapes.clear()
        try:
            result = work(replay.image)
            replay.has_no_graph = len(self._tile_shapes) > 1
            if not replay.has_no_graph:
                self._record(replay, work)
        finally:
            self._work = self._compute
        return result

    def _record(self, replay: Replay, work: Callable[[Any], Any]) -> None:
        """Capture the work; where that fails, images of this shape have no graph from then on."""
        try:
            replay.record(work, self._memory.blocks())
        except RuntimeError as error:  # of CUDA or of the engine
            replay.has_no_graph = True
            reason = " ".join(str(error).split())
            logger.warning("images of %s run without a graph: %s", replay.image.shape, reason)

    def finish(self, limits: Any | None, results: tuple[Any, ...]) -> tuple[Any, ...]:
        """Wait, and give results to keep; ValueError if the image was not finite."""
        give = self._taken_home if self._to_host else self._given_away
        given = [give(result, f"result {index}") for index, result in enumerate(results)]
        found = None
        if limits is not None and self._limits is None:
            found = self._downloaded(limits, "known")
        self._last.synchronize()
        if found is not None:
            self._learn(found)
        blank = limits is not None and self.is_blank(limits)
        if not self._to_host:
            return tuple(self._cleared(array) if blank else array for array in given)
        if blank:
            return tuple(np.zeros_like(array) for array in given)
        pairs = zip(given, results, strict=True)
        return tuple(self._kept(array, result) for array, result in pairs)

    def _taken_home(self, result: Any, name: str) -> NDArray[Any]:
        """Return a result in page-locked memory of its own, while there is some."""
        if not isinstance(result, np.ndarray) and self._memory.seen_from_host(result) is None:
            dense, viewed = arrays.span(result)
            memory = self._device.host_pool.take(dense.shape, dense.dtype)
            if memory is not None:
                self._given.append(memory)
                self._kernels.copy(memory, dense, stream=self._on(self._copies))
                return viewed(memory.array)
        return self._downloaded(result, name)

    def _kept(self, array: NDArray[Any], result: Any) -> NDArray[Any]:
        """Copy what is the lane's memory; the host's own results and the pool's stay."""
        own = array is result or any(np.may_share_memory(array, one.array) for one in self._given)
        return array if own else array.copy()

    def _given_away(self, result: Any, name: str) -> Any:
        """Copy to memory that nobody else will write."""
        result = self._there(result, name)
        stream = self._on(self._copies)
        array = self._device.pool.take(result.shape, result.dtype, stream=stream)
        return self._kernels.copy(array, result, stream=stream)

    def _cleared(self, array: Any) -> Any:
        stream = self._on(self._copies)
        self._kernels.fill(array, 0, stream=stream)
        stream.synchronize()
        return array

    def _learn(self, limits: NDArray[np.float64]) -> None:
        shape = self._image.shape
        channels = 1 if len(shape) == 2 else min(shape[2], 3)
        values = shape[0] * shape[1] * channels
        self._limits = Limits(*self._kernels.check_limits(limits, values))

    def _on(self, stream: Any) -> Any:
        """Let a stream go on after all work so far."""
        if stream is not self._last:
            self._event.record(self._last)
            stream.wait(self._event)
            self._last = stream
        return stream

    def _there(self, array: Any, name: str) -> Any:
        return self._uploaded(array, name) if isinstance(array, np.ndarray) else array

    def _uploaded(self, array: NDArray[Any], name: str) -> Any:
        """Copy through page-locked memory, or only into it where the device shares it."""
        if name in self._staged:
            self._last.synchronize()  # what lies there may still be on its way
        self._staged.add(name)
        dtype = array.dtype.newbyteorder("=")
        staging = self._memory.pinned(name, array.shape, dtype)
        if array.flags.c_contiguous and array.dtype == dtype:
            cpu.copy(staging.array, array, threads=self._device.threads)
        else:
            np.copyto(staging.array, array)
        if self._device.gpu.integrated:
            return staging.device()
        there = self._memory.device(name, array.shape, dtype)
        return self._kernels.copy(there, staging, stream=self._on(self._copies))

    def _downloaded(self, array: Any, name: str) -> NDArray[Any]:
        """Return where an array will be on the host, once the last stream is done."""
        if isinstance(array, np.ndarray):
            return array
        if array is self._image and self._source is not None:
            return self._source
        shared = self._memory.seen_from_host(array)
        if shared is not None:
            return shared
        dense, viewed = arrays.span(array)
        staging = self._memory.pinned(name, dense.shape, dense.dtype)
        self._kernels.copy(staging, dense, stream=self._on(self._copies))
        return viewed(staging.array)
