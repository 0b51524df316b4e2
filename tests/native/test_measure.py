"""Measurements, against scikit-image's regionprops_table and plain NumPy."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage.measure import regionprops_table

from nucleiseg._native import cpu

DATA = Path(__file__).parents[1] / "data"
NAMES = sorted(path.name for path in (DATA / "labels").glob("*.png"))

# Whole numbers are equal. The others are the same formulas: what remains is rounding, relative to
# 1 or to the value; square roots of differences turn 1e-16 of a moment into 1e-8 of an axis.
EXACT = ["label", "area", "bbox-0", "bbox-1", "bbox-2", "bbox-3"]
TOLERANCES = {
    "centroid-0": 1e-9,
    "centroid-1": 1e-9,
    "equivalent_diameter_area": 1e-12,
    "axis_major_length": 1e-6,
    "axis_minor_length": 1e-6,
    "eccentricity": 1e-6,
    "perimeter_crofton": 1e-9,
}
PROPERTIES = [
    *("label", "area", "centroid", "bbox", "equivalent_diameter_area", "axis_major_length"),
    *("axis_minor_length", "eccentricity", "orientation", "perimeter_crofton", "solidity"),
]
STATISTICS = {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}


def read(folder: str, name: str) -> np.ndarray:
    return cv2.imread(str(DATA / folder / name), cv2.IMREAD_UNCHANGED)


def read_labels(name: str) -> np.ndarray:
    return read("labels", name).astype(np.int32)


def assert_matches_skimage(labels: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        expected = regionprops_table(labels, properties=PROPERTIES)
    found = cpu.measure(labels)
    present = found["area"] > 0
    for name in EXACT:
        np.testing.assert_array_equal(found[name][present], expected[name], err_msg=name)
    for name, tolerance in TOLERANCES.items():
        np.testing.assert_allclose(
            found[name][present], expected[name], rtol=tolerance, atol=tolerance, err_msg=name
        )
    assert_same_directions(found, present, expected)
    assert_solidity_matches(found, present, expected)


def assert_same_directions(found: dict, present: np.ndarray, expected: dict) -> None:
    """Angles are compared as axes, since -pi/2 is pi/2; a round nucleus has none."""
    major, minor = expected["axis_major_length"], expected["axis_minor_length"]
    turned = found["orientation"][present] - expected["orientation"]
    # Where the axes differ by a share of e, an angle is as sure as rounding over e.
    long = major - minor > 1e-3 * major
    np.testing.assert_allclose(np.sin(turned[long]), 0, atol=1e-6)
    assert (np.abs(found["orientation"][present]) <= np.pi / 2).all()


def assert_solidity_matches(found: dict, present: np.ndarray, expected: dict) -> None:
    """scikit-image tests in floating point whether a pixel's centre lies on the hull's edge."""
    own = found["area"][present] / found["solidity"][present]
    theirs = expected["area"] / expected["solidity"]
    np.testing.assert_allclose(own, theirs, rtol=1e-9)


def reference_ring(labels: np.ndarray, reach: int) -> np.ndarray:
    """The nearest label of each background pixel, the lowest among equals; 0 far away."""
    rings = np.zeros_like(labels)
    distance = np.full(labels.shape, np.inf)
    for label in range(1, labels.max() + 1):
        if (labels == label).any():
            own = ndimage.distance_transform_cdt(labels != label, "chessboard")
            nearer = (own < distance) & (own <= reach)
            rings[nearer], distance[nearer] = label, own[nearer]
    rings[labels > 0] = 0
    return rings


def assert_intensities_match(
    table: dict[str, np.ndarray], prefix: str, labels: np.ndarray, image: np.ndarray, count: int
) -> None:
    channels = image[..., None] if image.ndim == 2 else image
    for label in range(1, count + 1):
        values = channels[labels == label].astype(np.float64)
        for c in range(channels.shape[2]):
            for name, statistic in STATISTICS.items():
                found = table[f"{prefix}intensity_{name}-{c}"][label - 1]
                expected = statistic(values[:, c]) if len(values) else np.nan
                # NumPy adds in another order.
                np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


SMALL = arrays.arrays(
    np.int32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 4)
)


class TestShapes:
    @pytest.mark.parametrize("name", NAMES)
    def test_they_are_scikit_images_on_real_nuclei(self, name):
        assert_matches_skimage(read_labels(name))

    @settings(max_examples=150, deadline=None)
    @given(SMALL)
    def test_they_are_scikit_images_on_random_labels(self, labels):
        assert_matches_skimage(labels)

    def test_they_are_scikit_images_on_thin_and_round_shapes(self):
        labels = np.zeros((90, 90), np.int32)
        labels[3, 5:40] = 1
        labels[6:50, 2] = 2
        np.fill_diagonal(labels[10:40, 10:40], 3)
        np.fill_diagonal(labels[10:40, 79:49:-1], 4)
        labels[np.hypot(*(np.indices(labels.shape) - 65)) < 14] = 5
        labels[45:49, 20:24] = 6
        assert_matches_skimage(labels)

    def test_coordinates_far_from_the_corner_lose_nothing(self):
        labels = np.zeros((40, 100_000), np.int32)
        labels[20:35, -60:-20] = 1
        labels[25:30, -60:-50] = 0
        near, far = cpu.measure(labels[:, -70:].copy()), cpu.measure(labels)
        for name in set(TOLERANCES) - {"centroid-1"} | {"orientation", "solidity"}:
            np.testing.assert_array_equal(near[name], far[name], err_msg=name)
        assert far["centroid-1"] == near["centroid-1"] + 99_930

    def test_a_nucleus_as_large_as_the_image_does_not_overflow(self):
        height, width = 2**17, 200
        table = cpu.measure(np.ones((height, width), np.int32))
        assert table["area"] == height * width
        assert table["solidity"] == 1.0
        np.testing.assert_allclose(table["centroid-0"], (height - 1) / 2)
        np.testing.assert_allclose(table["axis_major_length"], 4 * np.sqrt((height**2 - 1) / 12))

    def test_a_label_without_pixels_is_a_row_of_nan(self):
        labels = np.zeros((8, 9), np.int32)
        labels[2:4, 3:6] = 3
        table = cpu.measure(labels, labels.astype(np.uint8), np.zeros((8, 9, 2), np.uint8))
        assert table["label"].tolist() == [1, 2, 3]
        assert table["area"].tolist() == [0, 0, 6]
        for name, column in table.items():
            assert column.shape == (3,)
            if column.dtype == np.float64:
                assert np.isnan(column[:2]).all(), name
                assert not np.isnan(column[2]), name
            elif name != "label":
                assert not column[:2].any(), name

    def test_nothing_is_an_empty_table(self):
        table = cpu.measure(np.zeros((5, 6), np.int32), np.zeros((5, 6, 2), np.uint16))
        assert len(table) == 17 + 2 * 2 * 4
        assert all(column.shape == (0,) for column in table.values())

    def test_the_border_is_told(self):
        labels = np.zeros((7, 7), np.int32)
        for label, place in enumerate([(0, 3), (6, 3), (3, 0), (3, 6), (1, 1)], 1):
            labels[place] = label
        assert cpu.measure(labels)["border"].tolist() == [True] * 4 + [False]

    def test_a_disc_is_round(self):
        labels = (np.hypot(*(np.indices((101, 101)) - 50)) < 40).astype(np.int32)
        table = cpu.measure(labels)
        # Crofton's formula with four directions overestimates a disc by a per cent or so.
        assert table["circularity"][0] == pytest.approx(1.0, abs=0.05)
        expected = 4 * np.pi * table["area"] / table["perimeter_crofton"] ** 2
        np.testing.assert_allclose(table["circularity"], expected, rtol=1e-14)


class TestIntensities:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
    @pytest.mark.parametrize("channels", [(), (1,), (2,), (5,)])
    def test_they_are_numpys(self, rng, dtype, channels):
        labels = read_labels(NAMES[0])[:90, :110]
        image = (rng.normal(20, 9, (*labels.shape, *channels)).clip(0) * 7).astype(dtype)
        table = cpu.measure(labels, image, ring=3)
        count = labels.max()
        assert_intensities_match(table, "", labels, image, count)
        assert_intensities_match(table, "ring_", reference_ring(labels, 3), image, count)

    @pytest.mark.parametrize("name", NAMES)
    def test_they_are_scikit_images_on_real_nuclei(self, name):
        labels, image = read_labels(name), read("images", name)
        found = cpu.measure(labels, image)
        names = [f"intensity_{statistic}" for statistic in STATISTICS]
        expected = regionprops_table(labels, image, properties=names)
        for column, values in expected.items():
            own = found[column if image.ndim == 3 else f"{column}-0"]
            np.testing.assert_allclose(own, values, rtol=1e-11, atol=1e-11, err_msg=column)

    @settings(max_examples=150, deadline=None)
    @given(SMALL, st.integers(0, 20))
    def test_a_ring_belongs_to_the_nearest_nucleus(self, labels, reach):
        rows, columns = np.indices(labels.shape)
        places = np.stack([rows, columns, rows * labels.shape[1] + columns], -1).astype(np.int16)
        table = cpu.measure(labels, places, ring=reach)
        rings = reference_ring(labels, reach)
        assert_intensities_match(table, "ring_", rings, places, labels.max())

    def test_rings_do_not_end_at_the_seams_of_strips(self, rng):
        # Rows so long that every strip has few of them.
        labels = np.zeros((60, 20_000), np.int32)
        labels[::7, ::11] = rng.integers(0, 50, labels[::7, ::11].shape)
        image = np.arange(labels.size, dtype=np.float64).reshape(labels.shape)
        table = cpu.measure(labels, image, ring=3, threads=2)
        assert_intensities_match(table, "ring_", reference_ring(labels, 3), image, labels.max())

    def test_rings_of_any_reach_and_any_ids(self, rng):
        """Ids and distances beyond 32 bits together give what small ones do."""
        labels = np.zeros((2, 8_300), np.int32)
        labels[rng.integers(0, 2, 9), rng.choice(8_300, 9, replace=False)] = np.arange(1, 10)
        image = np.arange(labels.size, dtype=np.uint16).reshape(labels.shape)
        expected = cpu.measure(labels, image, ring=3_000)
        assert_intensities_match(expected, "ring_", reference_ring(labels, 3_000), image, 9)
        expected = cpu.measure(labels, image, ring=8_300)
        far = 2**17 - 9  # adds up to 18 bits, beside which 32 have no room for 8,300 steps
        found = cpu.measure(np.where(labels, labels + far, 0).astype(np.int32), image, ring=8_300)
        for name, values in found.items():
            if name.startswith("ring_"):
                np.testing.assert_array_equal(values[far:], expected[name])

    @pytest.mark.parametrize("reach", [1, 5, 6, 40])
    def test_every_instruction_set_finds_the_same_rings(self, rng, reach):
        labels, image = read_labels(NAMES[1]), read("images", NAMES[1])
        tables, levels = [], cpu.features()["levels"]
        try:
            for level in levels:
                cpu.set_simd_level(level)
                tables.append(cpu.measure(labels, image, ring=reach))
        finally:
            cpu.set_simd_level(levels[-1])
        for table in tables:
            assert_equal_tables(table, tables[0])

    def test_not_a_number_stays_so(self):
        image = np.ones((4, 6), np.float32)
        image[1, 1] = np.nan
        labels = np.zeros((4, 6), np.int32)
        labels[1, 1:3], labels[1, 4] = 1, 2
        table = cpu.measure(labels, image, ring=0)
        for name in STATISTICS:
            assert np.isnan(table[f"intensity_{name}-0"]).tolist() == [True, False]

    def test_probabilities_are_from_0_to_1(self, rng):
        labels = read_labels(NAMES[1])
        maps = rng.integers(0, 256, (*labels.shape, 2), np.uint8)
        expected = ndimage.mean(maps[..., 0] / 255, labels, np.arange(1, labels.max() + 1))
        np.testing.assert_allclose(cpu.measure(labels, maps=maps)["probability_mean"], expected)


def assert_equal_tables(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name in expected:
        assert found[name].tobytes() == expected[name].tobytes(), name


class TestCalls:
    @pytest.fixture
    def scene(self, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        labels = np.tile(read_labels(NAMES[0]), (2, 3))
        labels[:, 400:] += (labels[:, 400:] > 0) * labels.max()
        image = rng.normal(size=(*labels.shape, 2))
        return labels, image, rng.integers(0, 256, (*labels.shape, 2), np.uint8)

    @pytest.mark.parametrize("threads", [2, 4])
    def test_the_thread_count_does_not_matter(self, scene, threads):
        assert_equal_tables(cpu.measure(*scene, threads=threads), cpu.measure(*scene))

    def test_calls_from_several_python_threads_do_not_disturb_each_other(self, scene):
        expected = cpu.measure(*scene)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda _: cpu.measure(*scene, threads=2), range(8)):
                assert_equal_tables(found, expected)

    def test_the_memory_layout_does_not_matter(self, scene, layout):
        part = [array[30:90, 40:120] for array in scene]
        assert_equal_tables(cpu.measure(*map(layout, part)), cpu.measure(*part))

    def test_wrong_arguments_are_named(self):
        labels = np.zeros((4, 5), np.int32)
        with pytest.raises(TypeError, match="labels: got dtype uint8; accepted is int32"):
            cpu.measure(labels.astype(np.uint8))
        with pytest.raises(ValueError, match=r"labels: got shape \(4, 5, 1\); accepted is \(H, W"):
            cpu.measure(labels[..., None])
        with pytest.raises(ValueError, match="labels: got the label -1; accepted are 0 to 2097152"):
            cpu.measure(labels - 1)
        with pytest.raises(TypeError, match="image: got dtype int32; accepted are uint8, uint16"):
            cpu.measure(labels, labels)
        with pytest.raises(
            ValueError, match=r"image: got shape \(4, 6\); accepted has the labels'"
        ):
            cpu.measure(labels, np.zeros((4, 6), np.uint8))
        with pytest.raises(ValueError, match=r"image: got shape \(4,\); accepted are \(H, W\) and"):
            cpu.measure(labels, np.zeros(4, np.uint8))
        with pytest.raises(ValueError, match=r"image: got shape \(4, 5, 0\), which is empty"):
            cpu.measure(labels, np.zeros((4, 5, 0), np.uint8))
        with pytest.raises(ValueError, match=r"maps: got shape \(5, 5, 2\); accepted has the lab"):
            cpu.measure(labels, maps=np.zeros((5, 5, 2), np.uint8))
        with pytest.raises(ValueError, match="ring: got -1; accepted is 0 to 131072 pixels"):
            cpu.measure(labels, ring=-1)
        with pytest.raises(ValueError, match="threads: got 0; accepted is 1 to 1024"):
            cpu.measure(labels, threads=0)


class TestAreas:
    @settings(max_examples=100, deadline=None)
    @given(
        arrays.arrays(
            np.int32,
            arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
            elements=st.integers(0, 9),
        )
    )
    def test_they_are_the_counts_of_each_label(self, labels):
        found = cpu.areas(labels)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, np.bincount(labels.ravel())[1:])
        np.testing.assert_array_equal(cpu.areas(np.repeat(labels, 2, 1)[:, ::2]), found)

    def test_wrong_labels_are_named(self):
        with pytest.raises(TypeError, match="labels: got dtype int64; accepted is int32"):
            cpu.areas(np.ones((2, 2), np.int64))
        with pytest.raises(ValueError, match="labels: got the label -1"):
            cpu.areas(np.full((2, 2), -1, np.int32))
