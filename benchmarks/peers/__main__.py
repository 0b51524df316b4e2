"""The command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.peers import machine, page, plot, rounds, table
from benchmarks.peers.client import ROOT

SIZES = (256, 512, 1024, 2048)
QUICK_SIZES = (256, 512)
STRIDE = 32
"""Sides are multiples of this, which every network takes without padding."""

HOME = "NUCLEISEG_PEERS"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        peers = table.chosen([name for name in options.only.split(",") if name])
        sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
        threads = machine.use_cores(options.threads)
        race = rounds.run(peers, sizes, options.environments, threads, options.quick)
    except (ValueError, rounds.RaceError) as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2
    document = describe(race, sizes, threads, options.quick)
    for path in write(document, options.output):
        print(f"wrote {path}")
    return 0


def describe(
    race: rounds.Race, sizes: tuple[int, ...], threads: int, is_quick: bool
) -> dict[str, Any]:
    """Return all that is known of a run, as the JSON file holds it."""
    return {
        "schema": 1,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine.describe(threads),
        "settings": {"quick": is_quick, "sizes": list(sizes), "threads": threads},
        "nuclei": race.nuclei,
        "peers": list(race.about.values()),
        "rows": race.rows,
    }


def write(document: dict[str, Any], folder: Path) -> list[Path]:
    """Write the results, the page and its picture into a folder; return their paths."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    files = [folder / "benchmarks.json", folder / "benchmarks.md", folder / "pictures/peers.png"]
    files[0].write_text(json.dumps(document, indent=2) + "\n")
    files[1].write_text(page.text(document))
    plot.draw(document, files[2])
    return files


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Segmentation tools side by side on this machine.",
    )
    names = ",".join(peer.name for peer in table.PEERS)
    parser.add_argument("--quick", action="store_true", help="small pictures, few rounds")
    parser.add_argument("--sizes", type=_sizes, help="sides of the pictures (256,512,1024,2048)")
    parser.add_argument("--only", default="", help=f"some of {names}")
    parser.add_argument("--threads", type=int, help="cores to keep to (all)")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs", help="folder of benchmarks.md (docs)"
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path(os.environ.get(HOME, ROOT / "build" / "peers")),
        help=f"folder of the tools' packages ({HOME} in the environment, or build/peers)",
    )
    return parser


def _sizes(text: str) -> tuple[int, ...]:
    sides = text.split(",")
    if not all(side.isdecimal() and int(side) and int(side) % STRIDE == 0 for side in sides):
        raise argparse.ArgumentTypeError(f"got {text!r}; accepted are multiples of {STRIDE}")
    return tuple(sorted(map(int, sides)))


if __name__ == "__main__":
    sys.exit(main())
