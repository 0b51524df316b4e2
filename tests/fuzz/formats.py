"""What is fuzzed: for each format its seeds, its mutator, and how a result is read."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
import re
import signal
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import cv2
import microscopes
import mutate
import numpy as np
import tifffile
from mutate import Files

from nucleiseg import ModelError, Segmenter, images
from nucleiseg.model import Model

CORPUS = Path(__file__).parent / "corpus"
MOST_PLANES = 8
CHANNELS = 16  # of the layers of a small copy of the model


@dataclass(frozen=True)
class Format:
    """A kind of input.

    Parameters
    ----------
    seeds
        Makes the inputs that are changed.
    change
        Gives a changed input.
    read
        Reads the input of a path, and gives a digest of all that came of it.
    """

    seeds: Callable[[], list[Files]]
    change: Callable[[Random, Files], Files]
    read: Callable[[Path], str]


def picture(height: int = 24, width: int = 32, channels: int = 3) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    values = np.stack([rows * 7, columns * 5, rows * columns], axis=2)[..., :channels]
    return np.squeeze((values % 251).astype(np.uint8))


def encoded(suffix: str, *options: int) -> list[Files]:
    shapes = [picture(), picture(channels=1)]
    return [{f"a{suffix}": cv2.imencode(suffix, one, options)[1].tobytes()} for one in shapes]


def pngs() -> list[Files]:
    colours = mutate.png_chunk(b"PLTE", bytes(range(192)))
    rows = zlib_rows(picture(channels=1) % 64)
    header = b"\0\0\0\x20\0\0\0\x18\x08\x03\0\0\0"
    palette = mutate.png_chunk(b"IHDR", header) + colours + mutate.png_chunk(b"IDAT", rows)
    deep = cv2.imencode(".png", picture().astype(np.uint16) * 257)[1].tobytes()
    made = [{"a.png": b"\x89PNG\r\n\x1a\n" + palette + mutate.png_chunk(b"IEND", b"")}]
    return [*encoded(".png"), {"a.png": deep}, *made]


def zlib_rows(image: np.ndarray) -> bytes:
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in image))


def tiff(image: np.ndarray, **options: Any) -> Files:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    # OME's identifier would be another one in each process.
    uuid = rb"urn:uuid:[0-9a-f-]{36}"
    return {"a.tif": re.sub(uuid, b"urn:uuid:" + b"0" * 36, file.getvalue())}


def tiffs() -> list[Files]:
    tiles = {"tile": (16, 16), "photometric": "rgb"}
    ways: list[dict[str, Any]] = [
        {"photometric": "rgb", "rowsperstrip": 8},
        {"photometric": "rgb", "compression": "lzw", "predictor": True},
        {"photometric": "rgb", "planarconfig": "separate", "bigtiff": True},
        {**tiles, "compression": "zlib"},
        {**tiles, "compression": "jpeg"},
        {**tiles, "byteorder": ">"},
        {**tiles, "byteorder": ">", "bigtiff": True},
    ]
    made = []
    for way in ways:
        planar = way.get("planarconfig") == "separate"
        made.append(tiff(np.moveaxis(picture(), 2, 0).copy() if planar else picture(), **way))
    stack = np.stack([picture(channels=1).astype(np.uint16)] * 3)
    return [*made, tiff(stack, photometric="minisblack", metadata={"axes": "ZYX"})]


def omes() -> list[Files]:
    stack = np.arange(2 * 2 * 2 * 8 * 9, dtype=np.uint16).reshape(2, 2, 2, 8, 9)
    metadata = {"axes": "TCZYX", "Channel": {"Name": ["DAPI", "GFP"]}, "PhysicalSizeX": 0.3}
    plain = tiff(stack, ome=True, photometric="minisblack", metadata=metadata)
    return [
        plain,
        tiff(stack, ome=True, photometric="minisblack", metadata=metadata, compression="zlib"),
    ]


def imagejs() -> list[Files]:
    stack = np.arange(2 * 2 * 8 * 9, dtype=np.uint16).reshape(2, 2, 8, 9)
    return [tiff(stack, imagej=True, metadata={"axes": axes}) for axes in ("TZYX", "ZCYX")]


def npys() -> list[Files]:
    made = []
    for array in (picture(), picture(channels=1).astype(">f8"), np.zeros((3, 4, 5), np.int64)):
        file = io.BytesIO()
        np.save(file, array)
        made.append({"a.npy": file.getvalue()})
    return made


def zarrs() -> list[Files]:
    import zarr

    made = []
    versions = (2, 3) if not zarr.__version__.startswith("2.") else (2,)
    for version in versions:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.zarr"
            options = {"zarr_format": version} if len(versions) > 1 else {}
            array = zarr.open_array(
                str(path), mode="w", shape=(9, 10), chunks=(4, 4), dtype="u2", **options
            )
            array[...] = picture(9, 10, 1)
            files = sorted(file for file in path.rglob("*") if file.is_file())
            names = [file.relative_to(folder) for file in files]
            made.append({str(name): (Path(folder) / name).read_bytes() for name in names})
    return made


@functools.cache
def small_model() -> tuple[bytes, bytes]:
    """Return the model with few channels, a fortieth of its size, and its JSON."""
    import onnx

    path = Model.load("nuclei-fast").path
    graph = onnx.load(path)
    for tensor in graph.graph.initializer:
        few = few_channels(tensor.name, onnx.numpy_helper.to_array(tensor))
        tensor.CopyFrom(onnx.numpy_helper.from_array(few, tensor.name))
    return graph.SerializeToString(), path.with_suffix(".json").read_bytes()


def few_channels(name: str, values: np.ndarray) -> np.ndarray:
    """Cut a constant to few channels."""
    if name.endswith(("_factor", "_offset")):
        places = 4 if name.startswith("grow") else 1
        return values.reshape(1, places, -1)[..., :CHANNELS].reshape(1, -1, 1, 1)
    if name.startswith("grow") and values.ndim:  # of each of 2 x 2 pixels
        pixels = values.reshape(4, -1, *values.shape[1:])[:, :CHANNELS]
        values = pixels.reshape(4 * CHANNELS, *values.shape[1:])
        return np.ascontiguousarray(values[:, :CHANNELS] if values.ndim > 1 else values)
    if name.startswith("up") and values.ndim > 1:  # of two tensors
        return np.ascontiguousarray(values[:CHANNELS, : 2 * CHANNELS])
    return values[tuple(slice(CHANNELS) for _ in values.shape)]


def described(content: bytes, about: bytes) -> Files:
    """Return a model whose description has the right checksum."""
    known = json.loads(about)["sha256"].encode()
    return {
        "a.onnx": content,
        "a.json": about.replace(known, hashlib.sha256(content).hexdigest().encode()),
    }


def models() -> list[Files]:
    return [described(*small_model())]


def change_first(mutator: mutate.Mutator) -> Callable[[Random, Files], Files]:
    def change(rng: Random, files: Files) -> Files:
        (name, data), *_ = files.items()
        return {name: mutator(rng, data)}

    return change


def change_zarr(rng: Random, files: Files) -> Files:
    changed = dict(files)
    name = rng.choice(list(files))
    if rng.random() < 0.05:
        del changed[name]
    else:
        steps = [mutate.anything]
        if files[name][:1] == b"{":
            steps = [mutate.anything, change_json, mutate.text_numbers]
        changed[name] = rng.choice(steps)(rng, files[name])
    return changed


def change_json(rng: Random, data: bytes) -> bytes:
    """Replace an entry, at any depth, by a value of any kind."""
    values: list[Any] = [None, True, "", "\ud800", [], {}, [[]], float("nan"), -1, 0.5, "1"]
    values += [*mutate.NUMBERS, 1e308, "a" * 5000, [1, 2, 3], ["a"] * 3]
    content = json.loads(data)
    for _ in range(rng.choice((1, 1, 2))):
        at = content
        for _ in range(rng.randrange(4)):
            inner = at.values() if isinstance(at, dict) else at
            deeper = [one for one in inner if isinstance(one, dict | list) and one]
            at = rng.choice(deeper) if deeper else at
        if not at:
            break
        key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
        if isinstance(at, dict) and rng.random() < 0.2 and len(at) > 1:
            del at[key]
        else:
            at[key] = rng.choice(values)
    text = json.dumps(content)
    return (text if rng.random() < 0.95 else "[" * 100_000 + text).encode()


def change_description(rng: Random, files: Files) -> Files:
    change = rng.choice((change_json, change_json, mutate.anything, mutate.text_numbers))
    return {"a.onnx": files["a.onnx"], "a.json": change(rng, files["a.json"])}


def change_network(rng: Random, files: Files) -> Files:
    """Change the graph's messages one by one, and give the description the right checksum."""
    if rng.random() < 0.3:
        return described(mutate.anything(rng, files["a.onnx"]), files["a.json"])
    import onnx

    graph = onnx.ModelProto.FromString(files["a.onnx"])
    for _ in range(rng.choice((1, 1, 2, 3))):
        change_message(rng, rng.choice((graph, graph.graph, *graph.graph.node)))
        change_message(rng, rng.choice(graph.graph.initializer or [graph.graph]))
    return described(graph.SerializeToString(), files["a.json"])


def change_message(rng: Random, message: Any) -> None:
    fields = [(one, value) for one, value in message.ListFields()]
    if not fields or rng.random() < 0.3:
        return
    field, value = rng.choice(fields)
    repeated = not isinstance(value, bytes | str | int | float) and hasattr(value, "__len__")
    if repeated and len(value) and rng.random() < 0.8:
        at = rng.randrange(len(value))
        if field.type == field.TYPE_MESSAGE:
            if rng.random() < 0.6:
                change_message(rng, value[at])
            elif rng.random() < 0.5:
                value.add().CopyFrom(rng.choice(value))
            else:
                del value[at]
        else:
            with contextlib.suppress(ValueError):
                value[at] = another(rng, value[at])
    elif repeated or field.type == field.TYPE_MESSAGE:
        message.ClearField(field.name)
    else:
        with contextlib.suppress(ValueError):  # a number that the field's kind does not have
            setattr(message, field.name, another(rng, value))


def another(rng: Random, value: Any) -> Any:
    if isinstance(value, bytes):
        return mutate.anything(rng, value)
    if isinstance(value, str):
        return rng.choice((value[:-1], value + "x", "", "cells", "image", "Conv", "a" * 3000))
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e-40))
    return rng.choice((0, 1, 2, 3, 6, 7, 10, 16, 100, 2**31 - 1))


def read_image(path: Path, **wanted: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    planes = images.open(path, **wanted)
    for plane in itertools.islice(planes, MOST_PLANES):
        digest.update(f"{plane.array.shape} {plane.array.dtype} {plane.mpp}".encode())
        digest.update(plane.array)
    return digest.hexdigest()


def read_stack(path: Path) -> str:
    """Read one channel; where that cannot be, for want of channels, the whole."""
    return read_image(path, channel=0, z="all", frame="all")


def read_images(path: Path) -> str:
    """Read one channel of every image of a file."""
    return read_image(path, channel=0, z="all", frame="all", series="all")


def read_dicom(path: Path) -> str:
    return read_image(path, **({"axes": "ZYX", "z": "all"} if path.stem == "stack" else {}))


def read_model(path: Path) -> str:
    labels = Segmenter(path, device="cpu", threads=1).segment(picture(40, 48), "maps", scale=1)
    return hashlib.blake2b(labels, digest_size=8).hexdigest()


def read_any(path: Path) -> str:
    return read_model(path) if path.suffix == ".onnx" else read_stack(path)


def read_faulty(path: Path) -> str:
    """Do what a reader must not, one thing for each name: what the harness has to notice."""
    number, start = int(path.stem), time.process_time()
    if number == 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    while number == 1 or (number == 4 and time.process_time() < start + 1.5):
        pass
    if number == 2:
        np.zeros(2**31, np.uint8)
    return hashlib.sha256(np.empty(10_000, np.uint8) if number == 3 else b"").hexdigest()


def corpus() -> list[Files]:
    """Return the files that were once crashes, hangs or wrong pictures."""
    made = [{path.name: path.read_bytes()} for path in sorted(CORPUS.iterdir())]
    content = b"\xff" * 1_000_000 + b"\1"  # a number of a million bytes
    return [*made, described(content, small_model()[1])]


FORMATS = {
    "png": Format(pngs, change_first(mutate.png), read_image),
    "jpeg": Format(
        lambda: encoded(".jpg") + encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        change_first(mutate.jpeg),
        read_image,
    ),
    "bmp": Format(lambda: encoded(".bmp"), change_first(mutate.anything), read_image),
    "webp": Format(
        lambda: encoded(".webp") + encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
        change_first(mutate.anything),
        read_image,
    ),
    "tiff": Format(tiffs, change_first(mutate.tiff), read_image),
    "ome": Format(omes, change_first(mutate.ome), read_stack),
    "imagej": Format(
        imagejs,
        change_first(lambda rng, data: rng.choice((mutate.tiff, mutate.text_numbers))(rng, data)),
        read_stack,
    ),
    "npy": Format(npys, change_first(mutate.npy), read_image),
    "zarr": Format(zarrs, change_zarr, read_image),
    "nd2": Format(microscopes.nd2s, microscopes.change_nd2, read_images),
    "czi": Format(microscopes.czis, microscopes.change_czi, read_images),
    "lif": Format(microscopes.lifs, microscopes.change_lif, read_images),
    "dicom": Format(microscopes.dicoms, change_first(mutate.filled), read_dicom),
    "plate": Format(microscopes.plates, change_zarr, read_images),
    "onnx": Format(models, change_network, read_model),
    "json": Format(models, change_description, read_model),
    "faulty": Format(
        lambda: [{f"{number}.bin": b""} for number in range(6)],
        lambda rng, files: files,
        read_faulty,
    ),
    "corpus": Format(corpus, lambda rng, files: files, read_any),
}


@functools.cache
def seeds(name: str) -> list[Files]:
    return FORMATS[name].seeds()


def made(name: str, seed: int, index: int) -> Files:
    """Return an input: the seeds one after the other, and then changed ones."""
    known = seeds(name)
    files = known[index % len(known)]
    if index < len(known):
        return files
    return FORMATS[name].change(Random(f"{name} {seed} {index}"), files)


def reading(name: str, path: Path) -> tuple[str, str]:
    """Read an input: what became of it, ``"read"``, ``"refused"`` or ``"error"``, and details."""
    try:
        return "read", FORMATS[name].read(path)
    except ModelError as error:
        return ("refused" if str(error).startswith("model: ") else "error"), repr(error)
    except (ValueError, OSError) as error:
        return ("refused" if str(path) in str(error) else "error"), repr(error)
    except Exception as error:
        return "error", repr(error)
