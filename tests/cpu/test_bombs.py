"""Files that promise little and yield much, or that change or end while they are read."""

import os
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile

from nucleiseg import images
from nucleiseg.readers import zarr_bounds

IMAGES = Path(__file__).parents[1] / "data" / "images"
CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
GROWN = 96 << 20
"""Bytes that a chunk or strip yields where 4,096 are promised."""
MOST = 48 << 20
"""Bytes of memory that refusing it may take."""


def refused_in_little_memory(path, words):
    """Read in a process of its own, whose greatest use of memory is that of this file."""
    code = f"""
    import numpy as np
    from nucleiseg import images
    try:
        import zarr, zarr.abc.store
        zarr.array(np.zeros((4, 4), np.uint8))[:]
    except ImportError:
        pass
    def peak():
        # That of the program: ru_maxrss begins with what the process had that started it.
        rows = open("/proc/self/status").read().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM")) << 10
    images.hush()
    before = peak()
    try:
        image = images.read({str(path)!r})
        print("read", image.shape)
    except ValueError as error:
        print(error)
    print(peak() - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said, grown = done.stdout.strip().split("\n")
    assert words in said
    assert int(grown) < MOST, said


def zarr_array(path, zarr_format, **options):
    zarr = pytest.importorskip("zarr", minversion="3")
    array = zarr.create_array(
        path, shape=(128, 128), dtype=np.uint8, zarr_format=zarr_format, **options
    )
    array[...] = np.arange(128 * 128).reshape(128, 128) % 251
    return array


def codecs():
    zarr = pytest.importorskip("zarr", minversion="3")
    numcodecs = pytest.importorskip("numcodecs")
    two = {
        "zlib": numcodecs.Zlib(9), "gzip": numcodecs.GZip(9), "zstd": numcodecs.Zstd(3),
        "lz4": numcodecs.LZ4(), "bz2": numcodecs.BZ2(9), "lzma": numcodecs.LZMA(),
        "blosc": numcodecs.Blosc("zstd"),
    }  # fmt: skip
    three = {"gzip": zarr.codecs.GzipCodec(), "zstd": zarr.codecs.ZstdCodec(),
             "blosc": zarr.codecs.BloscCodec()}  # fmt: skip
    return {2: two, 3: three}


def chunk_file(folder):
    """Return the file of the first chunk."""
    (found,) = [path for name in ("0.0", "c/0/0") if (path := folder / name).is_file()]
    return found


ZARR = [(2, name) for name in zarr_bounds._SIZES] + [
    (3, name) for name in ("gzip", "zstd", "blosc")
]


@pytest.mark.parametrize(("version", "name"), ZARR)
def test_a_zarr_chunk_that_yields_far_more_is_refused_before_it_does(tmp_path, version, name):
    codec = codecs()[version][name]
    zarr_array(tmp_path / "a.zarr", version, chunks=(64, 64), compressors=[codec])
    assert images.read(tmp_path / "a.zarr").shape == (128, 128)
    encode = codecs()[2][name].encode
    chunk_file(tmp_path / "a.zarr").write_bytes(encode(np.zeros(GROWN, np.uint8)))
    refused_in_little_memory(tmp_path / "a.zarr", "yields more than the 98,304 that are accepted")


@pytest.mark.parametrize("kept", [9, 16, 1000])
def test_a_blosc_chunk_that_is_cut_off_is_an_error_and_not_what_memory_held(tmp_path, kept):
    codec = codecs()[2]["blosc"]
    zarr_array(tmp_path / "a.zarr", 2, chunks=(64, 64), compressors=[codec])
    path = chunk_file(tmp_path / "a.zarr")
    noise = np.random.default_rng(1).integers(0, 255, 64 * 64, np.uint8)
    path.write_bytes(codec.encode(noise))  # stored as it is, behind a header
    assert images.read(tmp_path / "a.zarr").shape == (128, 128)
    os.truncate(path, kept)
    with pytest.raises(ValueError, match=f"is truncated: a chunk has {kept:,} bytes of "):
        images.read(tmp_path / "a.zarr")


def test_a_zstd_chunk_that_hides_its_size_is_refused_too(tmp_path):
    zarr_array(tmp_path / "a.zarr", 2, chunks=(64, 64), compressors=[codecs()[2]["zstd"]])
    path = chunk_file(tmp_path / "a.zarr")
    # A frame header without the size of what follows (RFC 8878): window of 128 KiB, raw blocks.
    begin = b"\x28\xb5\x2f\xfd" + bytes([0, 0x38])
    block = struct.pack("<I", (100_000 << 3) | (1 << 1))[:3] + b"\0"
    last = struct.pack("<I", (4096 << 3) | (1 << 1) | 1)[:3] + b"\0"
    path.write_bytes(begin + block * (GROWN // 100_000) + last)
    refused_in_little_memory(tmp_path / "a.zarr", "yields more than")


@pytest.mark.parametrize("index", [(slice(None), slice(None)), (slice(0, 8), slice(0, 8))])
def test_chunks_within_shards_are_looked_at_whole_or_singly(tmp_path, index):
    zarr_array(
        tmp_path / "a.zarr", 3, chunks=(32, 32), shards=(64, 64), compressors=[codecs()[3]["zstd"]]
    )
    expected = images.read(tmp_path / "a.zarr")
    assert expected.shape == (128, 128)
    path = chunk_file(tmp_path / "a.zarr")
    data, bomb = path.read_bytes(), codecs()[2]["zstd"].encode(np.zeros(GROWN, np.uint8))
    table = np.frombuffer(data[-68:-4], "<u8").reshape(4, 2).copy()
    table[0] = (len(data) - 68, len(bomb))
    stored = table.tobytes()
    checksum = struct.pack("<I", crc32c(stored))
    path.write_bytes(data[:-68] + bomb + stored + checksum)
    from nucleiseg.readers import zarr_folder

    with pytest.raises(ValueError, match="yields more than"):
        zarr_folder.open_array(tmp_path / "a.zarr")[index]
    refused_in_little_memory(tmp_path / "a.zarr", "yields more than")


def crc32c(data):
    return int.from_bytes(
        pytest.importorskip("numcodecs").checksum32.CRC32C().encode(data)[-4:], "little"
    )


def test_compressors_of_which_nothing_is_known_are_refused(tmp_path):
    zarr_array(tmp_path / "a.zarr", 2, compressors=[codecs()[2]["zlib"]])
    path = tmp_path / "a.zarr" / ".zarray"
    path.write_text(path.read_text().replace('"zlib"', '"pcodec"'))
    with pytest.raises(ValueError, match=r"pcodec|No codec"):
        images.read(tmp_path / "a.zarr")


@pytest.mark.parametrize("method", ["zlib", "zstd", "lzma", "lzw"])
def test_a_tiff_strip_yields_no_more_than_it_should(tmp_path, method):
    path, options = tmp_path / "a.tif", {"photometric": "minisblack", "compression": method}
    encode = {"zlib": imagecodecs.zlib_encode, "zstd": imagecodecs.zstd_encode,
              "lzma": imagecodecs.lzma_encode, "lzw": imagecodecs.lzw_encode}[method]  # fmt: skip
    strip = bytes(encode(np.zeros(GROWN, np.uint8)))
    tifffile.imwrite(path, iter([strip]), shape=(64, 64), dtype=np.uint8, **options)
    refused_in_little_memory(path, "is damaged: strip 0" if method[0] == "z" else "read (64, 64)")


def png_header(width, height, depth, colour):
    """A PNG file of the size that is promised, of which nothing is there but the beginning."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(
            ">I", zlib.crc32(kind + content))  # fmt: skip

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


@pytest.mark.parametrize("side", [2**14 * 2, 2**15 - 8, 2**14 + 2**13])
def test_a_png_counts_every_copy_of_its_pixels(tmp_path, side):
    path = tmp_path / "a.png"
    path.write_bytes(png_header(side, side, 16, 6))
    with pytest.raises(
        ValueError, match=f"needs {2 * 8 * side * side:,} bytes of memory; accepted"
    ):
        images.read(path)


@pytest.mark.parametrize("columns_first", [False, True])
def test_an_array_that_becomes_shorter_while_it_is_read_is_an_error(tmp_path, columns_first):
    path, array = tmp_path / "a.npy", np.ones((3, 200, 300), np.uint16)
    np.save(path, np.asfortranarray(array) if columns_first else array)
    planes = images.open(path, axes="ZYX", z="all")
    assert next(planes).array.shape == (200, 300)
    os.truncate(path, 1000)
    with pytest.raises(ValueError, match=r"a\.npy: is truncated"):
        next(planes)


def test_planes_behind_one_page_that_are_cut_off_meanwhile_are_an_error(tmp_path):
    path, array = tmp_path / "a.tif", np.ones((3, 200, 300), np.uint16)
    tifffile.imwrite(path, array, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as file:
        begin = file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", data, 4)
    (number,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * number, 0)  # no further page
    path.write_bytes(data)
    planes = images.open(path, z="all")
    assert next(planes).array.shape == (200, 300)
    os.truncate(path, begin + 130_000)
    with pytest.raises(ValueError, match=r"a\.tif: is truncated"):
        next(planes)


JPEG = {
    "baseline": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 5],
    "444": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
}


@pytest.mark.parametrize("side", [(256, 320), (201, 257)])
@pytest.mark.parametrize("kind", JPEG)
def test_a_jpeg_of_which_data_are_missing_is_refused_wherever_its_end_mark_is(tmp_path, kind, side):
    path = tmp_path / "a.jpg"
    image = cv2.imread(str(IMAGES / "hematoxylin_eosin.png"))[: side[0], : side[1]]
    data = cv2.imencode(".jpg", image, JPEG[kind])[1].tobytes()
    path.write_bytes(data)
    assert images.read(path).shape == (*side, 3)
    begin = data.rfind(b"\xff\xda") + 14
    for share in (0.1, 0.5, 0.9, 0.98):
        end = begin + int(share * (len(data) - begin))
        path.write_bytes(data[: end - (data[end - 1] == 0xFF)] + b"\xff\xd9")
        with pytest.raises(ValueError, match=r"a\.jpg: is damaged: data of its pixels are missing"):
            images.read(path)


def test_a_blank_jpeg_is_whole(tmp_path):
    """Its last block is as flat as missing data are."""
    for side in ((64, 64), (65, 73), (1, 1)):
        for options in JPEG.values():
            image = np.full((*side, 3), 240, np.uint8)
            (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", image, options)[1].tobytes())
            assert images.read(tmp_path / "a.jpg").shape == (*side, 3)


def test_the_half_scan_that_was_found_is_refused():
    with pytest.raises(ValueError, match="data of its pixels are missing"):
        images.read(CORPUS / "jpeg_half_scan_plus_EOI.jpg")


def test_a_tile_of_a_tiff_of_which_data_are_missing_is_refused(tmp_path):
    image = cv2.imread(str(IMAGES / "hematoxylin_eosin.png"))[:64, :64]
    data = cv2.imencode(".jpg", image)[1].tobytes()
    path, options = tmp_path / "a.tif", {"photometric": "ycbcr", "compression": "jpeg"}
    half = data[: len(data) // 2 + 300] + b"\xff\xd9"
    for strip, words in ((data, ""), (half, "data of its pixels are missing")):
        tifffile.imwrite(path, iter([strip]), shape=(64, 64, 3), dtype=np.uint8, **options)
        if words:
            with pytest.raises(ValueError, match=f"strip 0 .*{words}"):
                images.read(path)
        else:
            assert images.read(path).shape == (64, 64, 3)
