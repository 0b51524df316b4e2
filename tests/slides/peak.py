"""A run in a process of its own, which tells the greatest memory that it had.

    python tests/slides/peak.py SLIDE DIR FORMATS MEMORY DEVICE MODEL

Prints JSON: bytes of memory, nuclei, seconds of each stage.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from nucleiseg.model import DEFAULT
from nucleiseg.slides import segment_slide


def measured(
    slide: Path,
    folder: Path,
    formats: str,
    memory: float,
    device: str = "cpu",
    model: str = DEFAULT,
) -> dict[str, Any]:
    """Return what the process printed."""
    command = [sys.executable, __file__, slide, folder, formats, memory, device, model]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    slide, folder, formats, memory, device, model = sys.argv[1:]
    summary = segment_slide(
        slide, folder, formats=formats, memory=float(memory), device=device, model=model
    )
    # Of this program alone: ru_maxrss begins with what the process had that started it.
    rows = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(row.split()[1]) for row in rows if row.startswith("VmHWM")) * 1024
    print(json.dumps({"peak": peak, "nuclei": summary.nuclei, "seconds": summary.seconds}))


if __name__ == "__main__":
    main()
