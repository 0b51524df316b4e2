"""TIFF: every method of compression, arrangement and kind of damage."""

import io
import os
import struct
import subprocess
import sys

import cv2
import imagecodecs
import numpy as np
import pytest
import skimage.data
import tifffile
from tifffile import COMPRESSION

from nucleiseg import images
from nucleiseg.readers import tiff_pixels, tiff_streams

DECODED = [COMPRESSION[name] for name in tiff_pixels.DECODED]
REFUSED = [method for method in COMPRESSION if method not in DECODED]
JPEG = [COMPRESSION.JPEG, COMPRESSION.ALT_JPEG, COMPRESSION.JPEG_LOSSY]
EXACT = [method for method in DECODED if method not in JPEG]
# Codecs of colour pictures alone.
COLOUR_ONLY = [COMPRESSION.WEBP, COMPRESSION.WEBP_DEPRECATED]


@pytest.fixture(scope="module")
def rgb():
    return np.ascontiguousarray(skimage.data.immunohistochemistry()[100:200, 100:190])


@pytest.fixture(scope="module")
def grey(rgb):
    return rgb[..., 1].copy()


def ramp(*shape, dtype=np.uint16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def tiff(image, **options):
    """Bytes of a TIFF file; methods that tifffile does not write are set in the tag alone."""
    method = options.get("compression")
    if method == COMPRESSION.ALT_JPEG:
        return patched(tiff(image, **{**options, "compression": "jpeg"}), "Compression", method)
    file = io.BytesIO()
    options.setdefault("photometric", "rgb" if image.shape[-1] == 3 else "minisblack")
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def patched(data, name, value, page=0, item=0):
    """The same file with another value of a tag."""
    changed = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag, order = file.pages[page].tags[name], file.byteorder
    layout = {3: "H", 4: "I", 16: "Q"}[int(tag.dtype)]
    place = tag.valueoffset + item * struct.calcsize(layout)
    struct.pack_into(order + layout, changed, place, value)
    return bytes(changed)


def segments(data, page=0):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages[page]
        return list(zip(found.dataoffsets, found.databytecounts, strict=True))


def encoded(parts, shape, **options):
    """Bytes of a TIFF file whose strips or tiles hold the bytes given."""
    file = io.BytesIO()
    tifffile.imwrite(file, iter(parts), shape=shape, dtype=np.uint8, **options)
    return file.getvalue()


@pytest.fixture
def read(tmp_path):
    def from_bytes(data, **wanted):
        path = tmp_path / "a.tif"
        path.write_bytes(data)
        return images.read(path) if not wanted else [p.array for p in images.open(path, **wanted)]

    return from_bytes


@pytest.fixture
def refused(read):
    def with_words(data, words, **wanted):
        with pytest.raises(ValueError, match=rf"a\.tif: {words}"):
            read(data, **wanted)

    return with_words


LAYOUTS = {"strips": {"rowsperstrip": 48}, "tiles": {"tile": (64, 64)}}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", EXACT, ids=lambda method: method.name)
def test_every_lossless_method_of_compression_is_read_exactly(read, rgb, method, layout):
    data = tiff(rgb, compression=method, **LAYOUTS[layout])
    np.testing.assert_array_equal(read(data), rgb)


@pytest.mark.parametrize(
    "method", [one for one in EXACT if one not in COLOUR_ONLY], ids=lambda method: method.name
)
def test_every_lossless_method_of_compression_keeps_16_bits(read, grey, method):
    deep = grey.astype(np.uint16) * 257 - 3
    np.testing.assert_array_equal(read(tiff(deep, compression=method, rowsperstrip=48)), deep)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", JPEG, ids=lambda method: method.name)
def test_jpeg_is_close_and_in_rgb_order(read, rgb, method, layout):
    options = {"compression": method, "compressionargs": {"level": 95}, **LAYOUTS[layout]}
    data = tiff(rgb, **options)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        colours = "RGB" if method == COMPRESSION.JPEG_LOSSY else "YCBCR"
        assert file.pages.first.photometric.name == colours
    difference = np.abs(read(data).astype(int) - rgb)
    # Seen: 1.8 on average; swapped channels are off by 40.
    assert difference.mean() < 4


@pytest.mark.parametrize("method", REFUSED, ids=lambda method: method.name)
def test_every_other_method_of_compression_is_refused_by_its_name(refused, rgb, method):
    with pytest.raises((ValueError, KeyError, ImportError)):
        tiff(rgb, compression=method)  # nothing at hand writes it
    data = patched(tiff(rgb), "Compression", method)
    refused(data, f"is compressed with {method.name}, which is not read; accepted are NONE, LZW")


def test_a_method_of_compression_that_nobody_knows_is_refused_by_its_number(refused, rgb):
    refused(patched(tiff(rgb), "Compression", 60_001), r"is compressed with unknown \(60001\)")


def jpeg2000(image, mct):
    return imagecodecs.jpeg2k_encode(image, level=0, mct=mct, codecformat="j2k", reversible=True)


@pytest.mark.parametrize("photometric", ["RGB", "YCBCR"])
@pytest.mark.parametrize("method", ["APERIO_JP2000_YCBC", "APERIO_JP2000_RGB"])
def test_slides_of_aperio_in_jpeg_2000_have_their_colours(read, rgb, method, photometric):
    stored = rgb[:96, :80]
    if method == "APERIO_JP2000_YCBC":
        stored = cv2.cvtColor(stored, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    parts = [
        jpeg2000(np.ascontiguousarray(stored[row : row + 48, column : column + 80]), mct=False)
        for row in (0, 48)
        for column in (0,)
    ]
    options = {"photometric": "rgb", "tile": (48, 80), "compression": COMPRESSION[method]}
    data = encoded(parts, (96, 80, 3), **options)
    colours = tifffile.PHOTOMETRIC[photometric]
    data = patched(data, "PhotometricInterpretation", colours)
    # Y, Cb, Cr are rounded to whole levels, and back.
    np.testing.assert_allclose(read(data).astype(int), rgb[:96, :80], atol=2)


def test_what_the_decoder_of_jpeg_2000_makes_rgb_is_not_converted_again(rgb):
    assert not tiff_streams.is_rgb(jpeg2000(rgb, mct=False))
    assert tiff_streams.is_rgb(jpeg2000(rgb, mct=True))
    subsampled = bytearray(jpeg2000(rgb, mct=False))
    subsampled[46] = subsampled[49] = 2  # columns to a sample of Cb and Cr
    assert tiff_streams.is_rgb(bytes(subsampled))
    for colours, converted in (("SYCC", True), ("SRGB", False)):
        options = {"mct": False, "codecformat": "jp2", "colorspace": colours, "reversible": True}
        assert tiff_streams.is_rgb(imagecodecs.jpeg2k_encode(rgb, **options)) == converted


def test_ycbcr_without_a_decoder_that_makes_it_rgb_is_refused(refused, rgb):
    data = patched(tiff(rgb, compression="zlib"), "PhotometricInterpretation", 6)
    refused(data, "has YCBCR colours, 3 samples compressed with ADOBE_DEFLATE; accepted are 3")


@pytest.mark.parametrize("method", [None, "lzw", "jpeg2000"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rows_and_columns_are_as_stored_whatever_the_orientation(read, rgb, orientation, method):
    # As ImageJ and QuPath show them, on whose pixels masks and outlines are laid.
    tag = (274, "H", 1, orientation, True)
    data = tiff(rgb, compression=method, extratags=[tag])
    np.testing.assert_array_equal(read(data), rgb)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4"])
@pytest.mark.parametrize("method", [None, "lzw"])
def test_where_zero_is_white_whole_numbers_are_turned_round(read, dtype, method):
    limits = np.iinfo(dtype)
    image = np.linspace(limits.min, limits.max, 35).astype(dtype).reshape(5, 7)
    turned = read(tiff(image, photometric="miniswhite", compression=method))
    assert turned.dtype == image.dtype
    expected = int(limits.min) + int(limits.max) - image.astype(np.int64)
    np.testing.assert_array_equal(turned, expected.astype(dtype))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_where_zero_is_white_floats_change_their_sign(read, dtype):
    image = np.linspace(-1, 3, 35).astype(dtype).reshape(5, 7)
    np.testing.assert_array_equal(read(tiff(image, photometric="miniswhite")), -image)


def test_where_zero_is_white_few_bits_are_turned_round_within_them(read):
    packed = np.array([[0x01, 0x23], [0xEF, 0x80]], np.uint8)
    data = tiff(packed, photometric="miniswhite", metadata=None)
    data = patched(patched(data, "BitsPerSample", 4), "ImageWidth", 4)
    np.testing.assert_array_equal(read(data), [[15, 14, 13, 12], [1, 0, 7, 15]])


def test_packed_values_of_12_bits_are_read_exactly(read):
    packed = np.array([[0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC]], np.uint8)
    data = patched(patched(tiff(packed, metadata=None), "BitsPerSample", 12), "ImageWidth", 4)
    np.testing.assert_array_equal(read(data), [[0x123, 0x456, 0x789, 0xABC]])


def test_one_bit_is_black_or_white(read):
    image = ramp(9, 21) % 3 == 0
    np.testing.assert_array_equal(read(tiff(image)), image * np.uint8(255))
    white = read(tiff(image, photometric="miniswhite"))
    np.testing.assert_array_equal(white, ~image * np.uint8(255))


def test_alpha_is_a_fourth_channel_and_changes_no_colour(read, rgb, grey):
    rgba = np.dstack([rgb, grey])
    for alpha in ("assocalpha", "unassalpha"):
        data = tiff(rgba, photometric="rgb", extrasamples=[alpha], compression="lzw")
        np.testing.assert_array_equal(read(data), rgba)


def test_separate_planes_of_the_other_byte_order_become_interleaved(read, rgb):
    planes = np.moveaxis(rgb.astype(np.uint16) * 200, -1, 0)
    options = {"photometric": "rgb", "planarconfig": "separate", "byteorder": ">"}
    for method in (None, "lzw", "zlib"):
        result = read(tiff(planes, compression=method, rowsperstrip=30, **options))
        np.testing.assert_array_equal(result, rgb.astype(np.uint16) * 200)


def test_two_samples_that_are_no_colours_ask_for_a_channel(refused, grey):
    data = tiff(np.dstack([grey, grey]), photometric="minisblack", planarconfig="contig")
    refused(data, r"has 2 channels \(0 to 1\); choose the one with the nuclei")


def test_each_page_has_its_own_palette(read, grey):
    palettes = np.random.default_rng(1).integers(256, 65536, (2, 3, 256), dtype=np.uint16)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for palette in palettes:
            writer.write(grey, photometric="palette", colormap=palette, metadata=None)
    found = read(file.getvalue(), axes="ZYXS", z="all")
    for image, palette in zip(found, palettes, strict=True):
        np.testing.assert_array_equal(image, (palette >> 8).astype(np.uint8).T[grey])


def test_a_palette_of_8_bits_where_16_are_due_is_not_black(read, grey):
    palette = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint16)
    data = tiff(grey, photometric="palette", colormap=palette)
    np.testing.assert_array_equal(read(data), palette.astype(np.uint8).T[grey])


@pytest.mark.parametrize("name", [b"K\xf6rper_1\xb5m.tif", b"\xff\xfe \x01.tif"])
@pytest.mark.parametrize("options", [{"compression": "lzw"}, {"ome": True}, {"imagej": True}])
def test_any_name_that_the_file_system_allows_is_read(tmp_path, grey, name, options):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(tiff(grey, **options))
    np.testing.assert_array_equal(images.read(path), grey)


def test_planes_behind_a_single_page_are_found_under_any_name(tmp_path):
    stack = ramp(3, 24, 32)
    path = tmp_path / os.fsdecode(b"\xb5m.tif")
    path.write_bytes(tiff(stack, imagej=True, metadata={"axes": "ZYX"}, truncate=True))
    found = [plane.array for plane in images.open(path, z="all")]
    np.testing.assert_array_equal(found, stack)


CHECKED = ["LZW", "ADOBE_DEFLATE", "PACKBITS", "LZMA", "ZSTD", "LERC", "PNG", "JPEGXL", "WEBP"]
CHECKED += ["JPEG2000", "JPEGXR", "JPEG"]


@pytest.mark.parametrize("method", CHECKED)
def test_damaged_strips_are_refused_with_their_number(refused, rgb, method):
    data = bytearray(tiff(rgb, compression=COMPRESSION[method], rowsperstrip=25))
    begin, count = segments(bytes(data))[2]
    data[begin : begin + count] = bytes(count)
    refused(bytes(data), f"is damaged: strip 2 of page 0, compressed with {method}: ")


@pytest.mark.parametrize("method", CHECKED)
def test_strips_that_end_too_early_are_refused(refused, rgb, method):
    data = tiff(rgb, compression=COMPRESSION[method], rowsperstrip=25)
    _, count = segments(data)[1]
    data = patched(data, "StripByteCounts", count - count // 8, item=1)
    refused(data, f"is damaged: strip 1 of page 0, compressed with {method}: ")


OTHER_SIZE = ["PNG", "JPEGXL", "WEBP", "JPEG2000", "JPEGXR", "LERC", "JPEG"]


@pytest.mark.parametrize("method", OTHER_SIZE)
def test_pictures_of_another_size_than_their_strip_are_refused(refused, rgb, method):
    # As many pixels, but turned: they would fill the strip and be scrambled.
    strip = tiff(np.rot90(rgb[:40, :90]).copy(), compression=COMPRESSION[method])
    begin, count = segments(strip)[0]
    options = {"photometric": "rgb", "rowsperstrip": 40, "compression": COMPRESSION[method]}
    data = encoded([strip[begin : begin + count]], (40, 90, 3), **options)
    refused(data, ".*: it holds 90 x 40 pixels of 3 values instead of 40 x 90 of 3")


def progressive_jpeg(image, scans):
    """A JPEG whose last scan comes so many times."""
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    data = cv2.imencode(".jpg", image, options)[1].tobytes()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def test_a_jpeg_of_a_thousand_scans_is_refused(refused, read, grey):
    options = {"photometric": "minisblack", "compression": "jpeg"}
    image = np.ascontiguousarray(grey)
    data = encoded([progressive_jpeg(image, 1)], image.shape, **options)
    assert np.abs(read(data).astype(int) - image).mean() < 4
    data = encoded([progressive_jpeg(image, 1000)], image.shape, **options)
    refused(data, ".*: it has more than 100 scans")


@pytest.mark.parametrize("method", [None, "zlib"])
@pytest.mark.parametrize("tag", ["TileOffsets", "TileByteCounts"])
def test_a_tile_that_is_nowhere_is_an_error_and_not_black(refused, method, tag):
    data = tiff(ramp(64, 64), tile=(32, 32), compression=method)
    refused(patched(data, tag, 0, item=2), "is damaged: tile 2 of page 0 is missing")


def test_the_page_that_lacks_a_strip_is_named(refused):
    data = tiff(ramp(3, 64, 64), rowsperstrip=16, compression="zlib", metadata={"axes": "ZYX"})
    data = patched(data, "StripByteCounts", 0, page=2, item=1)
    refused(data, "is damaged: strip 1 of page 2 is missing", z="all")


@pytest.mark.parametrize("tag", ["ImageLength", "ImageWidth"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"tile": (16, 16)}])
def test_a_page_larger_than_its_pixels_is_refused(refused, tag, layout):
    data = patched(tiff(ramp(64, 64, dtype=np.uint8), **layout), tag, 250)
    refused(data, r"is damaged: (page 0 has \d+|strip 0 of page 0 has 1,024 bytes, too few)")


def test_one_strip_may_hold_all_rows_though_several_are_announced(read):
    image = ramp(64, 48)
    np.testing.assert_array_equal(read(patched(tiff(image), "RowsPerStrip", 5)), image)


def test_one_strip_of_packed_bits_does_not_stand_for_several(refused):
    data = patched(tiff(ramp(64, 64) % 3 == 0), "RowsPerStrip", 31)
    refused(data, "is damaged: page 0 has 1 strips, and its size asks for 3")


@pytest.mark.parametrize("value", [0, 3, 65_535])
def test_an_unknown_arrangement_of_samples_is_refused(refused, rgb, value):
    data = patched(tiff(rgb, planarconfig="contig"), "PlanarConfiguration", value)
    refused(data, f"is damaged: its PlanarConfiguration is {value}; accepted are 1 and 2")


def test_few_bytes_that_cannot_hold_so_many_pixels_are_refused(refused):
    data = tiff(np.zeros((64, 64), np.uint8), compression="zlib", rowsperstrip=64)
    for tag in ("ImageLength", "RowsPerStrip"):
        data = patched(data, tag, 30_000)
    refused(data, r"is damaged: strip 0 of page 0 has \d+ bytes, too few for its pixels")


@pytest.mark.parametrize("tag", ["BitsPerSample", "Compression", "ImageWidth", "RowsPerStrip"])
def test_pages_that_are_stored_in_several_ways_are_no_stack(refused, tag):
    stack = ramp(3, 64, 64)
    data = tiff(stack, compression="lzw", rowsperstrip=64, metadata={"axes": "ZYX"})
    value = {"BitsPerSample": 8, "Compression": 8, "ImageWidth": 63, "RowsPerStrip": 63}[tag]
    words = f"page 2 differs from page 0 in {tag}|is truncated or damaged: incompatible keyframe"
    refused(patched(data, tag, value, page=2), f".*({words})", z="all")


def test_without_imagecodecs_a_sentence_says_what_is_missing(tmp_path):
    (tmp_path / "plain.tif").write_bytes(tiff(ramp(24, 20)))
    for method in ("lzw", "zlib", "zstd", "lerc", "packbits"):
        (tmp_path / f"{method}.tif").write_bytes(tiff(ramp(24, 20), compression=method))
    for suffix in (".png", ".jpg"):
        (tmp_path / f"picture{suffix}").write_bytes(cv2.imencode(suffix, ramp(24, 20))[1])
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from nucleiseg import images\n"
        "for name in sys.argv[1:]:\n"
        "    try: print('mean', images.read(name).mean())\n"
        "    except ValueError as error: print(error)\n"
    )
    names = sorted(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True
    )
    lines = dict(zip((name.name for name in names), done.stdout.splitlines(), strict=True))
    assert lines.pop("plain.tif") == f"mean {np.arange(480).mean()}"
    for line in lines.values():
        assert line.endswith(
            "which needs the package imagecodecs; it belongs to nucleiseg and is missing: "
            "pip install imagecodecs"
        )


def lzw(codes, mirrored=False):
    """Bytes of codes of 9 bits; mirrored is the form of the first TIFF writers."""
    if mirrored:
        bits = sum(code << 9 * number for number, code in enumerate(codes))
        return bits.to_bytes(-(-9 * len(codes) // 8), "little")
    bits = "".join(f"{code:09b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


CLEAR, END = 256, 257


def lzw_tiff(data, width):
    options = {"photometric": "minisblack", "compression": COMPRESSION.LZW}
    return encoded([data], (1, width), **options)


@pytest.mark.parametrize("mirrored", [False, True])
def test_lzw_codes_behind_clear_are_read_from_the_file_or_refused(read, refused, mirrored):
    sound = [CLEAR, 7, 258, CLEAR, CLEAR, 9, 9, 259, CLEAR, END]
    np.testing.assert_array_equal(read(lzw_tiff(lzw(sound, mirrored), 7)), [[7, 7, 7, 9, 9, 9, 9]])
    # The decoder would look up a string that was never made, in memory that nobody wrote.
    for code in (258, 300, 511):
        damaged = [CLEAR, 7, 258, CLEAR, code, 9, 9, 9, END]
        refused(lzw_tiff(lzw(damaged, mirrored), 7), ".*: a Clear code is not followed by a single")


@pytest.mark.parametrize("size", [1, 300, 5_000, 300_000])
@pytest.mark.parametrize("kind", ["flat", "noise", "steps"])
def test_lzw_data_of_any_length_are_read_exactly(read, kind, size):
    random = np.random.default_rng(0)
    values = {"flat": np.zeros(size), "noise": random.integers(0, 256, size)}
    values["steps"] = np.cumsum(random.integers(-2, 3, size)) // 2
    image = values[kind].astype(np.uint8)[None]
    np.testing.assert_array_equal(read(tiff(image, compression="lzw")), image)


def test_lzw_as_libtiff_writes_it_is_read_exactly(read):
    random = np.random.default_rng(0)
    image = np.cumsum(random.integers(-2, 3, (500, 700)), axis=1).astype(np.uint8)
    options = [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_LZW]
    np.testing.assert_array_equal(read(cv2.imencode(".tif", image, options)[1].tobytes()), image)


def test_lzw_that_clears_its_table_all_the_time_is_refused(refused):
    refused(lzw_tiff(lzw([CLEAR, 7] * 100_000), 100_000), ".*: a Clear code is not followed")


@pytest.mark.parametrize("name", ["values a pixel", "pixels without a value"])
def test_lerc_of_another_shape_is_refused(refused, grey, name):
    data = bytearray(tiff(grey, compression="lerc"))
    begin, _ = segments(bytes(data))[0]
    words = {"values a pixel": "it holds .* of 65536 values", "pixels without a value": "some of"}
    place = {"values a pixel": 22, "pixels without a value": 26}[name]
    struct.pack_into("<i", data, begin + place, 65_536)
    refused(bytes(data), f".*: {words[name]}")
