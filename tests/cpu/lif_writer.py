"""Small LIF files as LAS X lays them out (version 2): XML, and blocks of pixels."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "M": 10}


def write(
    path: Path,
    images: dict[str, tuple[str, np.ndarray]],
    *,
    mpp: float = 0.325,
    colours: tuple[str, ...] = ("Blue", "Green"),
    inside: str = "",
) -> None:
    """Write images by their names, each with its axes, such as ``"TZCYX"`` or ``"YXS"``.

    Parameters
    ----------
    colours
        Names of the channels.
    inside
        XML that is put beside the images.
    """
    elements = "".join(
        _element(number, name, axes, pixels, mpp, colours)
        for number, (name, (axes, pixels)) in enumerate(images.items())
    )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="project"><Data/>'
        f"<Children>{elements}{inside}</Children></Element></LMSDataContainerHeader>"
    )
    out = _block(struct.pack("<BI", 0x2A, len(xml)) + xml.encode("utf-16-le"))
    for number, (_, pixels) in enumerate(images.values()):
        name = f"MemBlock_{number}"
        head = struct.pack("<BQBI", 0x2A, pixels.nbytes, 0x2A, len(name))
        out += _block(head + name.encode("utf-16-le")) + pixels.tobytes()
    path.write_bytes(out)


def _block(data: bytes) -> bytes:
    return struct.pack("<II", 0x70, len(data)) + data


def _element(
    number: int, name: str, axes: str, pixels: np.ndarray, mpp: float, colours: tuple[str, ...]
) -> str:
    steps = dict(zip(axes, pixels.strides, strict=True))
    lengths = dict(zip(axes, pixels.shape, strict=True))
    channel_axis = next((axis for axis in "CS" if axis in axes), None)
    count = lengths[channel_axis] if channel_axis else 1
    tags = (1, 2, 3) if channel_axis == "S" else (0,) * count
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="{tags[place]}" '
        f'Resolution="{8 * pixels.itemsize}" NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" '
        f'LUTName={quoteattr(colours[place % len(colours)])} IsLUTInverted="0" '
        f'BytesInc="{place * steps.get(channel_axis, 0)}" BitInc="0"/>'
        for place in range(count)
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{DIMENSIONS[axis]}" NumberOfElements="{lengths[axis]}" '
        f'Origin="0" Length="{(lengths[axis] - 1) * mpp * 1e-6}" Unit="m" '
        f'BytesInc="{steps[axis]}" BitInc="0"/>'
        for axis in reversed(axes)
        if axis in DIMENSIONS
    )
    return (
        f"<Element Name={quoteattr(name)}><Data><Image><ImageDescription>"
        f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
        f"</ImageDescription></Image></Data>"
        f'<Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
    )
