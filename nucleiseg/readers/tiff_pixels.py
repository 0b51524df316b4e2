"""The pixels of one page of a TIFF file: all of them from the file, or an error.

tifffile knows how a strip or tile is decoded. They are put together here, since it would pass over
missing ones and stretch those that are too small.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from functools import partial
from typing import Any

import numpy as np
import tifffile

from nucleiseg.readers import codecs, jpeg, raw, tiff_lzw, tiff_streams, tiff_structure
from nucleiseg.readers.codecs import imagecodecs
from nucleiseg.readers.stack import Image, UnacceptedError, check_bytes, truncated

_PAGE_AXES = ("YX", "YXS", "SYX")
_GREY = ("MINISWHITE", "MINISBLACK")
_COLOURS = (*_GREY, "RGB", "PALETTE", "YCBCR")

_JPEG = ("JPEG", "ALT_JPEG", "JPEG_LOSSY")
_APERIO = ("APERIO_JP2000_YCBC", "APERIO_JP2000_RGB")
DECODED = (
    *("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PIXTIFF", "PACKBITS", "LZMA"),
    *("ZSTD", "ZSTD_DEPRECATED", "LERC", "PNG", "WEBP", "WEBP_DEPRECATED"),
    *("JPEG2000", "JPEG_2000_LOSSY", *_APERIO, "JPEGXL", "JPEGXL_DNG", "JPEGXR", "JPEGXR_NDPI"),
    *_JPEG,
)
"""Methods of compression that are read, by their names in tifffile. Left out: those that nothing
open decodes, old JPEG with its several readings, and fax, in which damage goes unnoticed."""

_PREDICTORS = (1, 2, 3, 34892, 34893, 34894, 34895)

_CHROMA_IN_RGB = np.array([(0, -5636, 29049), (22987, -11698, 0)], np.int32)
"""What Cb and Cr add to red, green and blue, in units of 2**-14: the factors that OpenCV has."""


def check_kind(page: tifffile.TiffPage) -> None:
    """Refuse a page whose strips or tiles are not read, whatever its size.

    Raises
    ------
    UnacceptedError
        Its colours, compression or arrangement is none that is accepted.
    """
    if page.planarconfig not in (1, 2):
        raise UnacceptedError(
            f"is damaged: its PlanarConfiguration is {page.planarconfig}; accepted are 1 and 2"
        )
    if page.axes not in _PAGE_AXES or page.imagedepth != 1 or page.tiledepth != 1:
        raise UnacceptedError(f"has the axes {page.axes}; accepted are {', '.join(_PAGE_AXES)}")
    if page.dtype is None or not isinstance(page.bitspersample, int):
        raise UnacceptedError(
            f"has {page.bitspersample} bits a sample in format {int(page.sampleformat)}; accepted "
            "are whole numbers and floats of one size"
        )
    _check_compression(page)
    _check_colours(page)
    if min(page.tilelength, page.tilewidth) < 1 if page.is_tiled else page.rowsperstrip < 1:
        raise UnacceptedError("is damaged: its strips or tiles are empty")
    if page.is_tiled:
        check_bytes(tiff_structure.segment_bytes(page, page.tilelength))


def _check_compression(page: tifffile.TiffPage) -> None:
    method = _method(page)
    if method not in DECODED:
        raise UnacceptedError(
            f"is compressed with {method}, which is not read; accepted are {', '.join(DECODED)}"
        )
    if page.predictor not in _PREDICTORS or page.fillorder not in (1, 2):
        raise UnacceptedError(
            f"is damaged: its Predictor is {page.predictor} and its FillOrder {page.fillorder}"
        )
    plain = page.compression == 1 and page.predictor == 1 and page.fillorder == 1
    if not (plain and page.bitspersample % 8 == 0):
        codecs.check(f"is compressed with {method}")


def _check_colours(page: tifffile.TiffPage) -> None:
    colours, method = _named(tifffile.PHOTOMETRIC, page.photometric), _method(page)
    if colours not in _COLOURS:
        raise UnacceptedError(f"has {colours} colours; accepted are {', '.join(_COLOURS)}")
    if method in _APERIO:
        # The codestream says how its colours are sampled; tifffile would refuse what the tag says.
        page.subsampling = (1, 1)
    elif colours == "YCBCR":
        # Decoders of JPEG make them RGB if there is nothing but colours, sample by sample.
        if method not in _JPEG or page.planarconfig != 1 or page.samplesperpixel != 3:
            raise UnacceptedError(
                f"has YCBCR colours, {page.samplesperpixel} samples compressed with {method}; "
                f"accepted are 3 of them with {', '.join(_JPEG)}"
            )
    elif page.is_subsampled and method not in _JPEG:
        raise UnacceptedError(f"has subsampled colours compressed with {method}")
    if colours == "PALETTE" and (page.axes != "YX" or not _has_palette(page)):
        raise UnacceptedError("is damaged: its palette is missing, or does not fit its pixels")


def _has_palette(page: tifffile.TiffPage) -> bool:
    palette = page.colormap
    whole = page.dtype is not None and page.dtype.kind in "bu"
    return whole and palette is not None and np.shape(palette) == (3, 1 << page.bitspersample)


def _method(page: tifffile.TiffPage) -> str:
    return _named(tifffile.COMPRESSION, page.compression)


def _named(kinds: type[IntEnum], value: int) -> str:
    try:
        return kinds(value).name
    except ValueError:
        return f"unknown ({value})"


def read(
    descriptor: int, size: int, page: tiff_structure.Page, keyframe: tifffile.TiffPage
) -> Image:
    """Return the pixels of a page as intensities, (H, W), (H, W, S) or (S, H, W).

    Parameters
    ----------
    descriptor, size
        Of the open file: its number and its bytes.
    page, keyframe
        What is read, and the page that says how it is stored; see `tiff_structure.layout`.

    Raises
    ------
    UnacceptedError
        A strip or tile is missing or damaged, or does not have the size that it should have.
    """
    tiff_structure.check_segments(page, keyframe, size)
    if _in_one_piece(page, keyframe):
        pixels = np.empty(keyframe.shape, stored_dtype(keyframe))
        raw.fill(descriptor, page.dataoffsets[0], pixels.reshape(-1).view(np.uint8).data)
    else:
        pixels = _decoded(descriptor, page, keyframe)
    return finished(page, keyframe, pixels.reshape(keyframe.shape))


def _decoded(descriptor: int, page: tiff_structure.Page, keyframe: tifffile.TiffPage) -> Image:
    pixels = np.empty(keyframe.shaped, keyframe.dtype)
    decode = partial(_segment, descriptor, page, keyframe, pixels)
    numbers = range(len(page.dataoffsets))
    assert callable(keyframe.decode)  # which is made when first used: not by several threads
    workers = min(keyframe.maxworkers, len(numbers))
    if workers > 1:
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(decode, numbers))
    else:
        list(map(decode, numbers))
    return pixels


def _segment(
    descriptor: int,
    page: tiff_structure.Page,
    keyframe: tifffile.TiffPage,
    pixels: Image,
    number: int,
) -> None:
    """Decode one strip or tile into its place."""
    place, count = page.dataoffsets[number], page.databytecounts[number]
    data = os.pread(descriptor, count, place)
    if len(data) < count:
        raise truncated(place + len(data), place + count)
    try:
        _, (sample, depth, row, column, _), _ = keyframe.decode(None, number)
        part = segment(keyframe, data, number, page.jpegtables)
        rows, columns = (slice(row, row + part.shape[1]), slice(column, column + part.shape[2]))
        pixels[sample, depth : depth + 1, rows, columns] = part
    except MemoryError:
        raise
    except Exception as error:
        kind = "tile" if keyframe.is_tiled else "strip"
        raise UnacceptedError(
            f"is damaged: {kind} {number} of page {page.index}, compressed with "
            f"{_method(keyframe)}: {str(error) or type(error).__name__}"
        ) from None


def _in_one_piece(page: tiff_structure.Page, keyframe: tifffile.TiffPage) -> bool:
    """Tell whether the pixels of a page lie in the file as they do in an array."""
    offsets, counts = page.dataoffsets, page.databytecounts
    ends = (begin + count for begin, count in zip(offsets, counts, strict=True))
    following = all(end == begin for end, begin in zip(ends, offsets[1:], strict=False))
    whole = len(offsets) == 1 or (following and sum(counts) == keyframe.nbytes)
    return whole and tiff_structure.is_plain(keyframe)


def stored_dtype(page: tifffile.TiffPage) -> np.dtype[Any]:
    """Return the type of the values in the byte order of the file."""
    dtype: np.dtype[Any] = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    return dtype


def segment(keyframe: tifffile.TiffPage, data: bytes, number: int, tables: bytes | None) -> Image:
    """Return the pixels of a strip or tile that lie on its page, (1, H, W, S).

    Parameters
    ----------
    keyframe
        That `check_kind` accepted.
    data
        Of the strip or tile, as stored.
    number
        Of the strip or tile.
    tables
        The page's JPEG tables.

    Raises
    ------
    Exception
        Of the library that decodes, or a `tiff_streams.StreamError`: the data are damaged.
    """
    _, (_, _, row, column, _), shape = keyframe.decode(None, number)
    here = min(shape[1], keyframe.imagelength - row), min(shape[2], keyframe.imagewidth - column)
    method = _method(keyframe)
    promised = tiff_streams.size(method, data)
    # Tiles at the edge, and the last strip, may have the full size or that of what is left.
    rows = keyframe.tilelength if keyframe.is_tiled else keyframe.rowsperstrip
    sizes = {here, shape[1:3], (rows, shape[2])}
    if promised and (promised[:2] not in sizes or promised[2] not in (0, shape[3])):
        raise tiff_streams.StreamError(
            f"it holds {promised[0]:,} x {promised[1]:,} pixels of {promised[2] or shape[3]} "
            f"values instead of {shape[1]:,} x {shape[2]:,} of {shape[3]}"
        )
    if method == "LZW":
        ordered = imagecodecs.bitorder_decode(data) if keyframe.fillorder == 2 else data
        if not tiff_lzw.is_sound(bytes(ordered)):
            raise tiff_streams.StreamError("a Clear code is not followed by a single byte")

    def decode(stored: bytes) -> Image:
        return np.asarray(keyframe.decode(stored, number, jpegtables=tables)[0])

    decoded = decode(data)
    if method in _JPEG:
        begin = jpeg.first_scan(data)[0]
        if not jpeg.is_complete(data, begin, decoded[0], lambda other: decode(other)[0]):
            raise tiff_streams.StreamError("data of its pixels are missing")
    part: Image = decoded[:, : here[0], : here[1]]
    if part.shape != (1, *here, shape[3]) or part.dtype != keyframe.dtype:
        raise tiff_streams.StreamError(
            f"it holds {part.dtype} values {part.shape[1:]} instead of {keyframe.dtype} "
            f"{(*here, shape[3])}"
        )
    if method == "APERIO_JP2000_YCBC" and part.shape[3] == 3 and part.dtype == np.uint8:
        part = _rgb(part, data)
    return part


def _rgb(part: Image, data: bytes) -> Image:
    """Return the colours of a tile of Aperio's method 33003, which holds Y, Cb, Cr."""
    if tiff_streams.is_rgb(data):
        return part
    chroma = part[..., 1:].astype(np.int32) - 128
    colours: Image = part[..., :1] + (chroma @ _CHROMA_IN_RGB + 2**13 >> 14)
    return colours.clip(0, 255).astype(np.uint8)


def finished(page: tiff_structure.Page, keyframe: tifffile.TiffPage, image: Image) -> Image:
    """Return intensities of stored values: palettes, bits, and a zero that is white."""
    if keyframe.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return _coloured(page, image)
    if keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        image = _inverted(image, keyframe.bitspersample)
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    return image


def _coloured(page: tiff_structure.Page, image: Image) -> Image:
    if isinstance(page, tifffile.TiffFrame):
        page = page.aspage()  # each page may have a palette of its own
    if not _has_palette(page):
        raise UnacceptedError(f"is damaged: page {page.index} has no palette that fits its pixels")
    palette = np.asarray(page.colormap)
    # Some programs write 8 bits where 16 are due, as libtiff knows, too.
    colours = palette >> 8 if palette.max() > 255 else palette
    if image.dtype == np.bool_:
        image = image.astype(np.uint8)
    return np.ascontiguousarray(colours.T.astype(np.uint8))[image]


def _inverted(image: Image, bits: int) -> Image:
    """Turn the order of the values round, exactly: within their bits, or around zero."""
    if image.dtype.kind == "f":
        return -image
    if image.dtype.kind == "u" and bits < 8 * image.itemsize:
        return np.subtract((1 << bits) - 1, image, dtype=image.dtype)
    return np.invert(image)
