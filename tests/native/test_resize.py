"""Images at other sizes, by `_native.cpu.resize`."""

import cv2
import numpy as np
import pytest

from nucleiseg._native import cpu

DTYPES = ["uint8", "uint16", "int16", "float32", "float64"]
SIZES = [(31, 47), (60, 91), (61, 90), (30, 45), (97, 200), (240, 364), (61, 91), (1, 1)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260)


def picture(rng: np.random.Generator, dtype: str = "uint8", channels: tuple[int, ...] = (3,)):
    """Noise on a slope, in all of an integer type's range."""
    image = rng.random((61, 91, *channels)) + np.linspace(0, 3, 91).reshape(
        91, *[1] * len(channels)
    )
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    low, high = (info.min, info.max) if info else (-2.0, 5.0)
    return (low + image / 4 * (high - low)).astype(dtype)


def by_opencv(image: np.ndarray, height: int, width: int) -> np.ndarray:
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_what_opencv_computes(rng, dtype, channels, size):
    image = picture(rng, dtype, channels)
    found, expected = cpu.resize(image, *size), by_opencv(image, *size)
    assert found.dtype == image.dtype
    assert found.shape == expected.shape
    # The order of OpenCV's sums depends on the processor, and its places are of 24 bits.
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    elif size[0] <= image.shape[0] and size[1] <= image.shape[1]:
        np.testing.assert_array_equal(found, expected)
    else:
        step = 1 if dtype == "uint8" else 40  # of 65,536
        assert np.abs(found.astype(int) - expected).max() <= step


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_whole_factors_round_as_opencv_does(rng, dtype, factor):
    for channels in ((), (2,), (3,)):
        image = picture(rng, dtype, channels)[:60, :84]
        size = 60 // factor, 84 // factor
        np.testing.assert_array_equal(cpu.resize(image, *size), by_opencv(image, *size))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_parts_are_parts_of_the_whole(rng, dtype, size):
    image = picture(rng, dtype)
    whole = cpu.resize(image, *size)
    for _ in range(20):
        top, bottom = sorted(rng.choice(size[0] + 1, 2, replace=False).tolist())
        left, right = sorted(rng.choice(size[1] + 1, 2, replace=False).tolist())
        part = cpu.resize(image, *size, rows=(top, bottom), columns=(left, right), threads=2)
        np.testing.assert_array_equal(part, whole[top:bottom, left:right])


@pytest.mark.parametrize("height", [20, 61, 150])
def test_rows_that_are_not_needed_may_be_missing(rng, height):
    image = picture(rng)
    whole = cpu.resize(image, height, 91)
    for row in range(height):
        middle = (row + 0.5) * 61 / height
        reach = 3 + 61 / height
        first, last = max(0, int(middle - reach)), min(61, int(middle + reach) + 1)
        part = cpu.resize(
            image[first:last], height, 91, rows=(row, row + 1), above=first, below=61 - last
        )
        np.testing.assert_array_equal(part[0], whole[row])
    with pytest.raises(ValueError, match=r"image: got rows 30 to 61 of the whole; accepted are"):
        cpu.resize(image[30:], height, 91, above=30)


def test_the_memory_layout_does_not_matter(rng, layout):
    image = picture(rng, "uint16")
    for size in SIZES:
        np.testing.assert_array_equal(cpu.resize(layout(image), *size), cpu.resize(image, *size))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_thread_count_does_not_matter(rng, threads):
    image = np.tile(picture(rng), (6, 4, 1))
    for size in ((170, 200), (700, 650)):
        expected = cpu.resize(image, *size)
        np.testing.assert_array_equal(cpu.resize(image, *size, threads=threads), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0}, "height: got 0; accepted is 1 to"),
        ({"width": -3}, "width: got -3; accepted is 1 to"),
        ({"height": 2**20 + 1}, r"height: got 1048577; accepted is 1 to 2\*\*20"),
        ({"height": 2**20, "width": 2**20}, r"rows, columns: got more than 2\*\*31 pixels"),
        ({"rows": (2, 2)}, "rows: got 2, 2; accepted is 0 <= first < last <= 5"),
        ({"columns": (0, 8)}, "columns: got 0, 8; accepted is 0 <= first < last <= 7"),
        ({"above": -1}, "above: got -1; accepted is 0 to"),
        ({"below": -1}, "below: got -1; accepted is 0 to"),
        ({"threads": 0}, "threads: got 0; accepted is 1 to 1024"),
        ({"image": np.zeros((4, 4, 5), np.uint8)}, r"image: got shape \(4, 4, 5\); accepted are 1"),
        ({"image": np.zeros((0, 4), np.uint8)}, r"image: got shape \(0, 4\), which is empty"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cpu.resize(**{"image": np.zeros((4, 4), np.uint8), "height": 5, "width": 7, **arguments})
