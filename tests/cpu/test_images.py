import io
import os
import re
import resource
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from nucleiseg import images

DATA = Path(__file__).parents[1] / "data" / "images"
COLOUR = DATA / "hematoxylin_eosin.png"
GREY = DATA / "fluorescence_small.png"


def encoded(suffix, image, *options):
    stored = image[..., ::-1] if image.ndim == 3 else image
    return cv2.imencode(suffix, np.ascontiguousarray(stored), options)[1].tobytes()


def tiff(image, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def written(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def rgb():
    return images.read(COLOUR)


@pytest.fixture(scope="module")
def grey():
    return images.read(GREY)


def test_a_grey_image_has_two_axes(grey):
    assert grey.shape == (256, 256)
    assert grey.dtype == np.uint8


def test_colours_come_in_rgb_order(rgb):
    # Eosin is red to pink: in this picture red is the strongest channel and green the weakest.
    red, green, blue = rgb.reshape(-1, 3).mean(axis=0)
    assert red > blue > green


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_lossless_formats_give_the_same_pixels(tmp_path, rgb, grey, suffix):
    for image in (rgb, grey):
        path = written(tmp_path, f"image{suffix}", encoded(suffix, image))
        np.testing.assert_array_equal(images.read(path), image)


def test_lossless_webp_gives_the_same_pixels(tmp_path, rgb):
    data = encoded(".webp", rgb, cv2.IMWRITE_WEBP_QUALITY, 101)
    np.testing.assert_array_equal(images.read(written(tmp_path, "image.webp", data)), rgb)


def test_jpeg_is_close_and_in_rgb_order(tmp_path, rgb):
    path = written(tmp_path, "image.jpg", encoded(".jpg", rgb, cv2.IMWRITE_JPEG_QUALITY, 95))
    difference = images.read(path).astype(int) - rgb
    # Quality 95 with halved colour resolution is off by one or two levels; swapped channels by 40.
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64])
def test_tiff_keeps_deep_pixels(tmp_path, grey, dtype):
    deep = (grey.astype(dtype) * 100 + 7).astype(dtype)
    result = images.read(written(tmp_path, "deep.tif", tiff(deep)))
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, deep)


def test_png_keeps_16_bits(tmp_path, rgb):
    deep = rgb.astype(np.uint16) * 257
    np.testing.assert_array_equal(
        images.read(written(tmp_path, "deep.png", encoded(".png", deep))), deep
    )


def test_planar_and_big_endian_tiff_become_interleaved_and_native(tmp_path, rgb):
    planes = np.ascontiguousarray(np.moveaxis(rgb, 2, 0)).astype(np.uint16)
    data = tiff(planes, photometric="rgb", planarconfig="separate", byteorder=">")
    result = images.read(written(tmp_path, "planar.tif", data))
    assert result.flags.c_contiguous
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, rgb)


@pytest.mark.parametrize(
    "compression", [cv2.IMWRITE_TIFF_COMPRESSION_LZW, cv2.IMWRITE_TIFF_COMPRESSION_PACKBITS]
)
def test_compressed_tiff_is_read(tmp_path, rgb, compression):
    data = encoded(".tif", rgb, cv2.IMWRITE_TIFF_COMPRESSION, compression)
    np.testing.assert_array_equal(images.read(written(tmp_path, "image.tif", data)), rgb)


def test_a_tiff_whose_zero_is_white_is_turned(tmp_path, grey):
    data = tiff(255 - grey, photometric="miniswhite")
    np.testing.assert_array_equal(images.read(written(tmp_path, "white.tif", data)), grey)


def test_a_palette_tiff_becomes_rgb(tmp_path, grey):
    palette = np.random.default_rng(1).integers(0, 65536, (3, 256), dtype=np.uint16)
    data = tiff(grey, photometric="palette", colormap=palette)
    result = images.read(written(tmp_path, "palette.tif", data))
    np.testing.assert_array_equal(result, (palette >> 8).astype(np.uint8).T[grey])


def test_a_palette_png_becomes_rgb(tmp_path):
    from PIL import Image

    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    picture = Image.fromarray(indices, "P")
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(images.read(tmp_path / "palette.png"), colours[indices])


def test_pixels_stay_as_stored_whatever_the_exif_rotation(tmp_path, rgb):
    rotated = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + rotated
    data = encoded(".jpg", rgb)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (320, 256, 3)
    assert images.read(written(tmp_path, "rotated.jpg", data)).shape == (256, 320, 3)


def test_the_content_tells_the_format_not_the_suffix(tmp_path, grey):
    np.testing.assert_array_equal(
        images.read(written(tmp_path, "png.jpg", GREY.read_bytes())), grey
    )


def test_reduced_copies_in_a_tiff_are_left_aside(tmp_path, rgb):
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(rgb, photometric="rgb")
        file.write(rgb[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(images.read(path), rgb)


ENCODINGS = {
    "png": lambda image: encoded(".png", image),
    "jpeg": lambda image: encoded(".jpg", image),
    "bmp": lambda image: encoded(".bmp", image),
    "webp": lambda image: encoded(".webp", image),
    "tiff": lambda image: tiff(image, photometric="rgb"),
    "deflated tiff": lambda image: tiff(image, photometric="rgb", compression="zlib"),
    "lzw tiff": lambda image: encoded(".tif", image),
    "bigtiff": lambda image: tiff(image, photometric="rgb", bigtiff=True),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_file_cut_anywhere_is_an_error(tmp_path, rgb, name):
    data = ENCODINGS[name](rgb[:24, :32])
    path = tmp_path / "cut"
    for size in {1, 2, 7, 8, 12, *range(16, len(data), 41), *range(len(data) - 40, len(data))}:
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=re.escape(f"{path}: ")):
            images.read(path)
    path.write_bytes(data)
    assert images.read(path).shape == (24, 32, 3)


def test_a_jpeg_cut_behind_its_thumbnail_is_an_error(tmp_path, rgb):
    thumbnail = encoded(".jpg", rgb[::8, ::8])
    data = encoded(".jpg", rgb)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    path = written(tmp_path, "cut.jpg", data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut\.jpg: is truncated"):
        images.read(path)


def test_a_flipped_bit_in_a_png_is_an_error(tmp_path):
    data = bytearray(GREY.read_bytes())
    data[len(data) // 2] ^= 1
    with pytest.raises(ValueError, match=r"flipped\.png: is damaged: wrong checksum"):
        images.read(written(tmp_path, "flipped.png", data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"nuclei\n" * 9, "is not an image of a known format; accepted are PNG, JPEG, TIFF"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "is not an image of a known format"),
        (
            tiff(np.zeros((5, 16, 16), np.uint8)),
            "has the shape 5 x 16 x 16 and does not say what axis 0 is; say it for all of them, "
            "such as --axes ZYX (T frame",
        ),
        (
            tiff(np.zeros((5, 16, 16), np.uint8), imagej=True, metadata={"axes": "ZYX"}),
            "has 5 planes; choose one with --z INDEX, or all with --z all",
        ),
        (tiff(np.zeros((16, 16, 4), np.uint8), photometric="separated"), "has SEPARATED colours"),
    ],
    ids=["empty", "text", "sound", "volume", "imagej stack", "cmyk"],
)
def test_what_is_no_single_image_is_an_error(tmp_path, data, words):
    path = written(tmp_path, "file.tif", data)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {words}")):
        images.read(path)


def test_a_pipe_is_no_image_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png: is no regular file"):
        images.read(tmp_path / "pipe.png")


def test_a_ring_of_links_is_named(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(OSError, match=r"Too many levels of symbolic links: .*a\.png"):
        images.read(tmp_path / "a.png")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png: no such file"):
        images.read(tmp_path / "none.png")


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        images.read(tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_written_png_reads_back_equal(tmp_path, rgb, dtype):
    for image in (rgb.astype(dtype), rgb[..., 0].astype(dtype)):
        images.write_png(tmp_path / "image.png", image)
        result = images.read(tmp_path / "image.png")
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, image)


def test_a_file_appears_with_the_usual_permissions(tmp_path):
    images.write(tmp_path / "new", b"data")
    (tmp_path / "usual").touch()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = written(tmp_path, "image.png", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            images.write(path, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["image.png"]  # noqa: PTH208 (hidden files too)
    assert path.read_bytes() == b"old"


def test_a_write_into_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        images.write(tmp_path / "none" / "image.png", b"data")
