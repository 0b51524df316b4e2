"""How much memory an image takes, and whether the machine has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

LARGE = 1 << 24
"""Pixels from which an image is checked. Below, it takes less than the package itself."""

OUTPUT_BYTES = {"mask": 1, "labels": 4, "maps": 2}
"""Bytes per pixel of each output."""

MAP_BYTES = 2
"""Bytes per pixel that the network saw."""

BAND_BYTES = 3
"""Bytes per pixel that a band of the maps of a magnified image takes at most."""

LABEL_BYTES, BAND_LABEL_BYTES = 2, 6
"""Bytes per pixel that labelling needs beside maps and labels, of the whole and of bands. Measured
on nuclei of 8 pixels side by side, taken as they are and magnified four times: 1.5 and 5."""


def check(shape: Sequence[int], outputs: Sequence[str], scale: float) -> None:
    """Refuse an image for whose outputs there is not enough memory.

    Parameters
    ----------
    shape : sequence of int
        Of the image.
    outputs : sequence of {"mask", "labels", "maps"}
    scale : float

    Raises
    ------
    MemoryError
        It names the image's size, what is needed and what is free.
    """
    if shape[0] * shape[1] < LARGE:
        return
    need, there = needed(shape, outputs, scale), free()
    if there is not None and need > there:
        raise MemoryError(
            f"image: got {shape[0]} x {shape[1]} pixels, for which about {need / 1e9:.1f} GB of "
            f"memory are needed at scale {scale:.3g}, and {there / 1e9:.1f} GB are free; accepted "
            "is what fits: cut the image into parts, or free memory"
        )


def needed(shape: Sequence[int], outputs: Sequence[str], scale: float) -> int:
    """Return the most bytes that an image's outputs take, without the image and the network."""
    each = float(sum(OUTPUT_BYTES[output] for output in outputs))
    if "labels" in outputs:
        each += LABEL_BYTES if scale >= 1 else BAND_LABEL_BYTES
    if scale < 1:
        each += BAND_BYTES
    elif scale > 1:
        each += MAP_BYTES + MAP_BYTES / scale**2
    elif "labels" in outputs and "maps" not in outputs:
        each += MAP_BYTES
    return int(shape[0] * shape[1] * each)


def free(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process can still take, None where that is not known.

    The least of what Linux says is available and of what the control groups of this process leave
    of their limits.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.
    """
    found = [*_available(root / "proc/meminfo"), *_left_in_groups(root)]
    return min(found, default=None)


def _available(meminfo: Path) -> Iterator[int]:
    for line in _lines(meminfo):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _left_in_groups(root: Path) -> Iterator[int]:
    """Return what each group leaves: a process's own, and those that hold it."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
        # Within a container the path may be the host's, and its own group is at the top.
        parts = Path(path.strip("/")).parts
        for depth in range(len(parts) + 1):
            yield from _left(top.joinpath(*parts[:depth]), *names)


def _left(folder: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    most, used = _number(folder / limit), _number(folder / usage)
    if most is None or used is None:
        return
    # Files that were read count as used, and make room when it is needed.
    cached = [line.split()[1] for line in _lines(folder / "memory.stat") if line.startswith(cache)]
    yield max(0, most - used + (int(cached[0]) if cached else 0))


def _number(file: Path) -> int | None:
    text = "".join(_lines(file)).strip()
    return int(text) if text.isdigit() else None  # "max" where there is no limit


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
