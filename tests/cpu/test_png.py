"""PNG files of masks, labels and overlays, read back by OpenCV and by the package."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nucleiseg import images

LABELS = sorted((Path(__file__).parents[1] / "data" / "labels").glob("*.png"))
NOISE = np.random.default_rng(0)


def chunks(data):
    """Yield the kinds of the chunks, of which every checksum is right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position = 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        assert checksum == zlib.crc32(kind + content)
        yield kind
        position += length + 12


def assert_comes_back(image):
    data = images.png(image)
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found[..., ::-1] if image.ndim == 3 else found, image)
    # No time, text or colour profile, so the same pixels always make the same file.
    assert set(chunks(data)) == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("path", LABELS, ids=lambda path: path.stem)
def test_real_labels_and_masks_come_back_in_small_files(path, tmp_path):
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16)
    mask = np.where(labels, 255, 0).astype(np.uint8)
    for image in (labels, mask):
        assert_comes_back(image)
        assert len(images.png(image)) < 1.1 * len(cv2.imencode(".png", image)[1])
        images.write_png(tmp_path / "a.png", image)
        np.testing.assert_array_equal(images.read(tmp_path / "a.png"), image)


@settings(max_examples=100, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.sampled_from([(), (3,)]).flatmap(
            lambda colours: arrays.array_shapes(min_dims=2, max_dims=2, max_side=30).map(
                lambda sides: (*sides, *colours)
            )
        ),
    ),
    st.integers(1, 400),
)
def test_any_image_comes_back(image, wide):
    assert_comes_back(image)
    assert_comes_back(np.repeat(image[:3, :4], wide, axis=1))


@pytest.mark.parametrize("shape", [(70, 5_000), (50, 700, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_comes_back(shape, dtype):
    assert_comes_back(NOISE.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True))


def test_the_memory_layout_does_not_matter():
    image = NOISE.integers(0, 4, (20, 33), np.uint16)
    expected = images.png(image)
    assert images.png(np.asfortranarray(image)) == expected
    assert images.png(image.repeat(2, 0)[::2]) == expected
    assert images.png(image[::-1].copy()[::-1]) == expected


@pytest.mark.parametrize("shape", [(images.PNG_SIDE + 1, 1), (1, images.PNG_SIDE + 1)])
def test_sides_that_no_png_file_may_have_are_named(shape, tmp_path):
    image = np.zeros(shape, np.uint8)
    with pytest.raises(ValueError, match=r"image: got .*accepted in PNG are sides of up to"):
        images.write_png(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())
    assert_comes_back(image[: images.PNG_SIDE, : images.PNG_SIDE])


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.int32), np.zeros((4, 4, 7), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="invalid data shape, strides, or dtype"):
        images.png(image)
