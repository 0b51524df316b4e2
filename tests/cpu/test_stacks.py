import itertools
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import stardist
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nucleiseg import images

SKIMAGE = Path(skimage.data.__file__).parent
STARDIST = Path(stardist.__file__).parent / "data" / "images"


def ramp(*shape, dtype=np.uint16):
    """Every value another one, so that no plane, row or channel passes for another."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def planes(path, **wanted):
    return list(images.open(path, **wanted))


def only(path, **wanted):
    (plane,) = planes(path, **wanted)
    return plane


def ome_tiff(path, stack, names=("DAPI", "GFP"), **options):
    metadata = {
        "axes": "TCZYX",
        "Channel": {"Name": list(names)},
        "PhysicalSizeX": 325,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.325,
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(path, stack, ome=True, photometric="minisblack", metadata=metadata, **options)


def imagej_tiff(path, stack, unit="micron", axes="TZCYX", **options):
    tifffile.imwrite(
        path,
        stack,
        imagej=True,
        resolution=(4, 4),
        metadata={"axes": axes, "unit": unit},
        **options,
    )


ZARR_3 = not zarr.__version__.startswith("2.")
needs_format_3 = pytest.mark.skipif(
    not ZARR_3, reason="Zarr format 3 needs version 3 of the package zarr, and that Python 3.11"
)


def zarr_array(path, data, zarr_format=2, **options):
    if ZARR_3:
        options["zarr_format"] = zarr_format
    array = zarr.open_array(str(path), mode="w", shape=data.shape, dtype=data.dtype, **options)
    array[...] = data


def zarr_group(path, attributes, zarr_format=2):
    path.mkdir()
    if zarr_format == 3:
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (path / "zarr.json").write_text(json.dumps(group))
    else:
        (path / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
        (path / ".zattrs").write_text(json.dumps(attributes))


def ome_zarr(path, stack, version):
    """Two levels, as the OME-NGFF specification lays them out."""
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    levels = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1, 2, 0.25 * 2**level, 0.25 * 2**level]}
            ],
        }
        for level in (0, 1)
    ]
    image = {
        "multiscales": [
            {
                "version": version,
                "axes": axes,
                "datasets": levels,
                "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 2, 2]}],
            }
        ],
        "omero": {"channels": [{"label": "nuclei"}, {"label": "membrane"}]},
    }
    zarr_format = 3 if version == "0.5" else 2
    zarr_group(path, {"ome": image} if version == "0.5" else image, zarr_format)
    for level in (0, 1):
        part = stack[..., :: 2**level, :: 2**level]
        zarr_array(path / str(level), part, zarr_format, chunks=(1, 1, 16, 16))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (16, 32)},
        {"compression": "zlib"},
        {"compression": "lzw", "predictor": True},
        {"compression": "zstd"},
        {"bigtiff": True},
        {"byteorder": ">"},
    ],
    ids=str,
)
def test_pages_of_a_tiff_are_planes_once_their_axis_is_named(tmp_path, options):
    stack = ramp(5, 48, 40)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **options)
    found = planes(tmp_path / "a.tif", axes="zyx", z="all")
    assert [plane.suffix for plane in found] == ["_z000", "_z001", "_z002", "_z003", "_z004"]
    np.testing.assert_array_equal([plane.array for plane in found], stack)
    np.testing.assert_array_equal(only(tmp_path / "a.tif", axes="TYX", frame=3).array, stack[3])


def test_an_ome_tiff_gives_channels_by_name_and_its_pixel_size(tmp_path):
    stack = ramp(2, 2, 3, 24, 32)
    ome_tiff(tmp_path / "a.ome.tif", stack)
    found = planes(tmp_path / "a.ome.tif", channel="gfp", z="all", frame="all")
    assert [plane.suffix for plane in found][:4] == [
        "_z000_t000",
        "_z001_t000",
        "_z002_t000",
        "_z000_t001",
    ]
    np.testing.assert_array_equal([plane.array for plane in found], stack[:, 1].reshape(6, 24, 32))
    assert [plane.mpp for plane in found] == [pytest.approx(0.325)] * 6


def test_planes_of_a_set_that_lie_in_other_files_are_left_to_those(tmp_path):
    # One file a channel; the description of the whole set stands in both.
    stack = ramp(2, 16, 24)
    ome_tiff(tmp_path / "whole.tif", stack[None, :, None])
    xml = tifffile.TiffFile(tmp_path / "whole.tif").ome_metadata
    for channel in (0, 1):
        data = "".join(
            f'<TiffData FirstC="{number}" PlaneCount="1"><UUID FileName="{number}.tif">'
            f"urn:uuid:{number}</UUID></TiffData>"
            for number in (0, 1)
        )
        begin, end = xml.index("<TiffData"), xml.index("</Pixels>")
        root = xml.replace("<OME ", f'<OME UUID="urn:uuid:{channel}" ', 1)
        shift = len(root) - len(xml)
        described = root[: begin + shift] + data + root[end + shift :]
        tifffile.imwrite(
            tmp_path / f"{channel}.tif",
            stack[channel],
            description=described.encode(),
            metadata=None,
        )
        np.testing.assert_array_equal(only(tmp_path / f"{channel}.tif").array, stack[channel])


def test_an_imagej_hyperstack_gives_frames_planes_channels_and_its_pixel_size(tmp_path):
    stack = ramp(2, 3, 2, 24, 32)
    imagej_tiff(tmp_path / "a.tif", stack)
    found = planes(tmp_path / "a.tif", channel=1, z=2, frame="all")
    assert [plane.suffix for plane in found] == ["_z002_t000", "_z002_t001"]
    np.testing.assert_array_equal([plane.array for plane in found], stack[:, 2, 1])
    assert {plane.mpp for plane in found} == {0.25}


@pytest.mark.parametrize(("unit", "mpp"), [("\\u00B5m", 0.25), ("nm", 0.00025), ("pixel", None)])
def test_imagej_units(tmp_path, unit, mpp):
    imagej_tiff(tmp_path / "a.tif", ramp(24, 32), unit, "YX")
    assert only(tmp_path / "a.tif").mpp == (mpp and pytest.approx(mpp))


def test_planes_behind_a_single_page_are_found(tmp_path):
    # ImageJ stores stacks above 4 GB with one page, behind whose pixels the others follow.
    stack = ramp(6, 24, 32)
    imagej_tiff(tmp_path / "a.tif", stack, axes="ZYX", truncate=True)
    data = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == 1
    for plane, expected in zip(planes(tmp_path / "a.tif", z="all"), stack, strict=True):
        np.testing.assert_array_equal(plane.array, expected)
    # The end is padding to a multiple of 16 bytes.
    (tmp_path / "a.tif").write_bytes(data[:-17])
    with pytest.raises(ValueError, match="is truncated"):
        planes(tmp_path / "a.tif", z=0)


def test_samples_that_are_no_colours_are_channels(tmp_path):
    image = ramp(24, 32, 3)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack", planarconfig="contig")
    with pytest.raises(ValueError, match=r"has 3 channels \(0 to 2\); choose the one"):
        planes(tmp_path / "a.tif")
    np.testing.assert_array_equal(only(tmp_path / "a.tif", channel=2).array, image[..., 2])
    np.testing.assert_array_equal(only(tmp_path / "a.tif", axes="YXS").array, image)


def test_the_resolution_of_a_printer_is_no_pixel_size(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp(24, 32), resolution=(72, 72), resolutionunit="inch")
    assert only(tmp_path / "a.tif").mpp is None


@pytest.mark.parametrize("columns_first", [False, True])
def test_arrays_follow_the_rules_of_segment(tmp_path, columns_first):
    for shape in ((24, 32), (24, 32, 3), (24, 32, 4)):
        array = ramp(*shape)
        np.save(tmp_path / "a.npy", np.asfortranarray(array) if columns_first else array)
        found = only(tmp_path / "a.npy")
        assert (found.suffix, found.mpp) == ("", None)
        assert found.array.flags.c_contiguous
        np.testing.assert_array_equal(found.array, array)


@pytest.mark.parametrize("zarr_format", [2, pytest.param(3, marks=needs_format_3)])
def test_a_zarr_array_is_read_by_chunks(tmp_path, zarr_format):
    stack = ramp(3, 24, 32)
    zarr_array(tmp_path / "a.zarr", stack, zarr_format, chunks=(1, 16, 16))
    np.testing.assert_array_equal(only(tmp_path / "a.zarr", axes="ZYX", z=1).array, stack[1])
    with pytest.raises(ValueError, match=r"a\.zarr: has the shape 3 x 24 x 32 and does not say"):
        planes(tmp_path / "a.zarr")


@needs_format_3
def test_the_names_of_a_zarr_arrays_dimensions_are_its_axes(tmp_path):
    stack = ramp(3, 24, 32)
    zarr_array(tmp_path / "a.zarr", stack, 3, dimension_names=["time", "y", "x"])
    np.testing.assert_array_equal(only(tmp_path / "a.zarr", frame=1).array, stack[1])


@pytest.mark.parametrize("version", ["0.4", pytest.param("0.5", marks=needs_format_3)])
def test_the_finest_level_of_an_ome_zarr_is_taken(tmp_path, version):
    stack = ramp(2, 3, 24, 32)
    ome_zarr(tmp_path / "a.zarr", stack, version)
    found = only(tmp_path / "a.zarr", channel="membrane", z=1)
    np.testing.assert_array_equal(found.array, stack[1, 1])
    assert found.mpp == 0.5


def test_a_zarr_group_without_an_image_lists_what_is_in_it(tmp_path):
    zarr_group(tmp_path / "a.zarr", {})
    zarr_array(tmp_path / "a.zarr" / "cells", ramp(4, 4))
    with pytest.raises(ValueError, match=r"without an image of its own; .* images: cells$"):
        planes(tmp_path / "a.zarr")


def test_without_zarr_the_message_says_how_to_get_it(tmp_path):
    zarr_array(tmp_path / "a.zarr", ramp(4, 4))
    code = (
        "import sys; sys.modules['zarr'] = None\n"
        "from nucleiseg import images; next(images.open(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.zarr"], capture_output=True, text=True
    )
    assert done.stderr.endswith("needs the package zarr: pip install 'nucleiseg[zarr]'\n")


def test_a_stack_of_stardist_is_read(tmp_path):
    found = planes(STARDIST / "img3d.tif", axes="ZYX", z="all")
    assert len(found) == 31
    np.testing.assert_array_equal(
        [plane.array for plane in found], tifffile.imread(STARDIST / "img3d.tif")
    )
    assert only(STARDIST / "img2d.tif").array.shape == (512, 512)
    assert only(STARDIST / "histo.jpg").array.shape == (300, 500, 3)


def test_pages_of_scikit_image_are_read():
    expected = skimage.io.imread(SKIMAGE / "multipage.tif")
    found = planes(SKIMAGE / "multipage.tif", axes="ZYX", z="all")
    np.testing.assert_array_equal([plane.array for plane in found], expected)
    colours = tifffile.imread(SKIMAGE / "multipage_rgb.tif")
    found = only(SKIMAGE / "multipage_rgb.tif", axes="TSYX", frame=1).array
    np.testing.assert_array_equal(found, np.moveaxis(colours[1], 0, -1))


SLIDE = Path(__file__).parents[3] / "shared" / "data" / "slides" / "CMU-1-Small-Region.svs"


@pytest.mark.skipif(not SLIDE.exists(), reason="needs the region of a slide of OpenSlide")
def test_the_region_of_a_slide_is_read_without_the_pictures_beside_it():
    region = only(SLIDE)
    assert region.array.shape == (2967, 2220, 3)
    assert region.mpp == pytest.approx(0.499)
    with tifffile.TiffFile(SLIDE) as file:
        np.testing.assert_array_equal(region.array, file.pages.first.asarray())


def test_an_array_of_scikit_image_is_read():
    faces = np.load(SKIMAGE / "lfw_subset.npy")
    face = only(SKIMAGE / "lfw_subset.npy", axes="ZYX", z=7).array
    np.testing.assert_array_equal(face, faces[7])


def test_a_channel_is_a_name_or_a_number_and_what_there_is_is_listed(tmp_path):
    path = tmp_path / "a.ome.tif"
    stack = ramp(1, 2, 1, 24, 32)
    ome_tiff(path, stack, ("DAPI", "1"))
    for channel, index in (("DAPI", 0), ("dapi", 0), (0, 0), ("0", 0), ("1", 1), (1, 1)):
        found = only(path, channel=channel)
        assert found.suffix == ""
        np.testing.assert_array_equal(found.array, stack[0, index, 0])
    with pytest.raises(ValueError, match=r"has 2 channels \(0 'DAPI', 1 '1'\); choose the one"):
        planes(path)
    for channel, shown in (("Cy5", "'Cy5'"), (2, "2"), ("7", "7")):
        with pytest.raises(ValueError, match=f"has no channel {shown}: it has 2 channels"):
            planes(path, channel=channel)


def test_a_number_is_a_number_however_channels_are_named(tmp_path):
    path = tmp_path / "a.ome.tif"
    stack = ramp(1, 2, 1, 24, 32)
    ome_tiff(path, stack, ("1", "0"))
    for channel in (1, "1", np.int64(1)):
        np.testing.assert_array_equal(only(path, channel=channel).array, stack[0, 1, 0])


def test_two_channels_of_one_name_ask_which(tmp_path):
    path = tmp_path / "a.ome.tif"
    stack = ramp(1, 3, 1, 24, 32)
    ome_tiff(path, stack, ("DAPI", "GFP", "DAPI"))
    for channel in ("DAPI", "dapi"):
        with pytest.raises(ValueError, match=f"has 2 channels of the name '{channel}'") as caught:
            planes(path, channel=channel)
        assert "(0 'DAPI', 1 'GFP', 2 'DAPI')" in str(caught.value)
        assert "by its number, such as --channel 0" in str(caught.value)
    np.testing.assert_array_equal(only(path, channel=2).array, stack[0, 2, 0])
    ome_tiff(path, stack, ("DAPI", "GFP", "dapi"))
    np.testing.assert_array_equal(only(path, channel="dapi").array, stack[0, 2, 0])
    with pytest.raises(ValueError, match="has 2 channels of the name 'Dapi'"):
        planes(path, channel="Dapi")


@pytest.mark.parametrize("channel", [True, 1.0, -1, ""])
def test_what_is_neither_a_name_nor_a_number_of_a_channel_is_an_error(channel):
    with pytest.raises(ValueError, match=r"channel: got .*; accepted are a name and numbers"):
        images.selection(channel=channel)


def test_a_colour_is_a_channel_too():
    image = images.read(SKIMAGE / "ihc.png")
    np.testing.assert_array_equal(only(SKIMAGE / "ihc.png", channel="blue").array, image[..., 2])
    np.testing.assert_array_equal(only(SKIMAGE / "ihc.png", channel=0).array, image[..., 0])


def test_the_first_of_one_may_be_asked_for():
    found = only(SKIMAGE / "cell.png", channel=0, z=0, frame="all")
    assert (found.suffix, found.array.shape) == ("", (660, 550))
    for wanted, words in (
        ({"z": 1}, "has no --z 1: it has 1 plane, counted from 0"),
        ({"frame": 2}, "has no --frame 2: it has 1 frame, counted from 0"),
        ({"channel": 1}, r"has no channel 1: it has one channel \(0\)"),
        ({"axes": "ZYX"}, "has the shape 660 x 550, to which the axes 'ZYX' do not fit"),
    ):
        with pytest.raises(ValueError, match=f"cell.png: {words}"):
            planes(SKIMAGE / "cell.png", **wanted)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"z": "first"}, "z: got 'first'; accepted are numbers from 0 up and 'all'"),
        ({"frame": -1}, "frame: got -1; accepted"),
        ({"channel": -1}, "channel: got -1; accepted"),
        ({"channel": ""}, "channel: got ''; accepted"),
        ({"axes": "ZYY"}, "axes: got 'ZYY'; accepted is one letter an axis"),
        ({"axes": "ZX"}, "axes: got 'ZX'; accepted"),
        ({"axes": "QYX"}, "axes: got 'QYX'; accepted"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_an_error_at_once(wanted, words):
    with pytest.raises(ValueError, match=words):
        images.open("none.tif", **wanted)


EXACT = {
    "bool": "uint8",
    "uint8": "uint8",
    "int8": "int16",
    "uint16": "uint16",
    "int16": "int16",
    "uint32": "float64",
    "int32": "float64",
    "float16": "float32",
    "float32": "float32",
    "float64": "float64",
    "uint64": "float64",
    "int64": "float64",
}


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    dtype=st.sampled_from(sorted(EXACT)),
    order=st.sampled_from("<>"),
    letters=st.sampled_from(["YX", "ZYX", "TYX", "CYX", "SYX", "ZCYX", "TZCYX", "TZSYX"]).flatmap(
        lambda text: st.permutations(text).map("".join)
    ),
)
def test_every_dtype_and_layout_comes_out_exact(tmp_path, dtype, order, letters):
    sizes = {"T": 2, "Z": 3, "C": 2, "Y": 5, "X": 7, "S": 3}
    shape = [sizes[letter] for letter in letters]
    array = np.random.default_rng(1).integers(0, 120, shape).astype(dtype)
    np.save(tmp_path / "a.npy", array.astype(array.dtype.newbyteorder(order)))
    channel = 1 if "C" in letters else None
    found = planes(tmp_path / "a.npy", axes=letters, z="all", frame="all", channel=channel)
    ordered = array.transpose([letters.index(one) for one in "TZCYXS" if one in letters])
    if channel is not None:
        ordered = ordered.take(1, axis=ordered.ndim - 3)
    last = 3 if "S" in letters else 2
    expected = ordered.reshape(-1, *ordered.shape[-last:]) * (255 if dtype == "bool" else 1)
    assert {plane.array.dtype.name for plane in found} == {EXACT[dtype]}
    assert all(plane.array.dtype.isnative for plane in found)
    np.testing.assert_array_equal([plane.array for plane in found], expected)


@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
def test_deep_tiffs_are_exact_and_read_keeps_their_dtype(tmp_path, dtype):
    image = np.array([[0, 1], [np.iinfo(dtype).max, np.iinfo(dtype).max - 1]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", image)
    assert images.read(tmp_path / "a.tif").dtype == dtype
    np.testing.assert_array_equal(only(tmp_path / "a.tif").array.astype(dtype), image)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((2, 2), 2**53 + 1), r"accepted are whole numbers within -2\*\*53 and 2\*\*53"),
        (np.zeros((2, 2), complex), "holds values of complex128; accepted are numbers"),
        (np.zeros((2, 2), np.longdouble), "holds values of float128; accepted are bool, uint8"),
        (np.full((2, 2), "a"), "holds values of <U1"),
        (np.zeros((0, 5)), "is empty: it has the shape 0 x 5"),
        (np.zeros(5), r"has the shape \(5,\); accepted are two axes and more"),
        (np.zeros((4, 4, 2, 2)), "does not say what axis 0 and 1 is; .* such as --axes ZTYX"),
        (np.zeros((2, 2), object), "holds Python objects, not numbers"),
    ],
)
def test_arrays_that_are_no_images_are_errors(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=f"a.npy: .*{words}"):
        planes(tmp_path / "a.npy")


def npy(header, version=b"\1\0"):
    """Bytes of a .npy file with any header and no values."""
    size = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + header


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy(b"", b"\2\0")[:8] + b"\xff\xff\xff\xff", r"is truncated: 12 bytes of at least 4,294"),
        (npy(b" " * 20_000, b"\2\0"), "has a header of 20,000 bytes; accepted are up to 10,000"),
        (npy(b"(" * 9_000), "is damaged: its header cannot be parsed|is truncated or damaged"),
        (
            npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3)}"),
            r"the shape \(-2, -3",
        ),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 3)}"), "the shape"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9, 9, 10**9)}"), "damaged"),
        (npy(b"{'descr': '<f4', 'fortran_order': 0, 'shape': (9, 9)}"), "damaged"),
        (npy(b"{1: 2, 'shape': (9, 9)}"), "damaged"),
    ],
)
def test_headers_of_arrays_are_checked_before_anything_is_allocated(tmp_path, data, words):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.npy: .*({words})"):
        planes(tmp_path / "a.npy")


def sixty_thousand_squared(kind):
    """Bytes of a small file whose header promises 60,000 x 60,000 pixels."""
    side = 60_000
    small = cv2.imencode(f".{kind}", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    if kind == "png":
        header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
    if kind == "jpg":
        place = small.index(b"\xff\xc0") + 5
        return small[:place] + struct.pack(">HH", side, side) + small[place + 4 :]
    if kind == "bmp":
        return small[:18] + struct.pack("<ii", side, -side) + small[26:]
    flags = b"VP8X" + struct.pack("<II", 10, 0) + (side - 1).to_bytes(3, "little") * 2
    body = b"WEBP" + flags + small[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "webp"])
def test_an_absurd_header_of_a_picture_is_refused(tmp_path, kind):
    (tmp_path / "a").write_bytes(sixty_thousand_squared(kind))
    with pytest.raises(
        ValueError, match="a: has 60,000 x 60,000 pixels; accepted are up to 1,073,741,824 in all"
    ):
        planes(tmp_path / "a")


def test_an_absurd_header_of_a_tiff_is_refused_before_memory_is_taken(tmp_path):
    data = tifffile.memmap(tmp_path / "a.tif", shape=(60, 60), dtype=np.uint8)
    del data
    stored = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = [file.pages.first.tags[name] for name in ("ImageLength", "ImageWidth")]
    for tag in tags:
        size = 4 if tag.dtype == tifffile.DATATYPE.LONG else 2
        stored[tag.valueoffset : tag.valueoffset + size] = (60_000).to_bytes(size, "little")
    (tmp_path / "a.tif").write_bytes(stored)
    tracemalloc.start()
    with pytest.raises(ValueError, match="has 60,000 x 60,000 pixels; accepted are up to"):
        planes(tmp_path / "a.tif")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6


def test_absurd_arrays_are_refused(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (60_000, 60_000)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match="is truncated: 128 bytes of at least 28,800,000,128"):
        planes(tmp_path / "a.npy")
    options = {"mode": "w", "dtype": "u1"}
    zarr.open_array(str(tmp_path / "a.zarr"), shape=(60_000, 60_000), chunks=(16, 16), **options)
    with pytest.raises(ValueError, match="has 60,000 x 60,000 pixels; accepted are up to"):
        planes(tmp_path / "a.zarr")
    zarr.open_array(str(tmp_path / "b.zarr"), shape=(9, 9), chunks=(2**20, 2**20), **options)
    with pytest.raises(ValueError, match="needs 1,099,511,627,776 bytes of memory; accepted are"):
        planes(tmp_path / "b.zarr")


def test_planes_of_chunks_that_are_hardly_there_are_refused(tmp_path):
    options = {"mode": "w", "dtype": "u1", "fill_value": 3}
    empty = zarr.open_array(str(tmp_path / "a.zarr"), shape=(300, 300), chunks=(4, 4), **options)
    with pytest.raises(ValueError, match="a plane has 5,625 chunks, and there are fewer than 21"):
        planes(tmp_path / "a.zarr")
    empty[:40, :40] = 5
    assert only(tmp_path / "a.zarr").array.sum() == 3 * 300**2 + 2 * 40**2


STACKS = {
    "pages": lambda path, stack: tifffile.imwrite(
        path, stack, photometric="minisblack", metadata={"axes": "ZYX"}
    ),
    "deflated": lambda path, stack: tifffile.imwrite(
        path, stack, photometric="minisblack", metadata={"axes": "ZYX"}, compression="zlib"
    ),
    "imagej": lambda path, stack: imagej_tiff(path, stack, axes="ZYX"),
    "ome": lambda path, stack: ome_tiff(path, stack[None, None], ("DAPI",)),
    "npy": lambda path, stack: np.save(path, stack),
}


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_cut_anywhere_is_an_error_and_never_a_shorter_stack(tmp_path, name):
    path = tmp_path / "cut.npy"
    STACKS[name](path, ramp(4, 12, 10))
    data = path.read_bytes()
    axes = "ZYX" if name == "npy" else None
    assert len(planes(path, z="all", axes=axes)) == 4
    # tifffile fills some files up to a multiple of 16 bytes.
    end = len(data) - 16
    for size in itertools.chain(range(1, end, 83), range(end - 12, end)):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"cut\.npy: "):
            planes(path, z="all", axes=axes)


@pytest.mark.parametrize("name", STACKS)
def test_flipped_bytes_end_in_an_image_or_an_error_that_names_the_file(tmp_path, name):
    path = tmp_path / "flipped.npy"
    STACKS[name](path, ramp(4, 12, 10))
    data = path.read_bytes()
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        flipped = bytearray(data)
        flipped[random.integers(min(len(data), 400))] = random.integers(256)
        path.write_bytes(flipped)
        try:
            found = planes(path, z="all", axes="ZYX" if name == "npy" else None)
            assert all(plane.array.ndim == 2 for plane in found)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 (either end is right)
            refused += 1
    assert refused


def test_a_tiff_that_lacks_tiles_is_an_error_and_not_black_there(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp(64, 64), tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tag = file.pages.first.tags["ImageLength"]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[tag.valueoffset] = 96
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ValueError, match="is damaged: page 0 has 4 tiles, and its size asks for 6"):
        planes(tmp_path / "a.tif")


def test_a_ring_of_page_directories_is_an_error(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp(24, 32), metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * tags, first)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ValueError, match="is damaged: its page directories form a ring"):
        planes(tmp_path / "a.tif")


def test_several_images_in_a_tiff_are_an_error(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(ramp(24, 32))
        file.write(ramp(12, 16))
    with pytest.raises(ValueError, match=r"holds 2 images of different kinds \(24x32, 12x16\)"):
        planes(tmp_path / "a.tif")


class _Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_in_a_zarr_is_not_opened(tmp_path):
    import pickle

    zarr_array(tmp_path / "a.zarr", ramp(4, 4))
    metadata = json.loads((tmp_path / "a.zarr" / ".zarray").read_text())
    metadata.update(filters=[{"id": "pickle", "protocol": 5}], compressor=None)
    (tmp_path / "a.zarr" / ".zarray").write_text(json.dumps(metadata))
    (tmp_path / "a.zarr" / "0.0").write_bytes(pickle.dumps(_Harm(tmp_path / "harm")))
    with pytest.raises(ValueError, match="holds pickled chunks, which are not read"):
        planes(tmp_path / "a.zarr")
    assert not (tmp_path / "harm").exists()


def test_a_zarr_does_not_lead_out_of_its_folder(tmp_path):
    zarr_array(tmp_path / "secret", ramp(4, 4))
    image = {"axes": ["y", "x"], "datasets": [{"path": "../secret"}]}
    zarr_group(tmp_path / "a.zarr", {"multiscales": [image]})
    with pytest.raises(ValueError, match="names an array outside of its folder"):
        planes(tmp_path / "a.zarr")


@pytest.mark.skipif(ZARR_3, reason="version 3 of the package zarr reads Zarr format 3")
def test_zarr_format_3_needs_zarr_3(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "array"}')
    with pytest.raises(ValueError, match="needs version 3 of the package zarr"):
        planes(tmp_path / "a.zarr")


def test_damaged_metadata_of_a_zarr_are_an_error(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zarray").write_text("{")
    with pytest.raises(ValueError, match=r"a\.zarr: is truncated or damaged: "):
        planes(tmp_path / "a.zarr")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_no_more_than_a_plane_is_in_memory(tmp_path, compression):
    side, depth = 256, 40
    path = tmp_path / "a.tif"
    stack = np.zeros((depth, side, side), np.uint16)
    tifffile.imwrite(
        path, stack, metadata={"axes": "ZYX"}, photometric="minisblack", compression=compression
    )
    planes(path, z=0)  # whatever is imported or kept once
    tracemalloc.start()
    count = sum(1 for _ in images.open(path, z="all"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == depth
    # A plane as stored, decoded and handed out, and page directories: far from the 40 planes.
    assert peak < 8 * stack[0].nbytes
