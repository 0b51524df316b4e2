"""What is fuzzed of the formats that microscopes write: ND2, CZI, LIF, DICOM, plates of OME-Zarr.

The seeds come from the writers of the readers' tests. Those whose library is not installed raise
ImportError.
"""

from __future__ import annotations

import re
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import imagecodecs
import mutate
import numpy as np
from mutate import Files

sys.path.append(str(Path(__file__).parents[1] / "cpu"))

_JPEG_XR = 4
"""The number of this compression in an entry of a CZI."""

_LIF_TEXT = 13
"""Where the XML of a LIF file begins; four bytes before it is the number of its characters."""


def written(name: str, write: Callable[..., None], *arguments: Any, **options: Any) -> Files:
    """Return what a writer makes at a path of that name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path, *arguments, **options)
        files = sorted(file for file in path.rglob("*") if file.is_file()) or [path]
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def ramp(*shape: int, dtype: type = np.uint16) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def nd2s(packed: Callable[[bytes], bytes] | None = None) -> list[Files]:
    """Return ND2 files: a series of everything, one compressed, one of packed metadata, one RGB."""
    import nd2_writer

    every: dict[str, Any] = {"channels": ("DAPI", "GFP"), "names": ("a", "b")}
    loops = {"T": 1, "P": 2, "Z": 2}
    ways: list[tuple[tuple[Any, Any], dict[str, Any]]] = [
        ((ramp(4, 6, 7, 2), loops), every),
        ((ramp(4, 6, 7, 2), loops), {**every, "compress": True}),
        ((ramp(1, 6, 7, 1), {}), {"packed": nd2_writer.compressed}),
        ((ramp(1, 6, 7, 3, dtype=np.uint8), {}), {"channels": ("RGB",)}),
    ]
    changed = {"packed": packed} if packed else {}
    return [
        written("a.nd2", nd2_writer.write, *given, **{**options, **changed})
        for given, options in ways
    ]


def change_nd2(rng: Random, files: Files) -> Files:
    """Change the file, or its metadata before they are laid out, so that the map stays right."""
    import nd2_writer

    if rng.random() < 0.5:
        return {"a.nd2": mutate.filled(rng, files["a.nd2"])}
    steps = [mutate.anything, mutate.filled]
    pack = rng.choice((bytes, nd2_writer.compressed))
    return rng.choice(nd2s(lambda data: pack(rng.choice(steps)(rng, data))))


def in_jpeg_xr(data: bytes) -> bytes:
    """Return an uncompressed CZI of uint8 in JPEG XR, which libCZI does not write."""
    changed = bytearray(data)
    for tile in re.finditer(b"ZISRAWSUBBLOCK", data):
        (metadata,), (count,) = (
            struct.unpack_from("<i", data, tile.start() + at) for at in (32, 76)
        )
        sizes = [struct.unpack_from("<i", data, tile.start() + 88 + 20 * at)[0] for at in (0, 1)]
        begin = tile.start() + 32 + max(256, 48 + 20 * count) + metadata
        pixels = np.frombuffer(data, np.uint8, sizes[0] * sizes[1], begin).reshape(sizes[::-1])
        coded = imagecodecs.jpegxr_encode(pixels // 4, level=0.9)
        assert len(coded) <= pixels.size
        changed[begin : begin + len(coded)] = coded
        struct.pack_into("<q", changed, tile.start() + 40, len(coded))
    for entry in re.finditer(rb"DV(?=[\0-\x20])", data):
        struct.pack_into("<i", changed, entry.start() + 18, _JPEG_XR)
    return bytes(changed)


def czis() -> list[Files]:
    import czi_writer

    def one(*shape: int, compression: str | None = None, dtype: type = np.uint16) -> Files:
        pixels = ramp(*shape, dtype=dtype)
        ((name, data),) = written(
            "a.czi", czi_writer.write, pixels, compression=compression
        ).items()
        # Identifiers that would be others in each process.
        data = re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"0" * 36, data)
        return {name: data[:48] + bytes(32) + data[80:]}

    return [
        one(2, 1, 2, 40, 50, 1),
        one(1, 2, 1, 40, 50, 1, compression="zstd1:ExplicitLevel=2"),
        one(1, 1, 1, 40, 50, 1, compression="zstd0:ExplicitLevel=2"),
        one(1, 1, 1, 40, 50, 3, dtype=np.uint8),
        {name: in_jpeg_xr(data) for name, data in one(1, 1, 1, 40, 50, 1, dtype=np.uint8).items()},
    ]


def change_czi(rng: Random, files: Files) -> Files:
    """Change segments' headers, entries of the directory, the XML or anything."""
    data = files["a.czi"]
    action = rng.random()
    if action < 0.2:
        return {"a.czi": mutate.filled(rng, data)}
    if action < 0.4:
        return {"a.czi": mutate.text_numbers(rng, data)}
    marks = rng.choice(
        (rb"ZISRAW[A-Z]+", rb"DV(?=[\0-\x20])", rb"[XYZCTSM]\0{3}", rb"II\xbc|WMPHOTO")
    )
    places = [found.end() for found in re.finditer(marks, data)] or [0]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.choice(places) + rng.randrange(32)
        size = rng.choice((1, 2, 4, 4, 8))
        value = rng.choice((*mutate.NUMBERS, -1, -100, rng.randrange(300)))
        changed[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    return {"a.czi": bytes(changed)}


def lifs() -> list[Files]:
    import lif_writer

    images = {
        "Series 1": ("TZCYX", ramp(2, 2, 2, 6, 7)),
        "a/rgb": ("YXS", ramp(6, 7, 3, dtype=np.uint8)),
        "tiles": ("MYX", ramp(2, 6, 7)),
    }
    return [
        written("a.lif", lif_writer.write, images),
        written("a.lif", lif_writer.write, {"one": ("YX", ramp(6, 7))}),
    ]


def change_lif(rng: Random, files: Files) -> Files:
    """Change the XML and write its right length, or anything."""
    data = files["a.lif"]
    if rng.random() < 0.4:
        return {"a.lif": mutate.filled(rng, data)}
    end = _LIF_TEXT + 2 * int.from_bytes(data[9:13], "little")
    text = data[_LIF_TEXT:end].decode("utf-16-le").encode()
    change = rng.choice((mutate.text_numbers, mutate.text_numbers, mutate.anything))
    coded = change(rng, text).decode(errors="replace").encode("utf-16-le")
    sizes = [
        (len(coded) + 5).to_bytes(4, "little"),
        b"\x2a",
        (len(coded) // 2).to_bytes(4, "little"),
    ]
    return {"a.lif": data[:4] + b"".join(sizes) + coded + data[end:]}


def dicoms() -> list[Files]:
    """Return frames of each transfer syntax, and a stack, whose axis the reader is told."""
    import dicom_writer

    grey, rgb = ramp(6, 7), ramp(16, 16, 3, dtype=np.uint8)
    jpeg = imagecodecs.jpeg8_encode(rgb, 95)
    stack = ramp(2, 16, 16)
    j2k = [imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K") for frame in stack]
    syntax = "1.2.840.10008.1.2.4."
    ybr = {"PhotometricInterpretation": "YBR_FULL_422"}
    return [
        written("a.dcm", dicom_writer.write, grey, PixelSpacing=["0.0005", "0.0005"]),
        written("a.dcm", dicom_writer.write, grey, PhotometricInterpretation="MONOCHROME1"),
        written("a.dcm", dicom_writer.write, rgb),
        written("a.dcm", dicom_writer.write, rgb, encoded=[jpeg], syntax=syntax + "50", **ybr),
        written("stack.dcm", dicom_writer.write, stack, encoded=j2k, syntax=syntax + "90"),
        written("stack.dcm", dicom_writer.write, stack),
    ]


def plates() -> list[Files]:
    import plate_writer
    from ome_zarr.format import FormatV04, FormatV05

    made = []
    for version in (FormatV04, FormatV05):
        files = written("a.zarr", plate_writer.write, ramp(3, 1, 6, 7), version)
        made.append(files)
    return made
