"""Write a million synthetic nuclei of a slide in every format: seconds, MB, and peak memory.

python synthetic_nuclei.py [--nuclei N] [--outputs csv,zarr,...] [--folder FOLDER]

Needs the extras ``slide``, ``parquet``, ``dicom`` and ``report``. Each output is timed alone in
turn, region by region as a slide gives them; peak memory is that of the process.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from nucleiseg.slides import outputs
from nucleiseg.slides.grid import BLOCK
from nucleiseg.slides.nuclei import Nuclei, SlideInfo

SIDE = 2048
"""Side of a region, in pixels of the labels."""

SPACING = 25
"""Pixels of the labels from a nucleus to the next."""

SCALE = 2.0
A_ROW = SIDE // SPACING
A_REGION = A_ROW**2


def slide_info(nuclei: int, path: Path = Path("synthetic.svs")) -> SlideInfo:
    """A square slide at 0.25 um per pixel that has room for so many nuclei."""
    regions = int(np.ceil(np.sqrt(nuclei / A_REGION)))
    labels = regions * SIDE
    return SlideInfo(
        path=path,
        width=int(labels * SCALE),
        height=int(labels * SCALE),
        mpp=(0.25, 0.25),
        scale=SCALE,
        model={"name": "synthetic", "version": "1", "sha256": "0" * 64},
        settings={"region": SIDE},
        label_height=labels,
        label_width=labels,
        label_mpp=(0.5, 0.5),
    )


def regions(nuclei: int, seed: int = 5) -> Iterator[tuple[Nuclei, int, int, np.ndarray]]:
    """Nuclei of one region after the other, and the row, column and block of their labels.

    Nuclei are ellipses of 12 to 20 pixels with 24 to 40 points; ids follow the regions. Every
    region has the same shapes, and measurements of its own.
    """
    rng = np.random.default_rng(seed)
    axes = rng.uniform(6, 10, (A_REGION, 2))
    angles = rng.uniform(0, np.pi, A_REGION)
    centres = (np.indices((A_ROW, A_ROW)).reshape(2, -1).T + 0.5) * SPACING
    centres += rng.uniform(-2, 2, centres.shape)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(24, 41, A_REGION))])
    points = _ellipses(centres, axes, angles, offsets)
    block = _drawn(points, offsets)
    side = int(np.ceil(np.sqrt(nuclei / A_REGION)))
    for region in range(-(-nuclei // A_REGION)):
        row, column = (at * SIDE for at in divmod(region, side))
        count = min(A_REGION, nuclei - region * A_REGION)
        first = region * A_REGION
        corner = np.array([row, column])
        labels = block + np.int32(first)
        labels[(block == 0) | (block > count)] = 0
        area = np.pi * axes[:count].prod(axis=1) * SCALE**2
        yield (
            Nuclei(
                id=np.arange(first + 1, first + count + 1),
                area=area,
                centroid=(centres[:count] + corner) * SCALE,
                diameter=np.sqrt(area * 4 / np.pi),
                confidence=rng.beta(30, 2, count).astype(np.float32),
                outline_offsets=offsets[: count + 1].astype(np.int64),
                outline_points=((points[: offsets[count]] + corner) * SCALE).astype(np.float32),
                features={
                    "solidity": rng.uniform(0.9, 1, count),
                    "intensity_mean-0": rng.uniform(60, 200, count),
                    "edge_blur": rng.gamma(9, 0.2, count).astype(np.float32),
                },
            ),
            row,
            column,
            labels,
        )


def _ellipses(
    centres: np.ndarray, axes: np.ndarray, angles: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Points of all ellipses, (m, 2), row and column."""
    counts = np.diff(offsets)
    owner = np.repeat(np.arange(len(counts)), counts)
    turn = 2 * np.pi * (np.arange(offsets[-1]) - offsets[owner]) / counts[owner]
    along, across = axes[owner, 0] * np.cos(turn), axes[owner, 1] * np.sin(turn)
    cosine, sine = np.cos(angles[owner]), np.sin(angles[owner])
    ring = np.stack([along * sine + across * cosine, along * cosine - across * sine], axis=1)
    return centres[owner] + ring


def _drawn(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Labels of one region, (SIDE, SIDE) int32, from 1."""
    block = np.zeros((SIDE, SIDE), np.int32)
    for i in range(len(offsets) - 1):
        ring = np.rint(points[offsets[i] : offsets[i + 1], ::-1]).astype(np.int32)
        cv2.fillPoly(block, [ring], i + 1)
    return block


def concatenated(parts: Sequence[Nuclei]) -> Nuclei:
    """Consecutive nuclei as one, all with the same features."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(one, name) for one in parts])

    lengths = np.concatenate([np.diff(one.outline_offsets) for one in parts])
    return Nuclei(
        **{name: joined(name) for name in ("id", "area", "centroid", "diameter", "confidence")},
        outline_offsets=np.concatenate([[0], np.cumsum(lengths)]),
        outline_points=joined("outline_points"),
        features={
            name: np.concatenate([one.features[name] for one in parts])
            for name in parts[0].features
        },
    )


def peak() -> float:
    """Most memory that the process has had, in MB. `ru_maxrss` begins with its parent's."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM")) / 1024


def size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nuclei", type=int, default=1_000_000)
    parser.add_argument("--outputs", default=",".join(outputs.OUTPUTS))
    parser.add_argument("--folder", type=Path, help="where files are written, and kept")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    info = slide_info(arguments.nuclei)
    before = peak()
    seconds = dict.fromkeys(arguments.outputs.split(","), 0.0)
    chosen = {name: outputs.OUTPUTS[name]() for name in seconds}

    def timed(name: str, step, *args: object) -> None:
        start = time.perf_counter()
        step(*args)
        seconds[name] += time.perf_counter() - start

    for name, output in chosen.items():
        timed(name, output.begin, info, folder)
    for nuclei, row, column, labels in regions(arguments.nuclei):
        for name, output in chosen.items():
            timed(name, output.add, nuclei)
            for y, x in np.ndindex(SIDE // BLOCK, SIDE // BLOCK):
                place = np.s_[y * BLOCK : (y + 1) * BLOCK, x * BLOCK : (x + 1) * BLOCK]
                block = labels[place]
                if block.any():
                    timed(name, output.add_labels, row + y * BLOCK, column + x * BLOCK, block)
    for name, output in chosen.items():
        timed(name, output.finish)
    for name, output in chosen.items():
        megabytes = size(folder / output.name) / 1e6
        print(f"{name:<12} {seconds[name]:7.2f} s {megabytes:9.1f} MB  {output.name}")
    print(f"{'all':<12} {sum(seconds.values()):7.2f} s")
    print(f"peak memory {peak():.0f} MB, of which {before:.0f} MB before the first output")
    print(json.dumps({"seconds": seconds, "peak_mb": peak()}))
    if arguments.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
