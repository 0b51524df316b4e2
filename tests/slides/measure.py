"""Time, memory and count of a slide that `aperio.py` made.

    python tests/slides/measure.py slide.svs [--save zarr,geojson,csv] [--memory 2]

Prints what the command prints, the wall time, the peak of resident memory, and the nuclei beside
those of the tiles, each segmented among copies of itself with the slide's limits.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aperio
import numpy as np

from nucleiseg import Model
from nucleiseg._native import cpu
from nucleiseg.slides import task
from nucleiseg.slides.plan import Options, plan

AROUND = 256
"""Pixels of its copies around a tile, beyond the network's halo."""


def own_count(path: Path, device: str) -> int:
    """Return how many nuclei the tiles of a slide have, each by itself."""
    planned, model = plan(path, Options(device=device)), Model.load()
    network, limits = task.network_of(planned.settings), planned.limits
    with np.load(path.with_suffix(".npz")) as kept:
        tiles, places = kept["tiles"], kept["places"]
    times = np.bincount(places[places >= 0], minlength=len(tiles))
    total = 0
    for tile, often in zip(tiles, times.tolist(), strict=True):
        if not often:
            continue
        whole = np.tile(aperio.decoded(aperio.encoded(tile)), (3, 3, 1))
        begin = aperio.TILE - AROUND
        picture = np.ascontiguousarray(whole[begin:-begin, begin:-begin])
        stretched = cpu.normalize(picture, limits.low, limits.high, limits.ceiling)
        maps, _ = network.maps(stretched)
        labels, _ = cpu.label(maps, *model.label_rule())
        own = labels[AROUND:-AROUND, AROUND:-AROUND]
        total += often * len(np.unique(own[own > 0]))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--save", default="zarr,geojson,csv")
    parser.add_argument("--memory", default="2")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        command = [sys.executable, "-m", "nucleiseg", "slide", str(options.path), "-o", folder]
        command += ["--save", options.save, "--memory", options.memory, "--device", options.device]
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        size = sum(one.stat().st_size for one in Path(folder).rglob("*") if one.is_file())
    print(f"wall {seconds:.1f} s, peak memory {peak:.2f} GB, written {size / 1e6:.0f} MB")
    if options.path.with_suffix(".npz").exists():
        print(
            f"nuclei of the tiles, each alone on glass: {own_count(options.path, options.device):,}"
        )


if __name__ == "__main__":
    main()
