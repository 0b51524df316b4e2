"""Outlines: filled by the even-odd rule they give the labels back, and every polygon is valid."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from shapely.geometry import LinearRing, Point, Polygon

from nucleiseg._native import cpu

LABELS = sorted((Path(__file__).parents[1] / "data" / "labels").glob("*.png"))


def read_labels(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32)


class Outlines:
    """What cpu.outline gave, ring by ring."""

    def __init__(self, labels: np.ndarray, **options: object) -> None:
        points, rings, self.owners, self.holes = cpu.outline(labels, **options)
        assert rings[0] == 0
        assert rings[-1] == len(points)
        self.rings = np.split(points, rings[1:-1]) if len(rings) > 1 else []
        assert len(self.rings) == len(self.owners) == len(self.holes)

    def polygons(self) -> list[tuple[int, Polygon]]:
        """Each outside with the holes that follow it."""
        found: list[tuple[int, list[np.ndarray]]] = []
        for ring, owner, hole in zip(self.rings, self.owners, self.holes, strict=True):
            if hole:
                assert found[-1][0] == owner
                found[-1][1].append(ring)
            else:
                found.append((owner, [ring]))
        return [(owner, Polygon(rings[0], rings[1:])) for owner, rings in found]


def fill(shape: tuple[int, int], rings: list[np.ndarray]) -> np.ndarray:
    """Which pixels' centres are inside, by the even-odd rule: crossings to the left are counted."""
    crossings = np.zeros((shape[0], shape[1] + 1), bool)
    for ring in rings:
        for (row, column), (row_after, column_after) in zip(
            ring, np.roll(ring, -1, axis=0), strict=True
        ):
            if column == column_after:
                crossings[min(row, row_after) : max(row, row_after), column] ^= True
    return np.logical_xor.accumulate(crossings, axis=1)[:, :-1]


def doubled_area(ring: np.ndarray) -> int:
    """Positive where the ring runs clockwise on the screen."""
    rows, columns = ring.astype(np.int64).T
    return int((columns * np.roll(rows, -1) - np.roll(columns, -1) * rows).sum())


def assert_rings_are_canonical(outlines: Outlines) -> None:
    for ring, hole in zip(outlines.rings, outlines.holes, strict=True):
        moves = np.roll(ring, -1, axis=0) != ring
        # Rows and columns take turns, so every point is a corner.
        assert (moves.sum(axis=1) == 1).all()
        assert (moves != np.roll(moves, -1, axis=0)).all()
        assert tuple(ring[0]) == min(map(tuple, ring))
        assert (doubled_area(ring) < 0) == hole
        assert LinearRing(ring).is_simple
    firsts = [
        (owner, *ring[0])
        for ring, owner, hole in zip(outlines.rings, outlines.owners, outlines.holes, strict=True)
        if not hole
    ]
    assert firsts == sorted(firsts)
    assert (np.diff(outlines.owners) >= 0).all()


def assert_outlines_are_exact(labels: np.ndarray) -> None:
    outlines = Outlines(labels)
    assert_rings_are_canonical(outlines)
    parts: dict[int, list[Polygon]] = {}
    for owner, polygon in outlines.polygons():
        assert polygon.is_valid, shapely.is_valid_reason(polygon)
        parts.setdefault(owner, []).append(polygon)
    assert sorted(parts) == [label for label in np.unique(labels) if label > 0]
    for label, polygons in parts.items():
        own = labels == label
        rings = [r for r, o in zip(outlines.rings, outlines.owners, strict=True) if o == label]
        np.testing.assert_array_equal(fill(labels.shape, rings), own)
        components, count = ndimage.label(own)
        # Parts come in the order in which SciPy numbers them: that of their first pixels.
        assert len(polygons) == count
        assert [p.area for p in polygons] == np.bincount(components.ravel())[1:].tolist()


def as_labels(rows: list[str]) -> np.ndarray:
    return np.array([[int(value) for value in row] for row in rows], np.int32)


SMALL = arrays.arrays(
    np.int32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 3)
)


class TestExactOutlines:
    @settings(max_examples=400, deadline=None)
    @given(SMALL)
    def test_they_hold_on_random_labels(self, labels):
        assert_outlines_are_exact(labels)

    @pytest.mark.parametrize("density", [0.2, 0.5, 0.62, 0.8, 0.95])
    def test_they_hold_on_noise_with_nested_parts(self, rng, density):
        assert_outlines_are_exact((rng.random((60, 70)) < density).astype(np.int32))

    @pytest.mark.parametrize("path", LABELS, ids=lambda path: path.stem)
    def test_they_hold_on_real_nuclei(self, path):
        assert_outlines_are_exact(read_labels(path))

    def test_a_pixel_is_a_square(self):
        points, rings, owners, holes = cpu.outline(np.ones((1, 1), np.int32))
        assert points.tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]
        assert rings.tolist() == [0, 4]
        assert (owners.tolist(), holes.tolist()) == ([1], [False])
        types = [array.dtype for array in (points, rings, owners, holes)]
        assert types == [np.int32, np.int64, np.int32, bool]

    def test_nothing_has_no_outline(self):
        points, rings, owners, holes = cpu.outline(np.zeros((3, 4), np.int32))
        assert (points.shape, rings.tolist(), owners.size, holes.size) == ((0, 2), [0], 0, 0)

    def test_a_label_without_pixels_has_none(self):
        _, _, owners, _ = cpu.outline(as_labels(["500", "002"]))
        assert owners.tolist() == [2, 5]

    def test_pixels_that_touch_at_a_corner_are_two_parts(self):
        outlines = Outlines(as_labels(["10", "01"]))
        assert [len(ring) for ring in outlines.rings] == [4, 4]
        assert not outlines.holes.any()

    def test_a_hole_that_meets_the_outside_at_a_corner_is_a_hole(self):
        outlines = Outlines(as_labels(["1110", "1011", "1111"]))
        assert outlines.holes.tolist() == [False, True]
        outlines = Outlines(as_labels(["0111", "1011", "1111"]))
        assert outlines.holes.tolist() == [False, True]

    def test_holes_follow_the_part_that_they_are_in(self):
        labels = as_labels(["1111100", "1000101", "1010100", "1000100", "1111111"])
        outlines = Outlines(labels)
        assert outlines.holes.tolist() == [False, True, False, False]
        assert [p.area for _, p in outlines.polygons()] == [18, 1, 1]

    @pytest.mark.parametrize("threads", [2, 4])
    @pytest.mark.parametrize("tolerance", [0.0, 1.5])
    def test_the_thread_count_does_not_matter(self, rng, threads, tolerance):
        labels = rng.integers(0, 700, (300, 1000), dtype=np.int32)
        labels = ndimage.grey_dilation(labels, 3)
        expected = cpu.outline(labels, tolerance=tolerance)
        found = cpu.outline(labels, tolerance=tolerance, threads=threads)
        for array, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(array, other, strict=True)

    def test_the_memory_layout_does_not_matter(self, rng, layout):
        labels = rng.integers(0, 4, (33, 41), dtype=np.int32)
        for array, other in zip(cpu.outline(layout(labels)), cpu.outline(labels), strict=True):
            np.testing.assert_array_equal(array, other, strict=True)


class TestTolerance:
    @pytest.mark.parametrize("tolerance", [0.3, 0.75, 1.0, 2.0, 5.0, 1000.0])
    @pytest.mark.parametrize("path", LABELS[:3], ids=lambda path: path.stem)
    def test_no_corner_is_farther_away(self, path, tolerance):
        labels = read_labels(path)
        exact, simple = Outlines(labels), Outlines(labels, tolerance=tolerance)
        np.testing.assert_array_equal(exact.owners, simple.owners)
        np.testing.assert_array_equal(exact.holes, simple.holes)
        assert all(polygon.is_valid for _, polygon in simple.polygons())
        for ring, fewer in zip(exact.rings, simple.rings, strict=True):
            assert set(map(tuple, fewer)) <= set(map(tuple, ring))
            assert len(fewer) >= min(3, len(ring))
            way = LinearRing(fewer)
            # Rounding of a distance in double precision.
            assert max(way.distance(Point(corner)) for corner in ring) <= tolerance + 1e-9

    def test_points_become_fewer(self):
        labels = read_labels(LABELS[0])
        counts = [len(cpu.outline(labels, tolerance=t)[0]) for t in (0.0, 0.75, 1.5, 3.0)]
        assert counts == sorted(counts, reverse=True)
        assert counts[2] < counts[0] / 3

    def test_a_rectangle_stays(self):
        labels = np.ones((3, 5), np.int32)
        points = cpu.outline(labels, tolerance=100)[0]
        np.testing.assert_array_equal(points, cpu.outline(labels)[0])

    @pytest.mark.parametrize("tolerance", [1.5, 3.0])
    @pytest.mark.parametrize("seed", range(6))
    def test_rings_that_would_cross_themselves_stay_exact(self, seed, tolerance):
        # Half of these noises hold a ring that Douglas and Peucker's method alone would break.
        noise = np.random.default_rng(seed).random((40, 40)) < 0.45
        polygons = Outlines(noise.astype(np.int32), tolerance=tolerance).polygons()
        assert all(polygon.is_valid for _, polygon in polygons)

    def test_a_part_with_a_hole_stays_exact(self):
        labels = np.ones((9, 9), np.int32)
        labels[0, 0], labels[4, 4] = 0, 0
        points = cpu.outline(labels, tolerance=9.0)[0]
        np.testing.assert_array_equal(points, cpu.outline(labels)[0], strict=True)

    @settings(max_examples=200, deadline=None)
    @given(SMALL, st.floats(0, 20))
    def test_it_holds_on_random_labels(self, labels, tolerance):
        exact, simple = Outlines(labels), Outlines(labels, tolerance=tolerance)
        assert all(polygon.is_valid for _, polygon in simple.polygons())
        for ring, fewer in zip(exact.rings, simple.rings, strict=True):
            assert len(fewer) >= 3
            assert (doubled_area(fewer) > 0) == (doubled_area(ring) > 0)
            way = LinearRing(fewer)
            assert max(way.distance(Point(corner)) for corner in ring) <= tolerance + 1e-9


class TestArguments:
    def test_wrong_arguments_are_named(self):
        labels = np.zeros((4, 4), np.int32)
        with pytest.raises(TypeError, match="labels: got list; accepted is a NumPy array"):
            cpu.outline([[0]])
        with pytest.raises(TypeError, match="labels: got dtype int64; accepted is int32"):
            cpu.outline(labels.astype(np.int64))
        with pytest.raises(ValueError, match=r"labels: got shape \(4,\); accepted is \(H, W\)"):
            cpu.outline(labels[0])
        with pytest.raises(ValueError, match=r"labels: got shape \(0, 4\), which is empty"):
            cpu.outline(labels[:0])
        with pytest.raises(ValueError, match="labels: got the label -2; accepted are 0 to"):
            cpu.outline(labels - 2)
        with pytest.raises(ValueError, match="labels: got the label 2147483647; accepted are 0 to"):
            cpu.outline(labels + np.int32(2**31 - 1))
        for shape in [(2**17 + 1, 1), (2**16, 2**15)]:
            with pytest.raises(ValueError, match=r"labels: .* accepted are fewer than 2\*\*31 pix"):
                cpu.outline(np.broadcast_to(labels[:1, :1], shape))
        for tolerance in (-1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match=r"tolerance: got .* accepted is 0 or more pixels"):
                cpu.outline(labels, tolerance=tolerance)
        with pytest.raises(ValueError, match="threads: got 0; accepted is 1 to 1024"):
            cpu.outline(labels, threads=0)
