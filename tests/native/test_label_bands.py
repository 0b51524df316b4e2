"""Labels of maps that come band by band, and labels in one piece."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from nucleiseg._native import cpu

RULE = (100, 128, 20, 24, 60, 150)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261)


def blobs(rng: np.random.Generator, height: int, width: int, size: int) -> np.ndarray:
    coarse = rng.integers(0, 256, (height // size + 2, width // size + 2, 2), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def labels_of_bands(rng, maps, rows, columns, rule=RULE, most=200) -> np.ndarray:
    height, width = maps.shape[:2]
    bands = cpu.LabelBands(height, width, rows, columns, *rule)
    while bands.next < height:
        end = min(height, bands.next + int(rng.integers(1, most)))
        first = max(0, bands.next - bands.margin)
        threads = int(rng.integers(1, 4))
        bands.add(maps[first : end + bands.margin], first, end, threads=threads)
    return bands.finish(threads=2)


@pytest.mark.parametrize("size", [1, 3, 8, 20])
@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (333, 217), (900, 130)])
def test_bands_have_the_labels_of_the_whole(rng, shape, size):
    maps = blobs(rng, *shape, size)
    whole, _ = cpu.label(maps, *RULE)
    found = labels_of_bands(rng, maps, np.arange(shape[0]), np.arange(shape[1]))
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("size", [3, 8, 20])
def test_some_of_the_pixels_may_be_kept(rng, size):
    maps = blobs(rng, 401, 355, size)
    whole, _ = cpu.label(maps, *RULE)
    for step in (1.0, 1.7, 4.0, 97.0):
        rows = np.floor(np.arange(0, 401, step)).astype(np.int64)
        columns = np.floor(np.arange(0, 355, step)).astype(np.int64)
        found = labels_of_bands(rng, maps, rows, columns)
        np.testing.assert_array_equal(found, whole[np.ix_(rows, columns)])


def test_bands_of_one_row_each(rng):
    maps = blobs(rng, 60, 80, 6)
    whole, _ = cpu.label(maps, *RULE)
    found = labels_of_bands(rng, maps, np.arange(60), np.arange(80), most=2)
    np.testing.assert_array_equal(found, whole)


def test_wrong_bands_are_named():
    every = np.arange(8)
    maps = np.zeros((8, 8, 2), np.uint8)
    bands = cpu.LabelBands(8, 8, every, every, *RULE)
    with pytest.raises(ValueError, match="maps: got 0 rows; accepted are 8"):
        bands.finish()
    for wrong in (
        {"end": 9},
        {"end": 0},
        {"above": 1},
        {"above": -1},
        {"maps": maps[:, :7]},
        {"maps": maps[:3]},
    ):
        with pytest.raises(ValueError, match=r"maps: got shape .* below row .*; accepted are rows"):
            bands.add(**{"maps": maps, "above": 0, "end": 4, **wrong})
    with pytest.raises(TypeError, match="maps: got dtype int32"):
        bands.add(maps.astype(np.int32), 0, 8)
    bands.add(maps, 0, 8)
    assert not bands.finish().any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8, [0], [0]), "height, width: got 0, 8"),
        ((2**16, 2**16, [0], [0]), "height, width: got 65536, 65536; .* fewer than 2"),
        ((1, 2**20 + 1, [0], [0]), "height, width: got 1, 1048577; accepted are 1 to 2"),
        ((8, 8, [], [0]), r"rows: got shape \(0,\)"),
        ((8, 8, [0, 8], [0]), "rows: got numbers that are not in order or not inside"),
        ((8, 8, [0], [3, 2]), "columns: got numbers that are not in order or not inside"),
        ((8, 8, [0], [-1]), "columns: got numbers that are not in order or not inside"),
    ],
)
def test_wrong_sizes_are_named(arguments, message):
    height, width, rows, columns = arguments
    kept = (np.array(rows, np.int64), np.array(columns, np.int64))
    with pytest.raises(ValueError, match=message):
        cpu.LabelBands(height, width, *kept, *RULE)


def in_one_piece(labels: np.ndarray) -> np.ndarray:
    """The same by SciPy."""
    kept = []
    for label in range(1, int(labels.max()) + 1):
        pieces, _ = ndimage.label(labels == label, np.ones((3, 3)))
        areas = np.bincount(pieces[pieces > 0])
        if areas.size:
            kept.append(pieces == areas.argmax())
    kept.sort(key=lambda piece: np.flatnonzero(piece)[0])
    found = np.zeros_like(labels)
    for number, piece in enumerate(kept, 1):
        found[piece] = number
    return found


class TestLargestPieces:
    @pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
    def test_they_are_scipys(self, rng, share):
        for _ in range(60):
            shape = rng.integers(1, 50, 2)
            labels = rng.integers(1, 5, shape).astype(np.int32)
            labels[rng.random(shape) > share] = 0
            found = labels.copy()
            count = cpu.keep_largest_pieces(found)
            np.testing.assert_array_equal(found, in_one_piece(labels))
            assert count == len(np.unique(labels[labels > 0]))

    def test_labels_in_one_piece_stay_as_they_are(self, rng):
        labels, count = cpu.label(blobs(rng, 300, 300, 8), *RULE)
        found = labels.copy()
        assert cpu.keep_largest_pieces(found) == count > 100
        np.testing.assert_array_equal(found, labels)

    def test_wrong_labels_are_named(self):
        with pytest.raises(TypeError, match="labels: got dtype int64"):
            cpu.keep_largest_pieces(np.zeros((4, 4), np.int64))
        for wrong, message in (
            (np.zeros((0, 4), np.int32), "labels: got shape .* which is empty"),
            (np.zeros((4, 4, 1), np.int32), r"labels: got shape \(4, 4, 1\)"),
            (
                np.zeros((8, 8), np.int32)[::2],
                r"labels: got shape \(4, 8\); accepted is .*, C-cont",
            ),
            (np.full((4, 4), -1, np.int32), "labels"),
            (np.full((4, 4), 2**31 - 1, np.int32), "labels"),
        ):
            with pytest.raises(ValueError, match=message):
                cpu.keep_largest_pieces(wrong)
        read_only = np.zeros((4, 4), np.int32)
        read_only.flags.writeable = False
        with pytest.raises(ValueError, match="labels: got a read-only array"):
            cpu.keep_largest_pieces(read_only)
