"""PNG, JPEG, BMP and WebP: every pixel comes from the file, and work is limited by its size."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from nucleiseg import images, memory
from nucleiseg.readers import png as png_reader

COLOUR = Path(__file__).parents[1] / "data" / "images" / "hematoxylin_eosin.png"


def encoded(suffix, image, *options):
    return cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), options)[1].tobytes()


def written(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def rgb():
    return images.read(COLOUR)


def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(header, *chunks):
    """A PNG file of chunks with right checksums; the header is width, height, depth, colours..."""
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), *chunks, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def rows(image):
    """An image's bytes as PNG compresses them: each row behind its filter, none."""
    lines = (b"\0" + np.ascontiguousarray(row).tobytes() for row in image)
    return chunk(b"IDAT", zlib.compress(b"".join(lines)))


CONTROL = struct.pack(">IIIIIHHBB", 0, 32, 24, 0, 0, 1, 1, 0, 0)
FRAME = chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", CONTROL)


def test_the_first_image_of_an_animated_png_is_read(tmp_path, rgb):
    image = rgb[:24, :32]
    other = b"\0\0\0\2" + zlib.compress(bytes(24 * 97))
    rest = chunk(b"fcTL", b"\0\0\0\1" + CONTROL[4:]), chunk(b"fdAT", other)
    header = (32, 24, 8, 2, 0, 0, 0)
    for chunks in ((*FRAME, rows(image), *rest), (FRAME[0], rows(image)), (rows(image), *rest)):
        path = written(tmp_path, "moving.png", png(header, *chunks))
        np.testing.assert_array_equal(images.read(path), image)


def test_libpng_is_given_what_makes_the_first_image_alone(tmp_path, rgb, monkeypatch):
    """It has frames and texts of its own to go wrong in."""
    given, decode = [], png_reader.imagecodecs.png_decode

    def seen(data):
        given.append(bytes(data))
        return decode(data)

    monkeypatch.setattr(png_reader.imagecodecs, "png_decode", seen)
    image = rgb[:24, :32]
    others = (chunk(b"tEXt", b"a\0b"), *FRAME, chunk(b"fdAT", b"\0\0\0\2"))
    header = (32, 24, 8, 2, 0, 0, 0)
    path = written(tmp_path, "moving.png", png(header, *others, rows(image), *others))
    np.testing.assert_array_equal(images.read(path), image)
    assert [kind for kind, _ in png_reader._chunks(given[0])] == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (8, 8), (11, 19)])
def test_pngs_of_any_order_of_rows_are_read(tmp_path, rgb, size, interlaced):
    image = rgb[: size[0], : size[1]]
    passes = [image]
    if interlaced:
        begins = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2))
        begins += ((0, 1, 2, 2), (1, 0, 2, 1))
        passes = [image[row::down, column::right] for row, column, down, right in begins]
    lines = b"".join(
        b"\0" + np.ascontiguousarray(line).tobytes()
        for part in passes
        if part.size
        for line in part
    )
    data = png((size[1], size[0], 8, 2, 0, 0, interlaced), chunk(b"IDAT", zlib.compress(lines)))
    np.testing.assert_array_equal(images.read(written(tmp_path, "a.png", data)), image)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_the_palette_and_transparency_of_a_png_become_colours(tmp_path, depth):
    indices = (np.arange(64).reshape(4, 16) % 2**depth).astype(np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (2**depth, 4), dtype=np.uint8)
    bits = np.unpackbits(indices[..., None], axis=2)[..., 8 - depth :]
    packed = rows(np.packbits(bits.reshape(4, -1), axis=1))
    palette, alpha = (
        chunk(b"PLTE", colours[:, :3].tobytes()),
        chunk(b"tRNS", colours[:, 3].tobytes()),
    )
    for chunks, channels in (((palette, packed), 3), ((palette, alpha, packed), 4)):
        path = written(tmp_path, "a.png", png((16, 4, depth, 3, 0, 0, 0), *chunks))
        np.testing.assert_array_equal(images.read(path), colours[indices, :channels])


def test_grey_with_alpha_becomes_rgba(tmp_path):
    image = np.random.default_rng(1).integers(0, 65536, (5, 7, 2), dtype=np.uint16)
    path = written(tmp_path, "a.png", png((7, 5, 16, 4, 0, 0, 0), rows(image.astype(">u2"))))
    np.testing.assert_array_equal(images.read(path), image[..., [0, 0, 0, 1]])


GREY_8 = (32, 24, 8, 0, 0, 0, 0)
PIXELS = np.zeros((24, 32), np.uint8)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png(GREY_8, rows(PIXELS[:12])), "is truncated: 396 bytes of at least 792"),
        (png(GREY_8, rows(np.zeros((25, 32), np.uint8))), "its compressed data are wrong"),
        (png(GREY_8, chunk(b"IDAT", b"junk" * 99)), "its compressed data are wrong"),
        (png((30_000, 30_000, 8, 0, 0, 0, 0), rows(PIXELS)), "is truncated: "),
        (png((32, 24, 3, 0, 0, 0, 0), rows(PIXELS)), "colour type 0, bit depth 3"),
        (png((32, 24, 8, 3, 0, 0, 0), rows(PIXELS)), "its palette has 0 bytes"),
        (png((32, 24, 8, 0, 0, 0, 2), rows(PIXELS)), "interlace 2, which no PNG file has"),
        (png(GREY_8), "is truncated"),
    ],
    ids=["rows", "more rows", "junk", "promise", "depth", "palette", "interlace", "no pixels"],
)
def test_a_png_without_all_its_pixels_is_an_error_and_nothing_is_printed(
    tmp_path, capfd, data, words
):
    with pytest.raises(ValueError, match=rf"a\.png: .*{words}"):
        images.read(written(tmp_path, "a.png", data))
    assert capfd.readouterr() == ("", "")


def test_chunks_that_libpng_warns_of_print_nothing(tmp_path, rgb, capfd):
    image = rgb[:24, :32]
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(b"no profile"))
    odd = (profile, chunk(b"gAMA", b"\0"), chunk(b"tRNS", b"\0"), chunk(b"PLTE", b"\0" * 4))
    data = png((32, 24, 8, 2, 0, 0, 0), *odd, rows(image))
    np.testing.assert_array_equal(images.read(written(tmp_path, "a.png", data)), image)
    assert capfd.readouterr() == ("", "")


def test_a_damaged_scan_of_a_jpeg_prints_nothing(tmp_path, rgb, capfd):
    data = bytearray(encoded(".jpg", rgb))
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path = written(tmp_path, "a.jpg", data)
    np.testing.assert_array_equal(images.read(path), images.read(path))
    assert capfd.readouterr() == ("", "")


def progressive(image, scans):
    """A progressive JPEG whose last scan is repeated."""
    data = encoded(".jpg", image, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    begin = data.rindex(b"\xff\xda")
    return data[:begin] + data[begin:-2] * scans + data[-2:]


def test_the_scans_of_a_jpeg_are_limited_by_its_size(tmp_path, rgb):
    large = np.tile(rgb, (8, 6, 1))
    assert images.read(written(tmp_path, "a.jpg", progressive(large, 1))).shape == large.shape
    path = written(tmp_path, "a.jpg", progressive(np.zeros_like(large), 1000))
    with pytest.raises(
        ValueError, match=r"a\.jpg: is damaged or truncated: it promises [\d,]+ pix"
    ):
        images.read(path)


@pytest.mark.parametrize("name", ["jpeg", "bmp", "webp"])
def test_more_pixels_than_a_file_can_hold_are_refused_before_memory_is_taken(tmp_path, rgb, name):
    small = rgb[:24, :32]
    lossy = (cv2.IMWRITE_WEBP_QUALITY, 80)
    data = encoded(f".{name}", small, *(lossy if name == "webp" else ()))
    marks = {"jpeg": (b"\xff\xc0", 5, ">HH"), "bmp": (b"BM", 18, "<ii")}
    mark, offset, sides = marks.get(name, (b"VP8 ", 14, "<HH"))
    at = data.index(mark) + offset
    data = data[:at] + struct.pack(sides, 16_000, 16_000) + data[at + struct.calcsize(sides) :]
    with pytest.raises(ValueError, match="it promises 256,000,000 pixels in"):
        images.read(written(tmp_path, "a", data))


def test_a_jpeg_for_printers_is_an_error(tmp_path):
    from PIL import Image

    Image.new("CMYK", (32, 24)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="has the colours CMYK; accepted are grey and RGB"):
        images.read(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("suffix", "needed"),
    # PNG is decoded into one array and its channels are ordered into another.
    [
        (".png", "150,000,000"),
        (".jpg", "75,000,000"),
        (".tif", "75,000,000"),
        (".npy", "75,000,000"),
    ],
)
def test_a_file_for_which_there_is_no_memory_is_refused_before_it_is_decoded(
    tmp_path, monkeypatch, suffix, needed
):
    image, path = np.zeros((5000, 5000, 3), np.uint8), tmp_path / f"large{suffix}"
    if suffix == ".npy":
        np.save(path, image)
    else:
        cv2.imwrite(str(path), image)
    monkeypatch.setattr(memory, "free", lambda: 70_000_000)
    with pytest.raises(ValueError, match=f"needs {needed} bytes of memory, and 70,000,000 are"):
        images.read(path)
    monkeypatch.setattr(memory, "free", lambda: None)
    assert images.read(path).shape == (5000, 5000, 3)
