"""PNG files of masks and labels, read back by OpenCV and by Python's zlib."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nucleiseg._native import cpu

LABELS = sorted((Path(__file__).parents[1] / "data" / "labels").glob("*.png"))
NOISE = np.random.default_rng(0)


def read(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def chunks(data):
    """Kinds and contents, of which every checksum is right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position = 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        assert checksum == zlib.crc32(kind + content)
        yield kind, content
        position += length + 12


def assert_comes_back(image):
    data = cpu.png(image)
    found = read(data)
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found, image)
    parts = dict(chunks(data))
    assert list(parts) == [b"IHDR", b"IDAT", b"IEND"]
    stored = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8)
    rows = stored.reshape(len(image), -1)
    assert not rows[:, 0].any()
    big_endian = np.ascontiguousarray(image, image.dtype.newbyteorder(">"))
    np.testing.assert_array_equal(rows[:, 1:], big_endian.view(np.uint8))


@pytest.mark.parametrize("path", LABELS, ids=lambda path: path.stem)
def test_real_labels_and_masks_come_back_in_small_files(path):
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16)
    mask = np.where(labels, 255, 0).astype(np.uint8)
    for image in (labels, mask):
        assert_comes_back(image)
        assert len(cpu.png(image)) < 1.5 * len(cv2.imencode(".png", image)[1])


@settings(max_examples=200, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=30),
        elements=st.sampled_from([0, 1, 2, 143, 144, 255]),
    ),
    st.integers(1, 400),
)
def test_any_image_comes_back(image, wide):
    """Stretched, too, so that runs and equal rows are of any length."""
    assert_comes_back(image)
    assert_comes_back(np.repeat(image[:3, :4], wide, axis=1))


@pytest.mark.parametrize("size", [255, 256, 257, 258, 259, 260, 261, 515, 516, 517, 518, 519, 777])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_runs_around_the_longest_match_come_back(size, dtype):
    image = np.zeros((3, size + 2), dtype)
    image[:, 0], image[:, -1] = 7, 9
    assert_comes_back(image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_comes_back(dtype):
    assert_comes_back(NOISE.integers(0, np.iinfo(dtype).max, (70, 5_000), dtype, endpoint=True))


@pytest.mark.parametrize("width", [16_383, 16_384, 32_767, 32_768, 40_000])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rows_wider_than_matches_reach_come_back(width, dtype):
    row = NOISE.integers(0, 3, width // 50).repeat(50)
    image = np.zeros((4, width), dtype)
    image[:3, : len(row)] = row
    assert_comes_back(image)


def test_every_instruction_set_gives_the_same_bytes():
    image = cv2.imread(str(LABELS[0]), cv2.IMREAD_UNCHANGED).astype(np.uint16)
    files, levels = set(), cpu.features()["levels"]
    try:
        for level in levels:
            cpu.set_simd_level(level)
            files.add(cpu.png(image))
    finally:
        cpu.set_simd_level(levels[-1])
    assert len(files) == 1


def test_the_memory_layout_does_not_matter():
    image = NOISE.integers(0, 4, (20, 33), np.uint16)
    expected = cpu.png(image)
    assert cpu.png(np.asfortranarray(image)) == expected
    assert cpu.png(image.astype(">u2")) == expected
    assert cpu.png(image.repeat(2, 0)[::2]) == expected
    assert cpu.png(image[::-1][::-1]) == expected


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4), np.int32), TypeError, "image: got int32; accepted are uint8 and uint16"),
        (np.zeros((4, 4, 3), np.uint8), ValueError, r"image: got .*accepted is \(H, W\)"),
        (np.zeros((0, 4), np.uint8), ValueError, "image"),
        ([[1]], TypeError, "image"),
    ],
)
def test_wrong_images_are_named(image, error, message):
    with pytest.raises(error, match=message):
        cpu.png(image)
