"""Fields whose nuclei are clear, however empty or spoilt they are; and fields without any."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import nucleiseg
from nucleiseg.stains import are_stains


def discs(size: int, count: int, diameter: int, pitch: int) -> NDArray[np.float32]:
    """Return bright ellipses on 0, (size, size) in 0..1, at the corner of the field."""
    rng = np.random.default_rng(0)
    field = np.zeros((size, size), np.float32)
    per_row = int(np.ceil(np.sqrt(count)))
    for index in range(count):
        places = (25 + pitch * (index % per_row), 25 + pitch * (index // per_row))
        centre = [int(place + rng.integers(-3, 4)) for place in places]
        angle = int(rng.integers(180))
        cv2.ellipse(field, centre, (diameter // 2, diameter // 2 - 1), angle, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(field, (0, 0), 1.5)


def camera(field: NDArray[np.float32], high: float) -> NDArray[np.uint16]:
    """Return what a camera of 16 bits sees, with shot noise and readout noise."""
    rng = np.random.default_rng(1)
    seen = 100 + rng.poisson(high * field) + rng.normal(0, 12, field.shape)
    return seen.clip(0, 65535).astype(np.uint16)


def found(image: NDArray) -> tuple[int, float]:
    """Return how many nuclei there are, and their mean area in pixels."""
    labels = nucleiseg.segment(image, "labels")
    return int(labels.max()), float((labels > 0).sum() / max(1, labels.max()))


def jpeg(image: NDArray, quality: int, sampling: int) -> NDArray:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return cv2.imdecode(cv2.imencode(".jpg", image, settings)[1], cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope="module")
def clear() -> NDArray[np.uint16]:
    """Return a field with 60 nuclei."""
    return camera(discs(700, 60, 28, 75), 700)


class TestEmptyFields:
    @pytest.mark.parametrize("size", [400, 1000, 2000, 3000])
    def test_the_same_nuclei_are_found_in_a_field_of_any_emptiness(self, size):
        count, area = found(camera(discs(size, 49, 16, 24), 2000))
        assert count == 49
        assert area == pytest.approx(211, rel=0.1)  # in a field of 200 x 200

    @pytest.mark.parametrize(("size", "count"), [(1400, 5), (3000, 12)])
    def test_nuclei_on_a_background_of_zero_are_found(self, size, count):
        assert found((200 * discs(size, count, 26, 150)).astype(np.uint8))[0] == count

    def test_stained_nuclei_on_a_perfect_white_are_found(self):
        image = np.full((1024, 1024, 3), 255, np.uint8)
        for index in range(4):
            cv2.circle(image, (60 + 110 * index, 200), 12, (95, 60, 150), -1)
        assert found(cv2.GaussianBlur(image, (0, 0), 1.2))[0] == 4


class TestSpoiltFields:
    def test_hot_pixels_change_nothing(self, clear):
        image = clear.copy()
        image[np.random.default_rng(0).random(image.shape) < 0.0025] = 65535
        count, area = found(image)
        assert count == 60
        assert area == pytest.approx(found(clear)[1], rel=0.02)

    def test_bright_debris_is_no_nucleus_and_hides_none(self, clear):
        image = clear.copy()
        image[10:50, 640:680] = 65535
        assert found(image)[0] == 60

    @pytest.mark.parametrize(
        ("value", "dtype"),
        [(-32768, "int16"), (-9999, "float32"), (-1e30, "float32"), (65535, "uint16")],
    )
    @pytest.mark.parametrize("columns", [7, 70, 300])
    def test_a_border_without_data_changes_nothing(self, clear, value, dtype, columns):
        image = clear.astype(dtype)
        image = np.concatenate([np.full((700, columns), value, dtype), image], axis=1)
        count, area = found(image)
        assert abs(count - 60) <= 1
        assert area == pytest.approx(found(clear)[1], rel=0.02)

    def test_what_was_left_out_is_told(self, clear):
        image = clear.copy()
        image[10:50, 640:680] = 65535
        doubt = nucleiseg.Segmenter().analyze(image).limits.doubt
        assert doubt is not None
        assert doubt.startswith("0.33% of its values are far beyond all others")


class TestBlankFields:
    @pytest.mark.parametrize("level", [5, 20, 80, 200, 243])
    def test_nothing_is_found_in_noise(self, level):
        rng = np.random.default_rng(level)
        sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
        nuclei = 0
        for number in range(12):
            noise = rng.normal(0, rng.uniform(0, 5), (384, 384, 3))
            image = np.clip(np.round(level + noise), 0, 255).astype(np.uint8)
            image = jpeg(image, int(rng.integers(30, 96)), sampling[number % 2])
            nuclei += found(image)[0]
        assert nuclei == 0

    def test_that_they_are_blank_is_told(self):
        rng = np.random.default_rng(0)
        image = np.round(rng.normal(243, 2, (300, 300, 3))).astype(np.uint8)
        doubt = nucleiseg.Segmenter().analyze(image).limits.doubt
        assert doubt == "nothing in it stands out from its noise"

    def test_an_ordinary_field_has_no_doubt(self, clear):
        assert nucleiseg.Segmenter().analyze(clear).limits.doubt is None


class TestMergedStains:
    @pytest.fixture(scope="class")
    def stains(self) -> tuple[NDArray, NDArray]:
        nuclei = discs(512, 36, 26, 80)
        cells = cv2.dilate((nuclei > 0.5).astype(np.float32), np.ones((19, 19)))
        return nuclei, cv2.GaussianBlur(cells, (0, 0), 3)

    def picture(self, *channels: NDArray) -> NDArray[np.uint8]:
        stack = np.dstack(channels)
        noise = np.random.default_rng(0).normal(8, 3, stack.shape)
        return np.clip(stack + noise, 0, 255).astype(np.uint8)

    @pytest.mark.parametrize("shade", [0.0, 0.4, -0.6])
    def test_a_cell_stain_in_another_channel_asks_for_the_channel(self, stains, shade):
        nuclei, cells = stains
        image = self.picture(0 * nuclei, 100 * cells * (1 - shade * nuclei), 200 * nuclei)
        for picture in (image, jpeg(image, 40, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)):
            with pytest.raises(ValueError, match=r"image: got RGB with 3 channels .* --channel"):
                nucleiseg.segment(picture)
        assert found(image[..., 2])[0] == 36

    @pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize(("level", "spread"), [(0, 1), (0, 3), (2, 12), (1, 30)])
    def test_noise_in_the_colours_of_a_dark_field_is_no_stain(self, level, spread, depth):
        noise = np.random.default_rng(spread).normal(level, spread, (400, 500, 3))
        assert not are_stains(noise.clip(0, 255).astype(depth))

    @pytest.mark.parametrize("quality", [30, 60, 95])
    @pytest.mark.parametrize("spread", [1, 3, 5])
    def test_a_blank_dark_jpeg_is_blank_and_no_stains(self, spread, quality):
        noise = np.random.default_rng(spread).normal(2, spread, (400, 500, 3)).clip(0, 255)
        for sampling in (
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ):
            assert found(jpeg(noise.astype(np.uint8), quality, sampling))[0] == 0

    def test_a_stain_beside_channels_of_noise_goes_through(self, stains):
        nuclei, _ = stains
        noise = np.random.default_rng(0).normal(0, 25, (512, 512, 3)).clip(0, None)
        noise[..., 2] += 90 * nuclei
        assert found(noise.clip(0, 255).astype(np.uint8))[0] > 0

    @pytest.mark.parametrize("colour", [(1, 1, 1), (0, 0, 1), (0, 0.75, 1), (0.15, 0.25, 1)])
    def test_a_picture_of_one_colour_goes_through(self, stains, colour):
        nuclei, _ = stains
        image = self.picture(*(200 * part * nuclei for part in colour))
        assert found(image)[0] == 36
        assert not are_stains(jpeg(image, 40, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420))
