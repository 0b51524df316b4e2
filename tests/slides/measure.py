"""Time, memory and count of synthetic slides of several sizes, as a table.

    python tests/slides/measure.py --images FOLDER [--model NAME] [--gigapixels 0.1 1 2.4]

FOLDER holds H&E pictures, PNG. A row tells the wall time and how often it holds the time that the
slower of reading and the network takes with the machine to itself, what the time of all threads was
spent on, the greatest memory, and the nuclei beside those of the tiles, each segmented among
copies of itself with the slide's limits, and those whose centre is on glass.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path

import aperio
import numpy as np
import peak

from nucleiseg._native import cpu
from nucleiseg.model import DEFAULT
from nucleiseg.slides import readers, scaled, task
from nucleiseg.slides.plan import Options, Plan, plan

SIDES = 60_000, 40_000
"""Of 2.4 Gpixel; others have the same ratio."""

TISSUE = 0.4

AROUND = 256
"""Pixels of its copies around a tile, beyond the network's halo."""

STAGES = ("reading", "network", "decoding", "writing")


def own_count(layout: aperio.Layout, planned: Plan) -> int:
    """Return how many nuclei the tiles of a slide have, each by itself."""
    network, limits = task.network_of(planned.settings), planned.settings.limits
    model = network.model
    places = layout.places
    times = np.bincount(places[places >= 0], minlength=len(layout.tiles))
    total = 0
    for tile, often in zip(layout.tiles, times.tolist(), strict=True):
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


def alone(path: Path, planned: Plan) -> float:
    """Return the seconds of reading, or of the network where they are more, with nothing beside."""
    network, size = task.network_of(planned.settings), planned.settings.size
    reading = computing = 0.0
    with readers.open(path) as slide:
        for region in (one for band in planned.bands for one in band):
            if planned.area.part(region) is None:
                continue
            place = (region.row, region.column, region.height, region.width)
            begin = time.perf_counter()
            values = scaled.read(slide, size, *place, network.threads)
            read = time.perf_counter()
            network.maps(values)
            reading, computing = reading + read - begin, computing + time.perf_counter() - read
    return max(reading, computing)


def on_glass(layout: aperio.Layout, table: Path) -> int:
    """Return how many nuclei have their centre in a tile without tissue."""
    with table.open(encoding="utf-8", newline="") as lines:
        centres = [(float(a["centroid_y"]), float(a["centroid_x"])) for a in csv.DictReader(lines)]
    rows, columns = np.array(centres).reshape(-1, 2).astype(int).T // aperio.TILE
    return int((layout.places[rows, columns] < 0).sum())


def row(gigapixels: float, tiles: np.ndarray, options: argparse.Namespace) -> str:
    """Return what came of one slide, as a row of the table."""
    width, height = (int(side * (gigapixels / 2.4) ** 0.5) for side in SIDES)
    layout = aperio.layout(tiles, width, height, TISSUE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "slide.svs"
        aperio.write(path, layout, width, height)
        memory, device, model = options.memory * 1e9, options.device, options.model
        save = ",".join(dict.fromkeys([*options.save.split(","), "csv"]))
        found = peak.measured(path, folder, save, memory, device, model)
        files = [one for one in (folder / path.stem).rglob("*") if one.is_file()]
        written = sum(one.stat().st_size for one in files)
        glass = on_glass(layout, folder / path.stem / "nuclei.csv")
        planned = plan(path, Options(device=device, memory=memory, model=model))
        slowest, tiles_own = alone(path, planned), own_count(layout, planned)
    seconds = found["seconds"]
    total = sum(seconds[stage] for stage in STAGES)
    shares = ", ".join(f"{seconds[stage] / total:.0%}" for stage in STAGES)
    return (
        f"| {gigapixels:g} | {found['peak'] / 1e9:.2f} GB | {found['nuclei']:,} | {tiles_own:,} | "
        f"{glass:,} | "
        f"{seconds['wall']:.1f} s | {seconds['wall'] / slowest:.2f} | {shares} | "
        f"{written / 1e6:.0f} MB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of H&E pictures, PNG")
    parser.add_argument("--gigapixels", type=float, nargs="+", default=[0.1, 1, 2.4])
    parser.add_argument("--save", default="zarr,geojson,csv")
    parser.add_argument("--memory", type=float, default=2, help="GB that a run may take")
    parser.add_argument("--model", default=DEFAULT, help="such as nuclei-fast")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiles", type=int, default=300, help="different ones")
    options = parser.parse_args()
    tiles = aperio.tissue_tiles(aperio.pictures(options.images), options.tiles)
    print(
        "| Gpixel | peak memory | nuclei | of the tiles | on glass | wall time | "
        f"times the slower alone | {', '.join(STAGES)} | written |\n"
        f"{'|---' * 9}|"
    )
    for gigapixels in options.gigapixels:
        print(row(gigapixels, tiles, options), flush=True)


if __name__ == "__main__":
    main()
