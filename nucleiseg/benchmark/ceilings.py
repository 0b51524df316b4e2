"""What the machine could do at best, measured on the spot: copies and int8 arithmetic."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nucleiseg.benchmark.timing import best
from nucleiseg.model import Model

if TYPE_CHECKING:
    from nucleiseg.engines.openvino_library import openvino as ov

CPUS = Path("/sys/devices/system/cpu")

SMALLEST_COPY = 64 * 2**20
"""Bytes of each of the two buffers of a copy, or more where the cache is large."""

CACHES = 4
"""Times the last level of cache that each of these buffers is."""

SHAPES = ((64, 64), (128, 32), (256, 32))
"""Channels and pixels a side of the convolutions that are tried: 0.15 to 0.6 billion multiply-adds
each, on weights and activations that fit into a core's cache."""

LAYERS = 8
"""Convolutions one after the other, so that the conversions at both ends hardly count."""

KERNEL = 3


@dataclass(frozen=True)
class Ceilings:
    """The best that was reached with so many threads.

    Attributes
    ----------
    threads : int
    copy_gb_per_s : float
        Bytes read and bytes written by the C library's ``memcpy``, between buffers far larger than
        the cache.
    int8_gmac_per_s : float
        10^9 multiply-adds a second: the best that OpenVINO's own int8 convolution reached here.
    int8_shape : str
        Of that convolution's input.
    """

    threads: int
    copy_gb_per_s: float
    int8_gmac_per_s: float
    int8_shape: str


def measure(threads: int, seconds: float) -> Ceilings:
    """Measure both, for about ``seconds`` each."""
    each = seconds / len(SHAPES)
    speed, channels, side = max((int8_speed(*shape, threads, each), *shape) for shape in SHAPES)
    return Ceilings(
        threads,
        copy_speed(threads, seconds) / 1e9,
        speed / 1e9,
        f"{threads} x {channels} x {side} x {side}",
    )


def copy_speed(
    threads: int, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Give the bytes a second of a copy, read and written, with its parts in threads."""
    size = max(SMALLEST_COPY, CACHES * last_cache()) // threads
    sources, targets = (
        [np.full(size, number, np.uint8) for _ in range(threads)] for number in (1, 2)
    )
    with ThreadPoolExecutor(threads) as pool:
        taken = best(lambda: list(pool.map(np.copyto, targets, sources)), seconds, clock)
    return 2 * threads * size / taken


def last_cache() -> int:
    """Give the bytes of all caches of the last level, 0 where Linux does not say."""
    found: dict[tuple[int, str], int] = {}
    for cache in CPUS.glob("cpu[0-9]*/cache/index*"):
        with contextlib.suppress(OSError, ValueError):
            level, sharers, size = (
                (cache / name).read_text().strip() for name in ("level", "shared_cpu_list", "size")
            )
            found[int(level), sharers] = 1024 * int(size.removesuffix("K"))
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last)


def int8_speed(channels: int, side: int, threads: int, seconds: float) -> float:
    """Give the multiply-adds a second of int8 convolutions in OpenVINO.

    Parameters
    ----------
    channels : int
        In and out.
    side : int
        Pixels.
    threads : int
        Also the images at once, so that each thread has as much to do.
    seconds : float
    """
    compiled = compile_int8(channels, side, threads)
    request = compiled.create_infer_request()
    request.get_input_tensor().data[...] = 100
    taken = best(request.infer, seconds)
    return LAYERS * threads * (KERNEL * channels * side) ** 2 / taken


def compile_int8(channels: int, side: int, threads: int) -> ov.CompiledModel:
    """Compile a chain of convolutions of bytes with int8 weights."""
    from nucleiseg.engines.openvino_library import openvino as ov

    ops, properties = ov.opset13, ov.properties
    rng = np.random.default_rng(0)
    pixels = ops.parameter([threads, channels, side, side], np.uint8)
    flow = _rounded(ops.convert(pixels, "f32"), 0, 255, 256)
    for _ in range(LAYERS):
        weights = rng.integers(-127, 128, (channels, channels, KERNEL, KERNEL)) / np.float32(127)
        weights = _rounded(ops.constant(weights.astype(np.float32)), -1, 1, 255)
        flow = ops.relu(ops.convolution(flow, weights, [1, 1], [1, 1], [1, 1], [1, 1]))
        flow = _rounded(flow, 0, 255, 256)
    graph = ov.Model([flow], [pixels], "int8")
    hints = {properties.inference_num_threads: threads, properties.num_streams: 1}
    return ov.Core().compile_model(graph, "CPU", hints)


def _rounded(values: ov.Node, low: float, high: float, levels: int) -> ov.Node:
    """Say that values have so many levels, which lets OpenVINO compute in bytes."""
    from nucleiseg.engines.openvino_library import openvino as ov

    ends = [np.float32(low), np.float32(high)]
    return ov.opset13.fake_quantize(values, *ends, *ends, levels)


def multiply_adds(model: Model) -> float:
    """Count the multiply-adds of a model's convolutions, for each pixel of its input."""
    from nucleiseg.engines.openvino_library import openvino as ov

    graph = ov.Core().read_model(model.path)
    side = 8 * model.stride
    graph.reshape([1, 3, side, side])
    return sum(map(node_multiply_adds, graph.get_ordered_ops())) / side**2


def node_multiply_adds(node: ov.Node) -> int:
    """Count those of one node of a graph, 0 if it is no convolution.

    Each weight meets each position once: of the output, or of a transposed convolution's input.
    """
    kind = node.get_type_name()
    if kind in ("Convolution", "GroupConvolution"):
        positions = node.output(0).get_shape()
    elif kind in ("ConvolutionBackpropData", "GroupConvolutionBackpropData"):
        positions = node.input(0).get_shape()
    else:
        return 0
    return int(math.prod(node.input(1).get_shape()) * positions[0] * math.prod(positions[2:]))
