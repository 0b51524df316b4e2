"""Labels, against a slow reference written from the definition, and against known scenes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from machines import LAYOUTS, Machine, sizes
from scipy import ndimage

from nucleiseg._native import cpu

FILTER = (1, 4, 6, 4, 1)
LATER = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Neighbours that come later in raster order."""


def filtered(values: np.ndarray) -> np.ndarray:
    """Weigh every five rows; four rows less come out."""
    rows = len(values) - 4
    return sum(weight * values[i : i + rows] for i, weight in enumerate(FILTER))


def heights(distance: np.ndarray) -> np.ndarray:
    """Smoothed distances in sixteenths."""
    values = np.pad(distance.astype(int), 4, "edge")
    across = (filtered(filtered(values.T)).T + 8) // 16
    down = (filtered(across) + 8) // 16
    return (filtered(down) + 8) // 16


class Reference:
    """The definition in cpu.label's docstring, a pixel at a time."""

    def __init__(self, maps: np.ndarray, nucleus_threshold: int):
        self.nucleus = maps[..., 0] >= nucleus_threshold
        self.height = heights(maps[..., 1])
        self.probability = maps[..., 0].astype(int)
        self.pixels = list(map(tuple, np.argwhere(self.nucleus)))
        # Of equals the first in raster order counts as the highest.
        self.rank = {p: (self.height[p], -p[0], -p[1]) for p in self.pixels}
        highest = {p: max(self.around(p), key=self.rank.__getitem__) for p in self.pixels}
        self.basin = {}
        for pixel in sorted(self.pixels, key=self.rank.__getitem__, reverse=True):
            above = highest[pixel]
            self.basin[pixel] = pixel if above == pixel else self.basin[above]

    def around(self, pixel: tuple[int, int]) -> list[tuple[int, int]]:
        rows, columns = (range(at - 1, at + 2) for at in pixel)
        return [(r, c) for r in rows for c in columns if self.is_nucleus(r, c)]

    def is_nucleus(self, row: int, column: int) -> bool:
        height, width = self.nucleus.shape
        return 0 <= row < height and 0 <= column < width and bool(self.nucleus[row, column])

    def passes(self) -> list[tuple[int, tuple[int, int], tuple[int, int]]]:
        """From the highest down."""
        found = []
        for row, column in self.pixels:
            for down, right in LATER:
                one, other = (row, column), (row + down, column + right)
                if self.is_nucleus(*other) and self.basin[one] != self.basin[other]:
                    height = min(self.height[one], self.height[other])
                    found.append((height, self.basin[one], self.basin[other]))
        return sorted(found, key=lambda found: -found[0])

    def nuclei(self, marker_threshold: int, prominence: int) -> dict[tuple[int, int], list]:
        """The pixels of each nucleus, by its peak."""
        nuclei: dict[tuple[int, int], list] = {}
        for pixel in self.pixels:
            nuclei.setdefault(self.basin[pixel], []).append(pixel)
        name = {peak: peak for peak in nuclei}
        for height, one, other in self.passes():
            low, high = sorted((name[one], name[other]), key=self.rank.__getitem__)
            peak = self.height[low]
            if low != high and (peak < 16 * marker_threshold or peak - height < 16 * prominence):
                nuclei[high] += nuclei.pop(low)
                name = {basin: high if now == low else now for basin, now in name.items()}
        return nuclei


def reference_label(
    maps: np.ndarray,
    nucleus_threshold: int,
    marker_threshold: int,
    prominence: int,
    min_area: int,
    min_peak: int = 0,
    min_probability: int = 0,
) -> tuple[np.ndarray, int]:
    reference = Reference(maps, nucleus_threshold)
    found = reference.nuclei(marker_threshold, prominence)
    kept = [
        pixels
        for peak, pixels in found.items()
        if len(pixels) >= min_area
        and reference.height[peak] >= 16 * min_peak
        and reference.probability[tuple(np.transpose(pixels))].mean() >= min_probability
    ]
    labels = np.zeros(maps.shape[:2], np.int32)
    for number, pixels in enumerate(sorted(kept, key=min), 1):
        labels[tuple(np.transpose(pixels))] = number
    return labels, len(kept)


def assert_matches_reference(maps: np.ndarray, *rule: int) -> None:
    labels, count = cpu.label(maps, *rule)
    expected, expected_count = reference_label(maps, *rule)
    np.testing.assert_array_equal(labels, expected, strict=True)
    assert count == expected_count


def noise(rng: np.random.Generator, height: int, width: int, levels: int) -> np.ndarray:
    values = rng.integers(0, levels, (height, width, 2))
    return (values * (255 // max(1, levels - 1))).astype(np.uint8)


def blobs(rng: np.random.Generator, height: int, width: int, levels: int = 256) -> np.ndarray:
    """Smooth random maps; few levels make plateaus."""
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width, 2)), (3, 3, 0), mode="wrap")
    smooth = (smooth - smooth.min()) / max(np.ptp(smooth), 1e-9)
    return (np.floor(smooth * (levels - 1)) * (255 // (levels - 1))).astype(np.uint8)


def noisy_nuclei(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Blobs with grain on the distance: many low peaks."""
    maps = blobs(rng, height, width)
    grain = rng.normal(0, 25, (height, width))
    maps[..., 1] = np.clip(maps[..., 1] + grain, 0, 255)
    return maps


def maps_of_discs(
    shape: tuple[int, int], discs: list[tuple[float, float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Maps and labels of discs (row, column, radius); where two overlap, the nearer edge wins."""
    rows, columns = np.indices(shape)
    depths = np.stack([1 - np.hypot(rows - r, columns - c) / radius for r, c, radius in discs])
    owner = depths.argmax(axis=0)
    inside = depths.max(axis=0) > 0
    distance = np.zeros(shape)
    for i in range(len(discs)):
        own = inside & (owner == i)
        edge = ndimage.distance_transform_edt(own)
        distance[own] = edge[own] / edge.max()
    maps = np.stack([inside * 255.0, distance * 255], axis=-1).round().astype(np.uint8)
    return maps, np.where(inside, owner + 1, 0)


def spiral(size: int) -> np.ndarray:
    """A path one pixel wide from the corner to the middle."""
    path = np.zeros((size, size), bool)
    row, column, step = 0, 0, (0, 1)
    free = np.ones((size, size), bool)

    def is_open(r: int, c: int) -> bool:
        return 0 <= r < size and 0 <= c < size and free[r, c]

    path[0, 0], free[0, 0] = True, False
    for _ in range(size * size):
        ahead = (row + step[0], column + step[1])
        beyond = (row + 2 * step[0], column + 2 * step[1])
        blocked = not is_open(*ahead) or (
            0 <= beyond[0] < size and 0 <= beyond[1] < size and path[beyond]
        )
        if blocked:
            step = (step[1], -step[0])
            ahead = (row + step[0], column + step[1])
            if not is_open(*ahead) or path[row + 2 * step[0], column + 2 * step[1]]:
                break
        row, column = ahead
        path[row, column], free[row, column] = True, False
    return path


RULE = (110, 140, 20, 3, 60, 130)
"""Of scenes where any will do."""


class TestArguments:
    @pytest.mark.parametrize("shape", [(0, 0, 2), (0, 5, 2), (5, 0, 2)])
    def test_empty_maps_are_refused(self, shape):
        with pytest.raises(ValueError, match=r"maps: got shape .*, which is empty"):
            cpu.label(np.zeros(shape, np.uint8), 128, 128, 1, 0)

    def test_wrong_arguments_are_named(self):
        maps = np.zeros((4, 4, 2), np.uint8)
        with pytest.raises(TypeError, match="maps: got dtype float32; accepted is uint8"):
            cpu.label(maps.astype(np.float32), 1, 1, 1, 0)
        with pytest.raises(ValueError, match=r"maps: got shape \(4, 4, 1\)"):
            cpu.label(maps[..., :1], 1, 1, 1, 0)
        with pytest.raises(ValueError, match="nucleus_threshold: got 256; accepted is 0 to 255"):
            cpu.label(maps, 256, 1, 1, 0)
        with pytest.raises(ValueError, match="marker_threshold: got -1; accepted is 0 to 255"):
            cpu.label(maps, 1, -1, 1, 0)
        with pytest.raises(ValueError, match="prominence: got 256; accepted is 0 to 255"):
            cpu.label(maps, 1, 1, 256, 0)
        with pytest.raises(ValueError, match="min_peak: got 256; accepted is 0 to 255"):
            cpu.label(maps, 1, 1, 1, 0, 256)
        with pytest.raises(ValueError, match="min_probability: got -1; accepted is 0 to 255"):
            cpu.label(maps, 1, 1, 1, 0, 0, -1)
        with pytest.raises(ValueError, match="min_area: got -1; accepted is 0 or more"):
            cpu.label(maps, 1, 1, 1, -1)
        with pytest.raises(ValueError, match="threads: got 0; accepted is 1 to 1024"):
            cpu.label(maps, 1, 1, 1, 0, threads=0)

    def test_too_many_pixels_are_refused(self):
        maps = np.broadcast_to(np.zeros(2, np.uint8), (2**16, 2**15, 2))
        with pytest.raises(ValueError, match=r"fewer than 2\*\*31 pixels"):
            cpu.label(maps, 1, 1, 1, 0)


class TestDefinition:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (7, 33), (65, 31), (20, 97)])
    @pytest.mark.parametrize("levels", [2, 3, 8, 256])
    def test_it_holds_on_noise(self, rng, shape, levels, level):
        for marker, prominence in ((0, 0), (0, 9), (60, 3), (120, 30), (255, 0)):
            assert_matches_reference(noise(rng, *shape, levels), 100, marker, prominence, 0)

    @pytest.mark.parametrize("levels", [4, 16, 256])
    @pytest.mark.parametrize("nucleus", [0, 80, 128])
    def test_it_holds_on_blobs_and_plateaus(self, rng, levels, nucleus, level):
        for shape in [(41, 130), (128, 34)]:
            for marker, prominence in ((0, 0), (0, 20), (128, 5), (140, 40)):
                assert_matches_reference(blobs(rng, *shape, levels), nucleus, marker, prominence, 0)

    def test_it_holds_on_hundreds_of_tiny_images(self, rng):
        for _ in range(400):
            height, width = rng.integers(1, 8, 2)
            maps = noise(rng, int(height), int(width), int(rng.integers(2, 6)))
            rule = map(int, rng.integers(0, (200, 60, 4, 160, 200)))
            assert_matches_reference(maps, 64, *rule)

    @pytest.mark.parametrize("min_area", [0, 1, 2, 5, 20, 10**9])
    def test_small_nuclei_are_dropped_and_the_others_renumbered(self, rng, min_area):
        assert_matches_reference(blobs(rng, 70, 70), 120, 100, 2, min_area)

    @pytest.mark.parametrize("min_peak", [0, 100, 130, 150, 255])
    def test_low_nuclei_are_dropped_and_the_others_renumbered(self, rng, min_peak):
        assert_matches_reference(blobs(rng, 70, 70), 120, 100, 2, 0, min_peak)

    @pytest.mark.parametrize("min_probability", [0, 120, 135, 150, 255])
    def test_improbable_nuclei_are_dropped_and_the_others_renumbered(self, rng, min_probability):
        assert_matches_reference(blobs(rng, 70, 70), 120, 100, 2, 3, 60, min_probability)

    def test_a_nucleus_of_just_the_least_probability_is_kept(self):
        maps = np.zeros((6, 20, 2), np.uint8)
        maps[1:4, 2:5], maps[1:4, 10:13] = (180, 200), (180, 200)
        maps[2, 3, 0], maps[2, 4, 0] = 179, 181  # the mean stays 180
        maps[2, 11, 0] = 179
        assert cpu.label(maps, 100, 0, 0, 0, 0, 180)[1] == 1
        assert cpu.label(maps, 100, 0, 0, 0, 0, 179)[1] == 2
        assert cpu.label(maps, 100, 0, 0, 0, 0, 181)[1] == 0

    def test_the_memory_layout_does_not_matter(self, rng, layout):
        maps = blobs(rng, 45, 52)
        expected, count = cpu.label(maps, *RULE)
        labels, found = cpu.label(layout(maps), *RULE)
        np.testing.assert_array_equal(labels, expected)
        assert found == count

    @pytest.mark.parametrize("threads", [1, 2, 4, 7])
    @pytest.mark.parametrize("levels", [3, 12, 256])
    def test_the_thread_count_does_not_matter(self, rng, threads, levels):
        # Large enough that each thread has strips of its own, of few rows.
        for shape in [(40, 1 << 14), (1 << 14, 40)]:
            maps = blobs(rng, *shape, levels)
            expected, count = cpu.label(maps, *RULE, threads=1)
            labels, found = cpu.label(maps, *RULE, threads=threads)
            np.testing.assert_array_equal(labels, expected)
            assert found == count

    def test_calls_from_several_python_threads_do_not_disturb_each_other(self, rng):
        scenes = [blobs(rng, 200, 700, levels) for levels in (3, 12, 256)] * 4
        expected = [cpu.label(maps, *RULE) for maps in scenes]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda maps: cpu.label(maps, *RULE, threads=2), scenes))
        for (labels, count), (expected_labels, expected_count) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(labels, expected_labels)
            assert count == expected_count

    @pytest.mark.parametrize("rows", [1, 2, 5])
    @pytest.mark.parametrize("threads", [1, 2, 4])
    @pytest.mark.parametrize("rule", [(100, 0, 0, 0), (100, 120, 8, 3), (100, 255, 0, 0)])
    def test_it_holds_across_many_strips(self, rng, level, threads, rows, rule):
        # Strips of so many rows each; only a few columns hold nuclei.
        width = (1 << 19) // rows
        maps = np.zeros((8 * rows, width, 2), np.uint8)
        maps[:, 100:160] = noisy_nuclei(rng, 8 * rows, 60)
        maps[:, -90:] = noise(rng, 8 * rows, 90, 3)
        labels, count = cpu.label(maps, *rule, threads=threads)
        corner = np.concatenate([maps[:, 90:170], maps[:, -110:]], axis=1)
        expected, expected_count = reference_label(corner, *rule)
        np.testing.assert_array_equal(labels[:, 90:170], expected[:, :80])
        np.testing.assert_array_equal(labels[:, -110:], expected[:, 80:])
        assert count == expected_count


class TestScenes:
    @pytest.mark.parametrize("threads", [1, 4])
    @pytest.mark.parametrize("marker", [100, 200])
    def test_a_plateau_is_one_nucleus(self, marker, threads):
        maps = np.full((300, 1000, 2), 150, np.uint8)
        labels, count = cpu.label(maps, 100, marker, 4, 0, threads=threads)
        assert count == 1
        assert (labels == 1).all()

    def test_nothing_is_no_nucleus(self):
        labels, count = cpu.label(np.zeros((100, 100, 2), np.uint8), 1, 1, 1, 0)
        assert count == 0
        assert not labels.any()

    @pytest.mark.parametrize("threads", [1, 4])
    @pytest.mark.parametrize("marker", [0, 255])
    def test_a_spiral_is_one_nucleus_however_it_slopes(self, marker, threads):
        path = spiral(401)
        slope = np.arange(401 * 401).reshape(401, 401) // 700
        for distance in (np.full(path.shape, 50), slope, slope[::-1]):
            maps = np.stack([path * 255, np.where(path, distance, 0)], axis=-1).astype(np.uint8)
            # A path of one pixel is high where it bends: no bend stands out by as much as this.
            labels, count = cpu.label(maps, 128, marker, 255, 0, threads=threads)
            assert count == 1
            np.testing.assert_array_equal(labels > 0, path)

    def test_a_slope_of_every_level_is_climbed_to_its_end(self):
        row = np.arange(255, dtype=np.uint8)
        maps = np.stack([np.full(255, 255, np.uint8), row], axis=-1)[None]
        labels, count = cpu.label(maps, 128, 0, 0, 0)
        assert count == 1
        assert (labels == 1).all()

    def test_touching_discs_are_told_apart(self):
        discs = [(40, 40, 20), (40, 78, 20), (75, 58, 19), (110, 100, 12), (20, 120, 9)]
        maps, truth = maps_of_discs((140, 150), discs)
        labels, count = cpu.label(maps, 128, 128, 20, 20)
        assert count == len(discs)
        for disc in range(1, len(discs) + 1):
            own = truth == disc
            found = labels == np.bincount(labels[own]).argmax()
            # Steepest ascent moves the border between touching discs by a pixel here and there.
            assert (own & found).sum() / (own | found).sum() > 0.95

    def test_a_weak_nucleus_is_not_shattered(self):
        maps, truth = maps_of_discs((60, 60), [(30, 22, 14), (30, 44, 13)])
        maps[..., 1] //= 4
        labels, count = cpu.label(maps, 128, 140, 4, 0)
        assert count == 1
        np.testing.assert_array_equal(labels > 0, truth > 0)

    def test_labels_depend_on_the_maps_alone(self, rng):
        maps = blobs(rng, 90, 90)
        # What is smoothed sees four pixels around.
        maps[:4] = maps[-4:] = maps[:, :4] = maps[:, -4:] = 0
        padded = np.zeros((120, 150, 2), np.uint8)
        padded[10:100, 20:110] = maps
        expected, _ = cpu.label(maps, *RULE)
        labels, _ = cpu.label(padded, *RULE)
        np.testing.assert_array_equal(labels[10:100, 20:110], expected)


def steps(*levels: int) -> np.ndarray:
    """Maps of nucleus pixels alone, whose distances go up and down in steps.

    Each is so wide that smoothing leaves its middle as it is.
    """
    distance = np.repeat(np.array(levels, np.uint8), 12)[None].repeat(20, axis=0)
    return np.stack([np.full_like(distance, 255), distance], axis=-1)


class TestJoining:
    def test_a_peak_has_to_stand_out_by_the_prominence(self):
        maps = steps(200, 100, 180)
        assert cpu.label(maps, 128, 0, 80, 0)[1] == 2
        assert cpu.label(maps, 128, 0, 81, 0)[1] == 1

    def test_a_peak_beside_another_has_to_reach_the_marker_threshold(self):
        maps = steps(200, 100, 180)
        assert cpu.label(maps, 128, 180, 10, 0)[1] == 2
        assert cpu.label(maps, 128, 181, 10, 0)[1] == 1
        # A peak that has no other beside it does not.
        assert cpu.label(steps(100), 128, 255, 10, 0)[1] == 1

    def test_it_is_the_highest_peak_of_what_is_joined_that_stands_out(self):
        # The first two are one, since 20 are too few; its peak of 200 is 100 above the last pass.
        maps = steps(180, 160, 200, 100, 200)
        assert cpu.label(maps, 128, 0, 100, 0)[1] == 2
        assert cpu.label(maps, 128, 0, 101, 0)[1] == 1

    @pytest.mark.parametrize(("left", "right"), [(150, 140), (140, 150)])
    def test_a_basin_joins_the_neighbour_beyond_its_highest_pass(self, left, right):
        labels, count = cpu.label(steps(200, left, 165, right, 250), 128, 0, 30, 0)
        assert count == 2
        assert labels[10, 30] == (1 if left > right else 2)

    def test_nuclei_whose_peak_is_low_are_dropped(self):
        maps = steps(120, 0, 200)
        maps[:, 12:24, 0] = 0
        assert cpu.label(maps, 128, 0, 0, 0, 120)[1] == 2
        labels, count = cpu.label(maps, 128, 0, 0, 0, 121)
        assert count == 1
        assert set(np.unique(labels[:, :12])) == {0}

    def test_pixels_that_join_count_towards_min_area(self):
        maps = steps(200, 190, 200)
        assert cpu.label(maps, 128, 0, 20, 3 * 12 * 20)[1] == 1
        assert cpu.label(maps, 128, 0, 20, 3 * 12 * 20 + 1)[1] == 0


class TestOnDevices:
    def label(self, machine: Machine, maps: object, *rule: int) -> tuple[np.ndarray, int]:
        workspace = machine.scratch(machine.kernels.label_workspace(*maps.shape[:2]))
        labels, count = machine.kernels.label(
            maps, *rule, stream=machine.stream, workspace=workspace
        )
        return machine.get(labels), int(machine.get(count)[0])

    def assert_same(self, machine: Machine, maps: np.ndarray, *rule: int) -> int:
        labels, count = self.label(machine, machine.put(maps), *rule)
        expected, expected_count = cpu.label(maps, *rule)
        np.testing.assert_array_equal(labels, expected, strict=True)
        assert count == expected_count
        return count

    @pytest.mark.parametrize("levels", [2, 3, 8, 256])
    @pytest.mark.parametrize("scene", [noise, blobs])
    def test_labels_are_the_cpus_bit_for_bit(self, rng, machine: Machine, levels, scene):
        for seed, (height, width) in enumerate(sizes(rng, 10, 300)):
            machine.shuffle(seed)
            maps = scene(rng, height, width, levels)
            rule = (*rng.integers(0, (200, 256, 60)), seed % 7, *rng.integers(0, (256, 256)))
            self.assert_same(machine, maps, *map(int, rule))

    @pytest.mark.parametrize("marker_threshold", [0, 40, 255])
    @pytest.mark.parametrize("prominence", [0, 1, 20, 255])
    def test_every_strictness(self, rng, machine: Machine, marker_threshold, prominence):
        for maps in (noise(rng, 90, 120, 256), noisy_nuclei(rng, 90, 120)):
            self.assert_same(machine, maps, 100, marker_threshold, prominence, 0, 0)

    def test_large_maps_of_noisy_nuclei(self, rng, machine: Machine):
        for shape in [(701, 499), (1, 70000), (70000, 1)]:
            assert self.assert_same(machine, noisy_nuclei(rng, *shape), 100, 40, 20, 20, 30) > 9
            self.assert_same(machine, noisy_nuclei(rng, *shape), 100, 40, 20, 20, 30, 120)

    def test_hundreds_of_tiny_images(self, rng, machine: Machine):
        for seed in range(300):
            machine.shuffle(seed)
            height, width = rng.integers(1, 9, 2).tolist()
            rule = map(int, rng.integers((256, 256, 4, 256)))
            self.assert_same(machine, noise(rng, height, width, int(rng.integers(2, 6))), 64, *rule)

    @pytest.mark.parametrize("seed", range(5))
    def test_the_order_of_the_threads_does_not_matter(self, rng, machine: Machine, seed):
        machine.shuffle(seed)
        self.assert_same(machine, noisy_nuclei(rng, 90, 120), 110, 60, 15, 3)

    @pytest.mark.parametrize("value", [0, 139, 140, 255])
    def test_one_value_everywhere(self, machine: Machine, value):
        self.assert_same(machine, np.full((130, 140, 2), value, np.uint8), 100, 140, 4, 3)

    def test_a_path_across_the_whole_image(self, rng, machine: Machine):
        path = spiral(81)
        climb = np.cumsum(path.ravel()).reshape(path.shape) % 250
        for distance in (90, 200, climb, rng.integers(0, 256, path.shape)):
            maps = np.stack([path * 255, path * distance], axis=-1).astype(np.uint8)
            for rule in ((140, 0), (0, 20), (255, 255)):
                self.assert_same(machine, maps, 128, *rule, 0)

    def test_more_pixels_on_borders_than_a_list_has_room_for(self, rng, machine: Machine):
        """A list of csrc/cuda/label.cu holds as many as there are squares of 2 x 2 pixels."""
        maps = noise(rng, 90, 120, 256)
        maps[..., 0] = 255
        basins = np.pad(cpu.label(maps, 100, 0, 0, 0)[0], (0, 1), mode="edge")
        here, right, below = basins[:-1, :-1], basins[:-1, 1:], basins[1:, :-1]
        assert np.count_nonzero((here != right) | (here != below)) > 45 * 60
        for prominence in (0, 1, 5, 60):
            self.assert_same(machine, maps, 100, 0, prominence, 0)

    @pytest.mark.parametrize("pitch", [16, -16])
    def test_a_thousand_basins_that_join_two_by_two(self, machine: Machine, pitch):
        # Every second pass is a step lower than those between, every fourth two steps, ...: ten
        # rounds, each of which halves the basins.
        maps = np.full((1, 1024 * abs(pitch), 2), 250, np.uint8)
        for basin in range(1, 1024):
            steps = (basin & -basin).bit_length() - 1
            maps[0, basin * abs(pitch) :][: abs(pitch) // 2, 1] = 220 - 14 * steps
        maps = maps[:, :: np.sign(pitch)]
        for rule in ((255, 0), (0, 255)):
            assert self.assert_same(machine, maps, 128, *rule, 0) == 1
        assert self.assert_same(machine, maps, 128, 0, 0, 0) == 1024

    @pytest.mark.parametrize("upright", [False, True])
    def test_a_thousand_basins_that_join_in_a_row(self, machine: Machine, upright):
        # Each is higher than the last, and so is the pass to the next.
        heights = np.repeat(np.linspace(60, 250, 1024), 16)
        heights[np.arange(len(heights)) % 16 < 8] -= 30
        maps = np.stack([np.full(len(heights), 255), heights], axis=-1).astype(np.uint8)
        maps = maps[:, None] if upright else maps[None]
        for rule in ((0, 255), (255, 0), (100, 20), (0, 30)):
            self.assert_same(machine, maps, 128, *rule, 0)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_the_memory_layout_does_not_matter(self, rng, machine: Machine, layout):
        maps = blobs(rng, 45, 52)
        labels, count = self.label(machine, LAYOUTS[layout](machine, maps), 110, 60, 10, 3)
        expected, expected_count = cpu.label(maps, 110, 60, 10, 3)
        np.testing.assert_array_equal(labels, expected)
        assert count == expected_count

    def test_what_the_workspace_held_does_not_matter(self, rng, machine: Machine):
        maps = noisy_nuclei(rng, 70, 81)
        size = machine.kernels.label_workspace(70, 81)
        rule = (100, 40, 20, 3, 0, 130)
        expected, _ = cpu.label(maps, *rule)
        for value in (0, 1, 255):
            labels, _ = machine.kernels.label(
                machine.put(maps),
                *rule,
                stream=machine.stream,
                workspace=machine.put(np.full(size, value, np.uint8)),
            )
            np.testing.assert_array_equal(machine.get(labels), expected)

    def test_wrong_arguments_are_named(self, machine: Machine):
        label, stream = machine.kernels.label, machine.stream
        maps = machine.put(np.zeros((4, 4, 2), np.uint8))
        workspace = machine.scratch(machine.kernels.label_workspace(4, 4))
        with pytest.raises(ValueError, match="marker_threshold: got -1; accepted is 0 to 255"):
            label(maps, 1, -1, 1, 0, stream=stream, workspace=workspace)
        with pytest.raises(ValueError, match="prominence: got 256; accepted is 0 to 255"):
            label(maps, 1, 1, 256, 0, stream=stream, workspace=workspace)
        with pytest.raises(ValueError, match="min_area: got -1; accepted is 0 or more"):
            label(maps, 1, 1, 1, -1, stream=stream, workspace=workspace)
        with pytest.raises(ValueError, match="workspace: got 3 bytes; accepted are at least"):
            label(maps, 1, 1, 1, 0, stream=stream, workspace=machine.scratch(3))
        shifted = machine.scratch(workspace.nbytes + 1)[1:]
        with pytest.raises(ValueError, match="16 bytes"):
            label(maps, 1, 1, 1, 0, stream=stream, workspace=shifted)
        out = machine.kernels.Buffer([4, 5], "int32")
        with pytest.raises(ValueError, match=r"out: got shape \(4, 5\); accepted is C-contig"):
            label(maps, 1, 1, 1, 0, stream=stream, workspace=workspace, out=out)
        with pytest.raises(ValueError, match="height, width: got 0, 4; accepted are 1 or more"):
            machine.kernels.label_workspace(0, 4)
        with pytest.raises(ValueError, match=r"fewer than 2\*\*31 pixels"):
            machine.kernels.label_workspace(2**16, 2**15)
