"""BMP: every kind of palette and colour that is read, and what is refused."""

import struct

import cv2
import numpy as np
import pytest

from nucleiseg import images

HEIGHT, WIDTH = 13, 19
CORE, INFO, V4, V5 = 12, 40, 108, 124
MASKS = 3
RNG = np.random.default_rng(1)
OPENCV_LACKS = {(bits, CORE) for bits in (1, 4, 8, 24)} | {(2, CORE), (2, INFO), (2, V5)}
"""It takes every file with the oldest header for a grey one, and knows no palettes of 4 colours."""


def bmp(rows, bits, header=INFO, *, compression=0, masks=(), palette=b"", colours=0, top=False):
    """A BMP file of rows of bytes, the upper one first."""
    height = -HEIGHT if top else HEIGHT
    if header == CORE:
        about = struct.pack("<IHHHH", CORE, WIDTH, HEIGHT, 1, bits)
    else:
        about = struct.pack(
            "<IiiHHIIiiII", header, WIDTH, height, 1, bits, compression, 0, 0, 0, colours, 0
        )
    about += struct.pack(f"<{len(masks)}I", *masks)
    about = about.ljust(header, b"\0") + palette
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    pixels = (rows if top else rows[::-1]).tobytes()
    begin = 14 + len(about)
    return b"BM" + struct.pack("<IHHI", begin + len(pixels), 0, 0, begin) + about + pixels


def read(tmp_path, data):
    path = tmp_path / "a.bmp"
    path.write_bytes(data)
    return images.read(path)


def by_opencv(data):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim == 2:
        return image
    return image[..., [2, 1, 0, 3][: image.shape[2]]]


def assert_read(tmp_path, data, expected, known_to_opencv=True):
    np.testing.assert_array_equal(read(tmp_path, data), expected)
    if known_to_opencv:
        np.testing.assert_array_equal(by_opencv(data), expected)


@pytest.mark.parametrize("header", [CORE, INFO, V5])
@pytest.mark.parametrize("is_grey", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_become_colours_or_grey_values(tmp_path, bits, is_grey, header):
    indices = RNG.integers(0, 2**bits, (HEIGHT, WIDTH), dtype=np.uint8)
    colours = RNG.integers(0, 256, (2**bits, 1 if is_grey else 3), dtype=np.uint8)
    stored = np.zeros((2**bits, 3 if header == CORE else 4), np.uint8)
    stored[:, :3] = colours[:, ::-1]
    single = np.unpackbits(indices[..., None], axis=2)[..., 8 - bits :]
    data = bmp(
        np.packbits(single.reshape(HEIGHT, -1), axis=1), bits, header, palette=stored.tobytes()
    )
    known = (is_grey and bits != 2) or (bits, header) not in OPENCV_LACKS
    assert_read(tmp_path, data, np.squeeze(colours[indices]), known)


def test_a_short_palette_is_filled_with_black(tmp_path):
    indices = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    colours = np.zeros((256, 3), np.uint8)
    colours[:100] = RNG.integers(0, 256, (100, 3))
    palette = np.pad(colours[:100, ::-1], ((0, 0), (0, 1))).tobytes()
    assert_read(tmp_path, bmp(indices, 8, palette=palette, colours=100), colours[indices])


@pytest.mark.parametrize(
    ("bits", "header", "top"),
    [
        *((24, CORE, False), (24, INFO, False), (24, INFO, True)),
        *((24, V5, True), (32, INFO, False), (32, INFO, True)),
    ],
)
def test_colours_are_read_and_rows_from_below_or_above(tmp_path, bits, header, top):
    stored = RNG.integers(0, 256, (HEIGHT, WIDTH, bits // 8), dtype=np.uint8)
    data = bmp(stored.reshape(HEIGHT, -1), bits, header, top=top)
    assert_read(tmp_path, data, stored[..., 2::-1], (bits, header) not in OPENCV_LACKS)


@pytest.mark.parametrize(
    ("masks", "header"),
    [
        ((0x7C00, 0x3E0, 0x1F), INFO),
        ((0xF800, 0x7E0, 0x1F), INFO),
        ((0xF800, 0x7E0, 0x1F, 0), V4),
        (None, INFO),
    ],
)
def test_colours_of_16_bits_are_the_upper_bits_of_bytes(tmp_path, masks, header):
    values = RNG.integers(0, 2**16, (HEIGHT, WIDTH)).astype("<u2")
    of_file = {"compression": MASKS, "masks": masks} if masks else {}
    data = bmp(values.view(np.uint8), 16, header, **of_file)
    green = 6 if masks and masks[1] == 0x7E0 else 5
    places = ((5 + green, 5), (5, green), (0, 5))
    expected = [(values >> shift) % 2**count << (8 - count) for shift, count in places]
    # OpenCV looks for the masks behind a longer header.
    assert_read(tmp_path, data, np.dstack(expected).astype(np.uint8), header == INFO)


@pytest.mark.parametrize("order", [(2, 1, 0, 3), (0, 1, 2, 3), (3, 2, 1, 0)])
def test_a_mask_of_alpha_makes_a_fourth_channel(tmp_path, order):
    stored = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    masks = [0xFF << 8 * place for place in order]
    data = bmp(stored.reshape(HEIGHT, -1), 32, V4, compression=MASKS, masks=masks)
    assert_read(tmp_path, data, stored[..., order])
    data = bmp(stored.reshape(HEIGHT, -1), 32, V4, compression=MASKS, masks=[*masks[:3], 0])
    assert_read(tmp_path, data, stored[..., order[:3]], known_to_opencv=False)


ROWS = np.zeros((HEIGHT, WIDTH * 3), np.uint8)
GREY = np.zeros((HEIGHT, WIDTH), np.uint8)
LONGS = np.zeros((HEIGHT, WIDTH * 4), np.uint8)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bmp(ROWS, 24)[:-1], "is truncated: 833 bytes of at least 834"),
        (bmp(ROWS, 24)[:30], "is truncated: 30 bytes of at least 54"),
        (bmp(ROWS, 24)[:20], "is truncated: 20 bytes of at least 26"),
        (bmp(GREY, 8, compression=1, palette=bytes(1024)), "is a BMP file of 8 bits a pixel with "),
        (bmp(ROWS, 24, compression=4), "with compression 4; accepted are 1, 2, 4, 8, 16, 24 and"),
        (bmp(ROWS, 23), "is a BMP file of 23 bits a pixel"),
        (bmp(LONGS, 32, V4, compression=3, masks=(1023, 1, 2, 0)), "colours have the mask 0x3ff"),
        (bmp(LONGS, 32, V4, compression=3, masks=(0xF0F, 1, 2, 0)), "colours have the mask 0xf0f"),
        (bmp(LONGS, 32, V4, compression=3, masks=(15, 0, 240, 0)), "a colour has no mask"),
        (b"BM" + bytes(8) + struct.pack("<II", 54, 41 << 8) + bytes(60), "header has 10,496 bytes"),
        (b"BM" + bytes(8) + struct.pack("<II", 20, INFO) + bytes(60), "pixels begin within its he"),
    ],
    ids=[
        *("pixels", "header", "file header", "runs", "jpeg", "depth"),
        *("10 bits", "gap", "no mask", "header size", "offset"),
    ],
)
def test_what_is_no_whole_uncompressed_bmp_is_refused(tmp_path, data, words):
    with pytest.raises(ValueError, match=rf"a\.bmp: .*{words}"):
        read(tmp_path, data)
