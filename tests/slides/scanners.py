"""Small slides in the formats of scanners, of one level, as OpenSlide understands them.

Each function writes pixels, (H, W, 3) uint8, whose sides are whole tiles, as JPEG. What OpenSlide
asks for is in its sources, `openslide-vendor-*.c`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aperio
import numpy as np
import tifffile

SIDE = 512

_NDPI_FORMAT, _NDPI_LENS, _NDPI_FOCUS, _XMP = 65420, 65421, 65424, 700

_SCN = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:0">
<collection name="slide" uuid="urn:uuid:1" sizeX="{slide_width}" sizeY="{slide_height}">
<barcode>MA==</barcode>
<image name="main" uuid="urn:uuid:2">
<creationDate>2012-01-01T00:00:00Z</creationDate>
<device model="Leica SCN400;Leica SCN" version="1.0"/>
<pixels sizeX="{width}" sizeY="{height}">
<dimension sizeX="{width}" sizeY="{height}" r="0" ifd="0"/></pixels>
<view sizeX="{nm_width}" sizeY="{nm_height}" offsetX="{nm_left}" offsetY="{nm_top}"/>
<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>
<illuminationSettings><numericalAperture>0.4</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>
</image></collection></scn>"""

_ISCAN = '<?xml version="1.0"?><Metadata><iScan Magnification="20" ScanRes="{mpp}"/></Metadata>'

_BIF = """<?xml version="1.0"?><EncodeInfo Ver="2"><SlideInfo/><SlideStitchInfo>
<ImageInfo AOIScanned="1" AOIIndex="0" Width="{side}" Height="{side}" NumRows="{rows}"
NumCols="{columns}" Pos-X="0" Pos-Y="0">{joints}</ImageInfo></SlideStitchInfo>
<AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>"""

_JOINT = (
    '<TileJointInfo FlagJoined="1" Confidence="100" Direction="{}" Tile1="{}" Tile2="{}" '
    'OverlapX="0" OverlapY="0"/>'
)

_MRXS = """[GENERAL]
SLIDE_VERSION = 01.02
SLIDE_ID = {identity}
IMAGENUMBER_X = {columns}
IMAGENUMBER_Y = {rows}
OBJECTIVE_MAGNIFICATION = 20
CameraImageDivisionsPerSide = 1
[HIERARCHICAL]
HIER_COUNT = 1
NONHIER_COUNT = 0
INDEXFILE = Index.dat
HIER_0_NAME = Slide zoom level
HIER_0_COUNT = 1
HIER_0_SECTION = LAYER_0
HIER_0_VAL_0 = ZoomLevel_0
HIER_0_VAL_0_SECTION = LAYER_0_LEVEL_0_SECTION
[DATAFILE]
FILE_COUNT = 1
FILE_0 = Data0000.dat
[LAYER_0_LEVEL_0_SECTION]
OVERLAP_X = 0
OVERLAP_Y = 0
MICROMETER_PER_PIXEL_X = {mpp}
MICROMETER_PER_PIXEL_Y = {mpp}
IMAGE_FORMAT = JPEG
IMAGE_FILL_COLOR_BGR = 16777215
DIGITIZER_WIDTH = {side}
DIGITIZER_HEIGHT = {side}
IMAGE_CONCAT_FACTOR = 0
"""


def write_ndpi(path: Path, pixels: np.ndarray, mpp: float) -> None:
    """Write Hamamatsu's NDPI: all pixels are one JPEG."""
    tags = [(_NDPI_FORMAT, 4, 1, 1, True), (_NDPI_LENS, 11, 1, 20.0, True)]
    tags.append((_NDPI_FOCUS, 9, 1, 0, True))
    with tifffile.TiffWriter(path) as file:
        data = iter([aperio.encoded(pixels)])
        file.write(
            data, **_jpeg(pixels), **_resolution(mpp), rowsperstrip=len(pixels), extratags=tags
        )


def write_scn(path: Path, pixels: np.ndarray, mpp: float, left: int, top: int) -> None:
    """Write Leica's SCN, on a slide of twice the size that begins further left and higher."""
    height, width = pixels.shape[:2]
    nm = round(mpp * 1000)
    words = _SCN.format(
        **{"width": width, "height": height, "nm_width": width * nm, "nm_height": height * nm},
        **{"slide_width": 2 * width * nm, "slide_height": 2 * height * nm},
        **{"nm_left": left * nm, "nm_top": top * nm},
    )
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(_tiles(pixels), **_tiled(pixels), **_resolution(mpp), description=words)


def write_bif(path: Path, pixels: np.ndarray, mpp: float) -> None:
    """Write Ventana's BIF: a picture of the label, and tiles whose joints it describes."""
    rows, columns = (side // SIDE for side in pixels.shape[:2])

    def number(row: int, column: int) -> int:
        """From the lowest row up, there and back, from 1."""
        up = rows - 1 - row
        return up * columns + (columns - 1 - column if up % 2 else column) + 1

    joints = [
        _JOINT.format("RIGHT", number(row, column), number(row, column + 1))
        for row in range(rows)
        for column in range(columns - 1)
    ]
    joints += [
        _JOINT.format("UP", number(row + 1, column), number(row, column))
        for row in range(rows - 1)
        for column in range(columns)
    ]
    words = _BIF.format(side=SIDE, rows=rows, columns=columns, joints="".join(joints))
    label = np.full((64, 64, 3), 255, np.uint8)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(
            label,
            photometric="rgb",
            description="Label_Image",
            extratags=[_xmp(_ISCAN.format(mpp=mpp))],
            metadata=None,
        )
        file.write(
            _tiles(pixels),
            **_tiled(pixels),
            description="level=0 mag=20 quality=90",
            extratags=[_xmp(words)],
        )


def write_mrxs(path: Path, pixels: np.ndarray, mpp: float) -> None:
    """Write 3DHISTECH's MRXS: a small picture, and beside it a folder with everything else."""
    folder = path.with_suffix("")
    folder.mkdir()
    rows, columns = (side // SIDE for side in pixels.shape[:2])
    identity = "0123456789ABCDEF" * 2
    words = _MRXS.format(identity=identity, rows=rows, columns=columns, mpp=mpp, side=SIDE)
    (folder / "Slidedat.ini").write_bytes(words.replace("\n", "\r\n").encode("utf-8-sig"))
    data, entries = b"", b""
    for index, tile in enumerate(_tiles(pixels)):
        entries += struct.pack("<4i", index, len(data), len(tile), 0)
        data += tile
    (folder / "Data0000.dat").write_bytes(data)
    head = f"01.02{identity}".encode()
    # Where the list of levels is, and of other data (none); then that of the only level's pages,
    # of which the first is empty; and the page.
    levels = len(head) + 8
    index = head + struct.pack("<2i", levels, 0) + struct.pack("<i", levels + 4)
    index += struct.pack("<2i", 0, levels + 12) + struct.pack("<2i", rows * columns, 0) + entries
    (folder / "Index.dat").write_bytes(index)
    path.write_bytes(aperio.encoded(pixels[:64, :64]))


def _tiles(pixels: np.ndarray) -> Iterator[bytes]:
    for row in range(0, pixels.shape[0], SIDE):
        for column in range(0, pixels.shape[1], SIDE):
            yield aperio.encoded(pixels[row : row + SIDE, column : column + SIDE])


def _jpeg(pixels: np.ndarray) -> dict[str, Any]:
    return {
        "shape": pixels.shape,
        "dtype": np.uint8,
        "photometric": "ycbcr",
        "subsampling": (1, 1),
        "compression": "jpeg",
        "metadata": None,
        "software": False,
    }


def _tiled(pixels: np.ndarray) -> dict[str, Any]:
    return {**_jpeg(pixels), "tile": (SIDE, SIDE)}


def _resolution(mpp: float) -> dict[str, Any]:
    return {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}


def _xmp(words: str) -> tuple[int, int, int, bytes, bool]:
    return (_XMP, 7, len(words), words.encode(), True)
