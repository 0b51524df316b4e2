"""Small ND2 files as NIS-Elements lays them out (version 3.0): chunks and a map of them.

No library writes this format. What stands here follows how the package nd2 parses it.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = 0x0ABECEDA
FILE = b"ND2 FILE SIGNATURE CHUNK NAME01!"
MAP_NAME = b"ND2 FILEMAP SIGNATURE NAME 0001!"
MAP_END = b"ND2 CHUNK MAP SIGNATURE 0000001!"
NAME_BYTES = 4072
"""Of the name of a chunk, filled up."""
BOOL, UNSIGNED, DOUBLE, STRING, LEVEL, COMPRESSED = 1, 3, 6, 8, 11, 76


def item(name: str, value: Any) -> bytes:
    """Return a value of the metadata with its name; a list is a level of items without names."""
    coded = (name + "\0").encode("utf-16-le")
    head = struct.pack("BB", 0, len(name) + 1) + coded
    if isinstance(value, bool):
        kind, data = BOOL, struct.pack("B", value)
    elif isinstance(value, int):
        kind, data = UNSIGNED, struct.pack("<I", value)
    elif isinstance(value, float):
        kind, data = DOUBLE, struct.pack("<d", value)
    elif isinstance(value, str):
        kind, data = STRING, (value + "\0").encode("utf-16-le")
    else:
        pairs = value.items() if isinstance(value, dict) else [("", one) for one in value]
        inside = b"".join(item(*pair) for pair in pairs)
        length = len(head) + 12 + len(inside)
        kind = LEVEL
        data = struct.pack("<IQ", len(value), length) + inside + bytes(8 * len(value))
    return bytes([kind]) + head[1:] + data


def compressed(data: bytes) -> bytes:
    """Return metadata as they are compressed."""
    return bytes([COMPRESSED, 0]) + bytes(10) + zlib.compress(data)


def loop(axis: str, count: int, names: list[str], inside: list[Any]) -> dict[str, Any]:
    """Return a loop of an experiment."""
    if axis == "P":
        points = [
            {"dPosX": float(number), "dPosY": 0.0, "dPosZ": 0.0, "pPosName": name}
            for number, name in enumerate(names)
        ]
        parameters: dict[str, Any] = {"Points": points}
    elif axis == "T":
        parameters = {"uiCount": count, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0}
    else:
        parameters = {"uiCount": count, "dZLow": 0.0, "dZHigh": 1.0, "dZStep": 0.5}
    kind = {"T": 1, "P": 2, "Z": 4}[axis]
    next_level = {"ppNextLevelEx": inside} if inside else {}
    return {"eType": kind, "uLoopPars": parameters, **next_level}


def write(
    path: Path,
    frames: np.ndarray,
    loops: dict[str, int],
    *,
    channels: tuple[str, ...] = ("DAPI",),
    names: tuple[str, ...] = (),
    mpp: float | None = 0.325,
    compress: bool = False,
    packed: Any = lambda data: data,
    leave_out: tuple[int, ...] = (),
) -> None:
    """Write frames, (N, H, W, components), in the order of the loops.

    Parameters
    ----------
    loops
        The lengths of the axes T, P, Z.
    names
        Of the positions.
    compress
        Whether to compress the frames.
    packed
        Changes the metadata.
    leave_out
        Frames that are not written.
    """
    count, height, width, components = frames.shape
    bits = 8 * frames.dtype.itemsize
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": width * components * frames.dtype.itemsize,
        "uiHeight": height,
        "uiComp": components,
        "uiBpcInMemory": bits,
        "uiBpcSignificant": bits,
        "uiSequenceCount": count,
        "eCompression": 0 if compress else 2,
    }
    planes = {
        f"a{number}": {
            "sDescription": name,
            "uiCompCount": components // len(channels),
            "pFluorescentProbe": {"m_sName": ""},
        }
        for number, name in enumerate(channels)
    }
    picture = {
        "bCalibrated": mpp is not None,
        "dCalibration": mpp or 0.0,
        "sPicturePlanes": {"uiCount": len(channels), "sPlaneNew": planes},
    }
    experiment: list[Any] = []
    for axis, length in reversed(loops.items()):
        experiment = [loop(axis, length, list(names), experiment)]
    chunks = {
        b"ImageAttributesLV!": packed(item("SLxImageAttributes", attributes)),
        b"ImageMetadataSeqLV|0!": packed(item("SLxPictureMetadata", picture)),
    }
    if experiment:
        chunks[b"ImageMetadataLV!"] = packed(item("SLxExperiment", experiment[0]))
    for number, frame in enumerate(frames):
        if number not in leave_out:
            data = frame.tobytes()
            pixels = zlib.compress(data) if compress else data
            chunks[f"ImageDataSeq|{number}!".encode()] = bytes(8) + pixels
    _write(path, chunks)


def _write(path: Path, chunks: dict[bytes, bytes]) -> None:
    out = bytearray(struct.pack("<IIQ", MAGIC, 32, 64) + FILE + b"Ver3.0".ljust(64, b"\0"))
    places = b""
    for name, data in chunks.items():
        places += name + struct.pack("<QQ", len(out), len(data))
        out += struct.pack("<IIQ", MAGIC, NAME_BYTES, len(data)) + name.ljust(NAME_BYTES, b"\0")
        out += data
    end = MAP_END + struct.pack("<Q", len(out))
    out += struct.pack("<IIQ", MAGIC, len(MAP_NAME), len(places) + len(end)) + MAP_NAME
    path.write_bytes(bytes(out) + places + end)
