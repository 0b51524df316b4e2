"""A rectangle of a resized slide is that of the whole resized."""

from __future__ import annotations

import numpy as np
import pytest

from nucleiseg import Model, resizing
from nucleiseg._native import cpu
from nucleiseg.slides import scaled
from nucleiseg.slides.slide import Slide

MODEL = Model.load()


class InMemory(Slide):
    def __init__(self, *levels: np.ndarray, mpp: float | None) -> None:
        self._pixels, self.mpp, self.path = levels, mpp, "x"
        self.levels = [one.shape[:2] for one in levels]

    def read(self, level: int, row: int, column: int, height: int, width: int) -> np.ndarray:
        assert row >= 0
        assert column >= 0
        part = self._pixels[level][row : row + height, column : column + width]
        assert part.shape[:2] == (height, width)
        return np.ascontiguousarray(part)

    def close(self) -> None: ...


@pytest.mark.parametrize("mpp", [0.0831, 0.2, 0.3, 0.499, 1.1])
@pytest.mark.parametrize("shape", [(311, 407, 3), (300, 200)])
def test_a_rectangle_is_that_of_the_whole(mpp: float, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    slide = InMemory(pixels, mpp=mpp)
    size = scaled.choose(slide, None, MODEL)
    scale = resizing.requested("auto", mpp, None, MODEL)
    whole = cpu.resize(pixels, *resizing.size(pixels.shape, scale)) if scale != 1 else pixels
    assert size.shape == whole.shape[:2]
    height, width = size.shape
    for top, left, bottom, right in (
        (0, 0, height, width),
        (height // 3, width // 4, height // 2, width - 5),
        (height - 7, width - 3, height, width),
    ):
        part = scaled.read(slide, size, top, left, bottom - top, right - left)
        np.testing.assert_array_equal(part, whole[top:bottom, left:right])


def test_the_coarsest_level_that_is_fine_enough_is_read() -> None:
    pixels = np.zeros((512, 512, 3), np.uint8)
    slide = InMemory(pixels, pixels[::2, ::2], pixels[::4, ::4], mpp=0.13)
    assert scaled.choose(slide, None, MODEL).level == 1
    assert scaled.choose(slide, 0.25, MODEL).level == 0
    assert scaled.choose(slide, 0.07, MODEL).level == 2
    assert scaled.choose(slide, 0.9, MODEL).level == 0


def test_a_slide_without_a_pixel_size_is_refused_with_the_way_to_give_it() -> None:
    slide = InMemory(np.zeros((9, 9, 3), np.uint8), mpp=None)
    with pytest.raises(ValueError, match=r"does not say its pixel size; .*--mpp 0\.25"):
        scaled.choose(slide, None, MODEL)
