"""Each level of the network's kernels, beside its own peak and beside OpenVINO.

The peak is what the level's instructions reach in registers alone, in plain sums; convolutions of
3 x 3 take fewer products (csrc/cpu/simd/winograd.h), so they can surpass it. OpenVINO runs the
shipped file in an environment of its own, limited to the same instructions by the setting of its
oneDNN. Both are timed in turn; ratios are of neighbouring calls.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.peers.client import Client
from benchmarks.peers.environments import PeerError
from benchmarks.peers.table import Peer
from benchmarks.steps.ceilings import cost, int8_speed
from benchmarks.steps.common import ROOT, picture
from nucleiseg import Model
from nucleiseg._native import cpu
from nucleiseg.engines import native
from nucleiseg.model import DEFAULT

INSTRUCTIONS = {
    "avx2": "AVX2",
    "avxvnni": "AVX2_VNNI",
    "avx512vnni": "AVX512_CORE_VNNI",
    "amx": "AVX512_CORE_AMX",
}
"""Values of oneDNN's ONEDNN_MAX_CPU_ISA. It has no name for what is below AVX2."""

OPENVINO = Peer("openvino_int8", "OpenVINO int8", "openvino_int8", "openvino")

FAR = 1.0
"""Levels of 255, in the mean: an answer that is further away is another network's."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=DEFAULT, help="shipped model or ONNX file")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--levels", nargs="+", default=cpu.convolution_levels()[1:])
    parser.add_argument("--alone", action="store_true", help="without OpenVINO")
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "peers")


def main(options: argparse.Namespace) -> None:
    for level in options.levels:
        show_level(level, Model.load(options.model), options)


def show_level(level: str, model: Model, options: argparse.Namespace) -> None:
    peak = int8_speed(options.threads, 1.0, level)
    print(f"{level}, {options.threads} threads, peak {peak / 1e9:.0f} GMAC/s", flush=True)
    if level == "avxvnni" and level not in cpu.features()["cpu"]:
        print("  this CPU has these products under AVX-512's name alone, which OpenVINO leaves out")
    engine = native.Engine(model, options.threads, level)
    for size in options.sizes:
        tile = np.ascontiguousarray(picture(size)[None])
        other = None
        if level in INSTRUCTIONS and not options.alone:
            other = opponent(level, model, tile, engine.infer(tile), options)
        times = timed(engine, other, tile, options.repeats)
        if other is not None:
            other.close()
        print(
            f"  {size} x {size}: {described(times, size**2, cost(model).multiply_adds, peak)}",
            flush=True,
        )


def described(times: np.ndarray, pixels: int, work: float, peak: float) -> str:
    """Return how fast pairs of calls were; ``work`` is the multiply-adds of a pixel."""
    own, *others = pixels / np.median(times, axis=0)
    speed = own * work
    line = f"{own / 1e6:.1f} Mpixel/s, {speed / 1e9:.0f} GMAC/s, {speed / peak:.0%} of the peak"
    for other in others:
        ratios = times[:, 1] / times[:, 0]
        line += f"; OpenVINO {other / 1e6:.1f} Mpixel/s, "
        line += f"ratio {np.median(ratios):.2f}, lowest {ratios.min():.2f}"
    return line


def opponent(
    level: str, model: Model, tile: np.ndarray, expected: np.ndarray, options: argparse.Namespace
) -> Client | None:
    """Start OpenVINO with a picture; nothing where it does not run, or computes something else."""
    with tempfile.TemporaryDirectory() as folder:
        names = {name: str(Path(folder) / f"{name}.npy") for name in ("image", "labels", "answer")}
        np.save(names["image"], tile[0])
        np.save(names["labels"], np.zeros(1, np.int32))
        files = {"model": str(model.path), "instructions": INSTRUCTIONS[level]}
        files["answer"] = names["answer"]
        client = None
        try:
            client = Client(OPENVINO, options.environments, options.threads)
            client.ask("load", threads=options.threads, files=files)
            client.ask("take", image=names["image"], labels=names["labels"])
            difference = np.abs(np.load(names["answer"]).astype(int) - expected).mean()
            if difference < FAR:
                return client
            print(f"  OpenVINO's answer is {difference:.1f} levels away in the mean: not timed")
        except PeerError as error:
            print(f"  OpenVINO {error}")
        if client is not None:
            client.close()
        return None


def timed(
    engine: native.Engine, other: Client | None, tile: np.ndarray, repeats: int
) -> np.ndarray:
    """Return the seconds of pairs of calls, (repeats, 1 or 2)."""
    found = []
    for _ in range(repeats):
        engine.infer(tile)  # what is in the cache is ours, as theirs is theirs after their first
        begin = time.perf_counter()
        engine.infer(tile)
        pair = [time.perf_counter() - begin]
        if other is not None:
            pair.append(other.ask("time", calls=2, seconds=60.0)["seconds"]["maps"][-1])
        found.append(pair)
    return np.array(found)
