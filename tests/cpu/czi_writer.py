"""Small CZI files, written by Zeiss's own library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pylibCZIrw import czi


def write(path: Path, pixels: np.ndarray, *, compression: str | None = None) -> None:
    """Write pixels, (scenes, Z, C, 40, 50, 1 or 3), each plane as two tiles side by side.

    Parameters
    ----------
    compression
        As the library names it, such as ``"zstd1:ExplicitLevel=2"``.
    """
    scenes, planes, channels = pixels.shape[:3]
    with czi.create_czi(str(path), compression_options=compression) as writer:
        for scene, z, c in np.ndindex(scenes, planes, channels):
            tile = pixels[scene, z, c, :, :30], pixels[scene, z, c, :, 30:]
            for left, part in zip((0, 30), tile, strict=True):
                place = {"Z": int(z), "C": int(c)}
                where = 100 * int(scene) + left, 0
                writer.write(np.ascontiguousarray(part), where, place, scene=int(scene))
        names = dict(enumerate(("DAPI", "GFP")[:channels]))
        writer.write_metadata("a", names, scale_x=0.325e-6, scale_y=0.325e-6)
