"""What the header of a TIFF file promises is held against its size before anything is done."""

import io
import json
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from nucleiseg import images

MALFORMED = Path(__file__).parents[1] / "data" / "malformed"

LIMIT_S, LIMIT_BYTES = 1.0, 2**30

# Reads each file twice in a fresh process, and says how long it took and what came of it. The peak
# is that of the program: ru_maxrss begins with what the process had that started it.
TWICE = """
import hashlib, json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
from nucleiseg import images
images.hush()
def read(name):
    digest, begin = hashlib.sha256(), time.process_time()
    try:
        for plane in images.open(name, z="all", frame="all"):
            digest.update(plane.array.tobytes())
        outcome = digest.hexdigest()
    except ValueError as error:
        outcome = str(error)
    return outcome, time.process_time() - begin
for name in sys.argv[1:]:
    (first, one), (second, other) = read(name), read(name)
    peak = next(int(row.split()[1]) for row in open("/proc/self/status") if "VmHWM" in row) * 1024
    print(json.dumps([name, first, second, max(one, other), peak]))
"""


def twice(*paths):
    command = [sys.executable, "-c", TWICE, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_refused_in_no_time(*paths):
    found = twice(*paths)
    assert len(found) == len(paths)
    for name, first, second, seconds, peak in found:
        assert first == second
        assert re.match(rf"{re.escape(name)}: (is|has|holds|needs) ", first), first
        assert seconds < LIMIT_S, name
        assert peak < LIMIT_BYTES, name
    return {Path(name).name: first for name, first, *_ in found}


def test_malformed_files_are_refused_in_no_time():
    assert_refused_in_no_time(*sorted(MALFORMED.glob("*.tif")))


def tiff(stack, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, stack, photometric="minisblack", **options)
    return file.getvalue()


@pytest.fixture
def stack():
    return np.arange(3 * 24 * 32).reshape(3, 24, 32).astype(np.uint16)


def ome(stack, change):
    """An OME-TIFF whose XML is changed."""
    whole = tiff(stack, ome=True, metadata={"axes": "ZYX"})
    xml = tifffile.TiffFile(io.BytesIO(whole)).ome_metadata
    changed = change(xml)
    assert changed != xml
    return tiff(stack, description=changed.encode(), metadata=None)


def attribute(name, value):
    return lambda xml: re.sub(rf'{name}="\d+"', f'{name}="{value}"', xml)


SLICE_AXIS = '<ModuloAlongZ Type="other" Start="0" End="5e8" Step="1"/>'
MODULO = (
    '<StructuredAnnotations><XMLAnnotation ID="A" Namespace="openmicroscopy.org/omero/dimension/'
    f'modulo"><Value><Modulo>{SLICE_AXIS}</Modulo></Value></XMLAnnotation></StructuredAnnotations>'
)

PROMISES = {
    f"{name}={value}": attribute(name, value)
    for name in ("SizeZ", "SizeT", "SizeC", "PlaneCount")
    for value in (5 * 10**8, 10**12, 10**30)
} | {
    "FirstZ": lambda xml: xml.replace("<TiffData", '<TiffData FirstZ="-1"'),
    "IFD": attribute("IFD", -1),
    "modulo": lambda xml: xml.replace("</OME>", f"{MODULO}</OME>"),
    "many times": lambda xml: xml.replace("<TiffData", "<TiffData/>" * 2_000 + "<TiffData"),
    "no number": attribute("SizeZ", "many"),
    "no length": attribute("SizeZ", "0"),
}


def test_ome_xml_that_promises_more_than_there_is_is_refused(tmp_path):
    stack = np.zeros((200, 8, 9), np.uint8)
    for name, change in PROMISES.items():
        (tmp_path / name).write_bytes(ome(stack, change))
    said = assert_refused_in_no_time(*tmp_path.iterdir())
    assert set(said) == set(PROMISES)
    for name, words in said.items():
        assert re.search("is (truncated|damaged): its OME-XML", words), name


@pytest.mark.parametrize("name", ["SizeX", "SizeY"])
def test_ome_xml_of_other_pictures_than_the_pages_says_nothing_of_them(tmp_path, stack, name):
    path = tmp_path / "a.tif"
    path.write_bytes(ome(stack, attribute(name, 2**40)))
    (said,) = assert_refused_in_no_time(path).values()
    assert "has the shape 3 x 24 x 32 and does not say what axis 0 is" in said
    found = [plane.array for plane in images.open(path, axes="ZYX", z="all")]
    np.testing.assert_array_equal(found, stack)


DESCRIPTIONS = (
    '{"shape": [500000000, 24, 32]}',
    '{"shape": [4, 24, 32]}',
    '{"shape": [3, 24000000, 32000000]}',
    "ImageJ=1.53t\nimages=500000000\nslices=500000000\n",
    "ImageJ=1.53t\nimages=4\nslices=4\n",
    "ImageJ=1.53t\nimages=2\nslices=2\n",
    "ImageJ=1.53t\nimages=3\nslices=1000000000\nframes=1000000000\n",
)


def test_descriptions_of_more_or_fewer_planes_than_there_are_are_refused(tmp_path, stack):
    for number, description in enumerate(DESCRIPTIONS):
        for compression in (None, "zlib"):
            options = {"description": description, "metadata": None, "compression": compression}
            (tmp_path / f"{number} {compression}").write_bytes(tiff(stack, **options))
    for words in assert_refused_in_no_time(*tmp_path.iterdir()).values():
        assert "is truncated" in words


def directory(tags, after):
    """Bytes of a page directory of tags (code, type, count, value)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", after)


TINY = [(256, 4, 1, 1), (257, 4, 1, 1), (273, 4, 1, 8), (279, 4, 1, 1)]


def chained(directories):
    data = bytearray(b"II*\0\x08\0\0\0")
    for number, tags in enumerate(directories):
        length = len(directory(tags, 0))
        after = len(data) + length if number + 1 < len(directories) else 0
        data += directory(tags, after)
    return bytes(data)


def overlapping(count):
    """Directories at every other byte, each of which is told to have thousands of tags."""
    body = b"".join(struct.pack("<H", 4000) for _ in range(count)) + bytes(12 * 4001)
    return b"II*\0\x08\0\0\0" + body


CHAINS = {
    "64,000 directories without a tag": chained([[]] * 64_000),
    "64,000 directories without a picture": chained([[(256, 4, 1, 1)]] * 64_000),
    "directories in each other": overlapping(20_000),
    "values that all pages share": chained([[*TINY, (700, 7, 40_000, 8)]] * 2_000),
    "a chain below a page": chained([[*TINY, (330, 4, 5_000, 8)]] * 20),
    "a page below itself": chained([[*TINY, (330, 13, 1, 8)]]),
    "pages before the file": chained([[(256, 4, 1, 1), (257, 4, 1, 1), (273, 4, 1, 0)]]),
    "a value of 64 GB": chained([[*TINY, (700, 7, 2**32 - 1, 8)]]),
    "a strip of 4 GB": chained([[*TINY[:3], (279, 4, 1, 2**32 - 1)]]),
    "a billion strips": chained([[*TINY[:2], (273, 4, 10**9, 8), (279, 4, 10**9, 8)]]),
    "pages of 10^18 pixels": chained([[(256, 4, 1, 10**9), (257, 4, 1, 10**9), *TINY[2:]]]),
}


def test_directories_that_waste_time_or_memory_are_refused(tmp_path):
    for name, data in CHAINS.items():
        (tmp_path / name).write_bytes(data)
    assert set(assert_refused_in_no_time(*tmp_path.iterdir())) == set(CHAINS)


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize(("pages", "side"), [(2_400, 32), (20_000, 16)])
def test_a_stack_of_many_pages_is_read_in_linear_time(tmp_path, pages, side, compression):
    stack = np.random.default_rng(0).integers(0, 256, (pages, side, side), dtype=np.uint8)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(stack, compression=compression, metadata={"axes": "ZYX"}))
    begin = time.process_time()
    found = images.open(path, z="all")
    first = next(found).array
    opened = time.process_time() - begin
    np.testing.assert_array_equal([first, *(plane.array for plane in found)], stack)
    # 2,400 pages took 0.5 s and 20,000 took 4 s; quadratic reading took 228 s for 2,400.
    assert time.process_time() - begin < 40
    assert opened < 15


def test_one_plane_of_many_is_read_without_the_others(tmp_path):
    stack = np.random.default_rng(0).integers(0, 256, (300, 16, 16), dtype=np.uint8)
    data = bytearray(tiff(stack, compression="lzw", metadata={"axes": "ZYX"}))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        begin, count = file.pages[7].dataoffsets[0], file.pages[7].databytecounts[0]
    data[begin : begin + count] = bytes(count)
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    (plane,) = images.open(path, z=200)
    np.testing.assert_array_equal(plane.array, stack[200])
    with pytest.raises(ValueError, match="is damaged: strip 0 of page 7, compressed with LZW"):
        next(images.open(path, z=7))
