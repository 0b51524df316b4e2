"""What the measurements were made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def describe(threads: int) -> dict[str, Any]:
    """Return the processor, its cores in use, its instructions for integers, and the memory."""
    processor = entries("/proc/cpuinfo")
    flags = processor.get("flags", "").split()
    memory = entries("/proc/meminfo").get("MemTotal", "").split()
    return {
        "cpu": processor.get("model name") or platform.processor() or platform.machine(),
        "cores": threads,
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "memory_gb": round(int(memory[0]) / 1e6, 1) if memory else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def use_cores(count: int | None) -> int:
    """Keep this process and what it starts to so many cores, by default all that it has.

    Raises
    ------
    ValueError
        There are fewer.
    """
    there = sorted(os.sched_getaffinity(0))
    count = len(there) if count is None else count
    if not 1 <= count <= len(there):
        raise ValueError(f"threads: got {count}; accepted are 1 to {len(there)}, the cores here")
    os.sched_setaffinity(0, there[:count])
    return count


def entries(path: str) -> dict[str, str]:
    """Return the first value of each name in ``name : value`` lines; none without the file."""
    lines = Path(path).read_text().splitlines() if Path(path).is_file() else []
    pairs = (line.partition(":") for line in reversed(lines))
    return {name.strip(): value.strip() for name, _, value in pairs}
