"""ND2, CZI, LIF and DICOM, read as every other format is, or refused in a sentence.

CZI and DICOM are written by the libraries of those formats; ND2 and LIF, which none writes, byte by
byte.
"""

import sys
import tracemalloc

import dicom_writer
import lif_writer
import nd2_writer
import numpy as np
import pytest

import nucleiseg
from nucleiseg import data, images
from nucleiseg.readers.codecs import imagecodecs

try:
    import czi_writer
except ImportError:
    czi_writer = None
needs_czi = pytest.mark.skipif(
    czi_writer is None, reason="needs pylibCZIrw, which has no wheel for 64-bit Arm: '.[czi]'"
)


def ramp(*shape, dtype=np.uint16):
    """Every value another one, so that no plane, row or channel passes for another."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def arrays(path, **wanted):
    return {plane.suffix: plane.array for plane in images.open(path, **wanted)}


def refused(path, words, **wanted):
    with pytest.raises(ValueError, match=words) as caught:
        list(images.open(path, **wanted))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "Traceback" not in message


# ND2


@pytest.fixture
def nd2_frames():
    return ramp(2 * 2 * 3, 8, 10, 2)


def nd2_file(tmp_path, frames, **options):
    options = {"channels": ("DAPI", "GFP"), "names": ("well A1", "well/B2"), **options}
    nd2_writer.write(tmp_path / "a.nd2", frames, {"T": 2, "P": 2, "Z": 3}, **options)
    return tmp_path / "a.nd2"


@pytest.mark.parametrize(
    "options",
    [{}, {"compress": True}, {"packed": nd2_writer.compressed}],
    ids=["raw", "compressed frames", "packed fields"],
)
def test_nd2_has_positions_frames_planes_and_channels(tmp_path, nd2_frames, options):
    path = nd2_file(tmp_path, nd2_frames, **options)
    found = arrays(path, channel="GFP", z="all", frame=1, series="all")
    loops = nd2_frames.reshape(2, 2, 3, 8, 10, 2)
    expected = {
        f"_{name}_z{z:03}_t001": loops[1, position, z, ..., 1]
        for position, name in enumerate(["well_A1", "well_B2"])
        for z in range(3)
    }
    assert list(found) == list(expected)
    for suffix, pixels in expected.items():
        np.testing.assert_array_equal(found[suffix], pixels)
        assert found[suffix].dtype == np.uint16


def test_one_of_several_images_is_chosen_by_name_or_number(tmp_path, nd2_frames):
    path = nd2_file(tmp_path, nd2_frames)
    wanted = {"channel": 0, "z": 0, "frame": 0}
    by_name = arrays(path, series="well_B2", **wanted)
    assert list(by_name) == list(arrays(path, series="1", **wanted)) == ["_well_B2_z000_t000"]
    refused(
        path,
        r"holds several images \(0 'well_A1', 1 'well_B2', ...\); choose one with --series",
        **wanted,
    )
    refused(
        path,
        r"has no --series 'C3': it has 2 images \(0 'well_A1', 1 'well_B2'\)",
        series="C3",
        **wanted,
    )
    with pytest.raises(ValueError, match="series: got -1; accepted are a name and numbers"):
        images.open(path, series=-1)


@pytest.mark.parametrize("mpp", [0.325, None])
def test_nd2_gives_its_pixel_size_if_it_is_calibrated(tmp_path, mpp):
    nd2_writer.write(tmp_path / "a.nd2", ramp(1, 8, 10, 1), {}, mpp=mpp)
    (plane,) = images.open(tmp_path / "a.nd2")
    assert plane.suffix == ""
    assert plane.mpp == pytest.approx(mpp) if mpp else plane.mpp is None


def test_nd2_in_colours_is_rgb(tmp_path):
    frames = ramp(1, 8, 10, 3, dtype=np.uint8)
    nd2_writer.write(tmp_path / "a.nd2", frames, {}, channels=("RGB",))
    np.testing.assert_array_equal(images.read(tmp_path / "a.nd2"), frames[0])


def test_a_frame_that_is_missing_in_nd2_is_no_black_picture(tmp_path, nd2_frames):
    path = nd2_file(tmp_path, nd2_frames, leave_out=(3,))
    refused(path, "is truncated: its frame 3 is missing", channel=0, z=0, frame=0, series=1)


def test_metadata_of_nd2_that_yield_more_than_they_should_are_refused(tmp_path):
    def bomb(data):
        return nd2_writer.compressed(data + bytes(2**26 + 2**20))

    def bomb_within(data):
        return nd2_writer.compressed(data + nd2_writer.compressed(bytes(2**26 + 2**20)))

    for packed in (bomb, bomb_within):
        nd2_writer.write(tmp_path / "a.nd2", ramp(1, 8, 10, 1), {}, packed=packed)
        assert (tmp_path / "a.nd2").stat().st_size < 2**20
        refused(tmp_path / "a.nd2", "is damaged: its compressed data yield more than they should")


def test_a_frame_of_nd2_that_yields_more_than_its_pixels_is_refused(tmp_path):
    path = tmp_path / "a.nd2"
    nd2_writer.write(path, np.zeros((1, 4000, 5000, 1), np.uint8), {}, compress=True)
    content = path.read_bytes()
    name = "uiHeight\0".encode("utf-16-le")
    at = content.index(name) + len(name)
    path.write_bytes(content[:at] + (2).to_bytes(4, "little") + content[at + 4 :])
    refused(path, "is damaged: its compressed data yield more than they should")


# CZI


def czi_file(path, scenes=2, channels=2, options=None, dtype=np.uint16, colours=1):
    pixels = ramp(scenes, 2, channels, 40, 50, colours, dtype=dtype)
    czi_writer.write(path, pixels, compression=options)
    return pixels


@needs_czi
@pytest.mark.parametrize("options", [None, "zstd1:ExplicitLevel=2"])
def test_czi_has_scenes_put_together_of_their_tiles(tmp_path, options):
    pixels = czi_file(tmp_path / "a.czi", options=options)
    found = arrays(tmp_path / "a.czi", channel="gfp", z="all", series="all")
    assert list(found) == [f"_scene00{scene}_z00{z}" for scene in (0, 1) for z in (0, 1)]
    for scene, z in np.ndindex(2, 2):
        expected = pixels[scene, z, 1, ..., 0]
        np.testing.assert_array_equal(found[f"_scene00{scene}_z00{z}"], expected)
    (plane,) = images.open(tmp_path / "a.czi", channel=0, z=0, series=1)
    assert plane.mpp == pytest.approx(0.325)


@needs_czi
def test_czi_in_colours_is_rgb(tmp_path):
    pixels = czi_file(tmp_path / "a.czi", scenes=1, channels=1, dtype=np.uint8, colours=3)
    ((suffix, found),) = arrays(tmp_path / "a.czi", z=1).items()
    assert suffix == "_z001"
    np.testing.assert_array_equal(found, pixels[0, 1, 0, ..., ::-1])


@needs_czi
def test_a_tile_of_a_czi_that_promises_more_than_the_file_holds_is_refused(tmp_path):
    czi_file(tmp_path / "a.czi", scenes=1)
    content = bytearray((tmp_path / "a.czi").read_bytes())
    content[content.index(b"ZISRAWSUBBLOCK") + 47] = 36  # the highest byte of its size
    (tmp_path / "a.czi").write_bytes(content)
    refused(tmp_path / "a.czi", "is truncated: [0-9,]+ bytes of at least", channel=0, z=0)


def changed_tile(path, at, value):
    """Change four bytes of the first tile's segment."""
    czi_file(path, scenes=1)
    content = bytearray(path.read_bytes())
    place = content.index(b"ZISRAWSUBBLOCK") + at
    content[place : place + 4] = value.to_bytes(4, "little")
    path.write_bytes(content)


@needs_czi
@pytest.mark.parametrize("count", [41, 2**31 - 1, 2**32 - 100])
def test_the_dimensions_within_a_tile_of_a_czi_are_counted_before_libczi_is_asked(tmp_path, count):
    """Without this the process ends by SIGSEGV."""
    changed_tile(tmp_path / "a.czi", 76, count)
    refused(tmp_path / "a.czi", "is damaged: the directory entry of a tile is invalid", z=0)


@needs_czi
def test_a_czi_that_promises_far_more_pixels_than_it_can_hold_is_refused(tmp_path):
    czi_file(tmp_path / "a.czi", scenes=1)
    content = bytearray((tmp_path / "a.czi").read_bytes())
    entry = content.index(b"Y\0\0\0", content.index(b"ZISRAWDIRECTORY"))
    for at in (8, 16):  # its length, and that which is stored
        content[entry + at : entry + at + 4] = (2**24).to_bytes(4, "little")
    (tmp_path / "a.czi").write_bytes(content)
    refused(tmp_path / "a.czi", "it promises 838,860,800 pixels in", channel=0, z=0)


# LIF


def test_lif_has_images_with_axes_of_their_own(tmp_path):
    stack, colours = ramp(2, 3, 2, 8, 10), ramp(6, 7, 3, dtype=np.uint8)
    mosaic = ramp(2, 8, 10)
    lif_writer.write(
        tmp_path / "a.lif",
        {"Series 1": ("TZCYX", stack), "a/rgb": ("YXS", colours), "tiles": ("MYX", mosaic)},
    )
    found = arrays(tmp_path / "a.lif", channel="Green", z="all", frame=1, series="Series_1")
    assert list(found) == [f"_Series_1_z00{z}_t001" for z in range(3)]
    for z in range(3):
        np.testing.assert_array_equal(found[f"_Series_1_z00{z}_t001"], stack[1, z, 1])
    (plane,) = images.open(tmp_path / "a.lif", series="a_rgb")
    np.testing.assert_array_equal(plane.array, colours)
    assert plane.mpp == pytest.approx(0.325)
    for number in range(2):
        ((suffix, tile),) = arrays(tmp_path / "a.lif", series=2 + number).items()
        assert suffix == f"_tiles_m00{number}"
        np.testing.assert_array_equal(tile, mosaic[number])


def test_a_single_image_of_a_lif_has_no_name(tmp_path):
    lif_writer.write(tmp_path / "a.lif", {"Series 1": ("YX", ramp(8, 10))})
    assert list(arrays(tmp_path / "a.lif")) == [""]


def test_a_lif_that_refers_to_other_files_is_refused(tmp_path):
    secret = tmp_path / "secret.lif"
    lif_writer.write(secret, {"a": ("YX", ramp(8, 10))})
    lif_writer.write(
        tmp_path / "a.lif", {"a": ("YX", ramp(8, 10))}, inside=f'<Reference File="{secret}"/>'
    )
    refused(tmp_path / "a.lif", "refers to other files")


# DICOM


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_grey_dicom_is_read_as_stored(tmp_path, dtype):
    pixels = ramp(8, 10, dtype=dtype) - dtype(np.dtype(dtype).kind == "i")
    dicom_writer.write(tmp_path / "a", pixels)
    found = images.read(tmp_path / "a")
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype == dtype


def test_dicom_in_colours_is_rgb(tmp_path):
    pixels = ramp(8, 10, 3, dtype=np.uint8)
    dicom_writer.write(tmp_path / "a.dcm", pixels)
    np.testing.assert_array_equal(images.read(tmp_path / "a.dcm"), pixels)


def test_zero_is_black_in_dicom(tmp_path):
    pixels = ramp(8, 10)
    dicom_writer.write(
        tmp_path / "a.dcm",
        pixels,
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        HighBit=11,
    )
    np.testing.assert_array_equal(images.read(tmp_path / "a.dcm"), 4095 - pixels)


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagerPixelSpacing"])
def test_dicom_gives_its_pixel_size(tmp_path, name):
    dicom_writer.write(tmp_path / "a.dcm", ramp(8, 10), **{name: ["0.0005", "0.0005"]})
    (plane,) = images.open(tmp_path / "a.dcm")
    assert plane.mpp == pytest.approx(0.5)


def test_frames_of_dicom_need_a_meaning(tmp_path):
    pixels = ramp(3, 8, 10)
    dicom_writer.write(tmp_path / "a.dcm", pixels)
    refused(tmp_path / "a.dcm", "does not say what axis 0 is")
    found = arrays(tmp_path / "a.dcm", axes="ZYX", z="all")
    np.testing.assert_array_equal(np.stack(list(found.values())), pixels)


def test_jpeg_2000_in_dicom_is_exact(tmp_path):
    pixels = ramp(3, 32, 40)
    encoded = [imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K") for frame in pixels]
    dicom_writer.write(tmp_path / "a.dcm", pixels, encoded=encoded, syntax="1.2.840.10008.1.2.4.90")
    found = arrays(tmp_path / "a.dcm", axes="TYX", frame="all")
    np.testing.assert_array_equal(np.stack(list(found.values())), pixels)


@pytest.mark.parametrize("kind", ["YBR_FULL_422", "RGB"])
def test_jpeg_in_dicom_has_the_colours_that_its_header_names(tmp_path, kind):
    pixels = np.zeros((32, 40, 3), np.uint8)
    pixels[..., 0] = 200
    space = "RGB" if kind == "RGB" else "YCBCR"
    data = imagecodecs.jpeg8_encode(pixels, 95, colorspace="RGB", outcolorspace=space)
    dicom_writer.write(
        tmp_path / "a.dcm",
        pixels,
        encoded=[data],
        syntax="1.2.840.10008.1.2.4.50",
        PhotometricInterpretation=kind,
    )
    assert np.abs(images.read(tmp_path / "a.dcm").astype(int) - pixels).max() <= 3


def test_what_is_no_plain_dicom_is_refused_by_its_name(tmp_path):
    pixels = ramp(8, 10)
    dicom_writer.write(tmp_path / "slide.dcm", pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6")
    refused(tmp_path / "slide.dcm", "is a whole slide, which the command nucleiseg slide segments")
    dicom_writer.write(tmp_path / "a.dcm", pixels, PhotometricInterpretation="PALETTE COLOR")
    refused(tmp_path / "a.dcm", "has the colours PALETTE COLOR in 1 samples; accepted are MONO")
    dicom_writer.write(tmp_path / "a.dcm", pixels, Rows=9)
    refused(tmp_path / "a.dcm", "is truncated")
    dicom_writer.write(tmp_path / "a.dcm", pixels, encoded=[b"12"], syntax="1.2.840.10008.1.2.5")
    refused(tmp_path / "a.dcm", "is stored as RLE Lossless; accepted are uncompressed, JPEG")


def test_an_element_of_dicom_that_promises_more_than_the_file_holds_takes_no_memory(tmp_path):
    dicom_writer.write(tmp_path / "a.dcm", ramp(8, 10))
    content = (tmp_path / "a.dcm").read_bytes()
    at = content.index(b"\xe0\x7f\x10\0OW") + 8
    (tmp_path / "a.dcm").write_bytes(content[:at] + b"\xf0\xff\xff\x7f" + content[at + 4 :])
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(images.read(tmp_path / "a.dcm"), ramp(8, 10))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


# All of them


def nd2(path):
    nd2_writer.write(path, ramp(2, 8, 10, 1), {"Z": 2})


def lif(path):
    lif_writer.write(path, {"a": ("ZYX", ramp(2, 8, 10))})


def dicom(path):
    dicom_writer.write(path, ramp(8, 10))


def zeiss(path):
    czi_file(path, scenes=1)


ALL = [nd2, lif, dicom, pytest.param(zeiss, marks=needs_czi)]


@pytest.mark.parametrize("write", ALL)
def test_cut_anywhere_they_are_refused_in_a_sentence(tmp_path, write):
    write(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for kept in np.linspace(9, len(whole) - 1, 20, dtype=int):
        (tmp_path / "cut").write_bytes(whole[:kept])
        refused(tmp_path / "cut", ".", channel=0, z="all")


@pytest.mark.parametrize(
    ("write", "package", "extra"),
    [
        (nd2, "nd2", "nd2"),
        (lif, "liffile", "lif"),
        (dicom, "pydicom", "dicom"),
        pytest.param(zeiss, "pylibCZIrw", "czi", marks=needs_czi),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(
    tmp_path, monkeypatch, write, package, extra
):
    write(tmp_path / "a")
    for name in (package, *sys.modules):
        if name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
    refused(tmp_path / "a", rf"needs the package {package}: pip install 'nucleiseg\[{extra}\]'")


def test_the_nuclei_of_an_nd2_are_those_of_its_pixels(tmp_path):
    image = data.example("fluorescence")
    image = image[..., 0] if image.ndim == 3 else image
    nd2_writer.write(tmp_path / "a.nd2", image[None, ..., None], {})
    expected = nucleiseg.segment(image, "labels")
    assert expected.max() > 5
    np.testing.assert_array_equal(nucleiseg.segment(tmp_path / "a.nd2", "labels"), expected)
