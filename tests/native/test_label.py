"""Labels, against a slow reference written from the definition, and against known scenes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from machines import LAYOUTS, Machine, sizes
from scipy import ndimage

from nucleiseg._native import cpu

EIGHT = np.ones((3, 3), bool)
NEIGHBOURS = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]
CORELESS = -1


class Reference:
    """The definition in cpu.label's docstring, a pixel at a time."""

    def __init__(
        self, maps: np.ndarray, nucleus_threshold: int, core_threshold: int, min_core: int
    ):
        self.nucleus = maps[..., 0] >= nucleus_threshold
        self.distance = maps[..., 1].astype(int)
        self.core = self.nucleus & (self.distance >= core_threshold)
        self.cores, self.core_count = ndimage.label(self.core)
        areas = np.bincount(self.cores.ravel())
        self.cores[self.core & (areas[self.cores] < min_core)] = CORELESS
        self.target: dict[tuple[int, int], tuple[int, int]] = {}
        self.point_uphill()
        self.leave_zones()

    def neighbours(self, pixel: tuple[int, int]) -> list[tuple[int, int]]:
        height, width = self.nucleus.shape
        around = [(pixel[0] + r, pixel[1] + c) for r, c in NEIGHBOURS]
        return [p for p in around if 0 <= p[0] < height and 0 <= p[1] < width and self.nucleus[p]]

    def point_uphill(self) -> None:
        for pixel in map(tuple, np.argwhere(self.nucleus & ~self.core)):
            around = self.neighbours(pixel)
            highest = max(around, key=lambda p: self.distance[p], default=pixel)
            if self.distance[highest] > self.distance[pixel]:
                self.target[pixel] = highest

    def leave_zones(self) -> None:
        flat = self.nucleus & ~self.core
        for pixel in self.target:
            flat[pixel] = False
        for value in np.unique(self.distance[flat]):
            zones, count = ndimage.label(flat & (self.distance == value), EIGHT)
            for zone in range(1, count + 1):
                pixels = list(map(tuple, np.argwhere(zones == zone)))
                exits = {
                    q
                    for p in pixels
                    for q in self.neighbours(p)
                    if self.distance[q] == value and not flat[q]
                }
                if exits:
                    self.target.update(dict.fromkeys(pixels, min(exits)))

    def reach(self) -> np.ndarray:
        """Each pixel's core, CORELESS where it meets none, 0 on the background."""
        reached = self.cores.copy()
        for start in map(tuple, np.argwhere(self.nucleus & ~self.core)):
            pixel = start
            while pixel in self.target:
                pixel = self.target[pixel]
            reached[start] = self.cores[pixel] or CORELESS
        return reached

    def nuclei(self, min_peak: int) -> np.ndarray:
        """A number for each nucleus, 0 on the background."""
        reached = self.reach()
        nuclei = reached.copy()
        coreless, count = ndimage.label(reached == CORELESS, EIGHT)
        for component in range(1, count + 1):
            own = coreless == component
            touching = ndimage.binary_dilation(own, EIGHT) & (reached > 0)
            # argmax gives the first in raster order among equals.
            gate = np.where(touching, self.distance, -1).argmax()
            if touching.any():
                nuclei[own] = reached.flat[gate]
            else:
                high = self.distance[own].max() >= min_peak
                nuclei[own] = self.core_count + component if high else 0
        return nuclei


def reference_label(
    maps: np.ndarray,
    nucleus_threshold: int,
    core_threshold: int,
    min_core: int,
    min_area: int,
    min_peak: int = 0,
) -> tuple[np.ndarray, int]:
    nuclei = Reference(maps, nucleus_threshold, core_threshold, min_core).nuclei(min_peak)
    found, first, areas = np.unique(nuclei, return_index=True, return_counts=True)
    labels = np.zeros(nuclei.shape, np.int32)
    count = 0
    for i in np.argsort(first):
        if found[i] > 0 and areas[i] >= min_area:
            count += 1
            labels[nuclei == found[i]] = count
    return labels, count


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
    """Blobs with grain on the distance: many tiny cores, and rims without one."""
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
        with pytest.raises(ValueError, match="core_threshold: got -1; accepted is 0 to 255"):
            cpu.label(maps, 1, -1, 1, 0)
        with pytest.raises(ValueError, match="min_core: got -1; accepted is 0 or more"):
            cpu.label(maps, 1, 1, -1, 0)
        with pytest.raises(ValueError, match="min_peak: got 256; accepted is"):
            cpu.label(maps, 1, 1, 1, 0, 256)
        with pytest.raises(ValueError, match="min_area: got -1; accepted is 0 or more"):
            cpu.label(maps, 1, 1, 1, -1)
        with pytest.raises(ValueError, match="threads: got 0; accepted is 1 or more"):
            cpu.label(maps, 1, 1, 1, 0, threads=0)

    def test_too_many_pixels_are_refused(self):
        maps = np.broadcast_to(np.zeros(2, np.uint8), (2**16, 2**15, 2))
        with pytest.raises(ValueError, match=r"fewer than 2\*\*31 pixels"):
            cpu.label(maps, 1, 1, 1, 0)


class TestDefinition:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (7, 33), (65, 31), (40, 97)])
    @pytest.mark.parametrize("levels", [2, 3, 8, 256])
    def test_it_holds_on_noise(self, rng, shape, levels, level):
        for core in (60, 130, 255):
            for min_core in (1, 4):
                assert_matches_reference(noise(rng, *shape, levels), 100, core, min_core, 0)

    @pytest.mark.parametrize("levels", [4, 16, 256])
    @pytest.mark.parametrize("thresholds", [(0, 255), (80, 140), (128, 120), (110, 200), (128, 0)])
    def test_it_holds_on_blobs_and_plateaus(self, rng, levels, thresholds):
        for shape in [(61, 83), (128, 64)]:
            for min_core in (0, 9):
                assert_matches_reference(blobs(rng, *shape, levels), *thresholds, min_core, 0)

    def test_it_holds_on_hundreds_of_tiny_images(self, rng):
        for _ in range(400):
            height, width = rng.integers(1, 8, 2)
            maps = noise(rng, int(height), int(width), int(rng.integers(2, 6)))
            core, min_core, min_area, min_peak = map(int, rng.integers(0, (256, 6, 4, 256)))
            assert_matches_reference(maps, 64, core, min_core, min_area, min_peak)

    @pytest.mark.parametrize("min_area", [0, 1, 2, 5, 20, 10**9])
    def test_small_nuclei_are_dropped_and_the_others_renumbered(self, rng, min_area):
        assert_matches_reference(blobs(rng, 70, 70), 120, 150, 4, min_area)

    def test_the_memory_layout_does_not_matter(self, rng, layout):
        maps = blobs(rng, 45, 52)
        expected, count = cpu.label(maps, 110, 140, 4, 3)
        labels, found = cpu.label(layout(maps), 110, 140, 4, 3)
        np.testing.assert_array_equal(labels, expected)
        assert found == count

    @pytest.mark.parametrize("threads", [1, 2, 4])
    @pytest.mark.parametrize("levels", [3, 12, 256])
    def test_the_thread_count_does_not_matter(self, rng, threads, levels):
        # Wide enough for many strips of few rows.
        maps = blobs(rng, 40, 1 << 14, levels)
        expected, count = cpu.label(maps, 115, 140, 4, 2, threads=1)
        labels, found = cpu.label(maps, 115, 140, 4, 2, threads=threads)
        np.testing.assert_array_equal(labels, expected)
        assert found == count

    def test_calls_from_several_python_threads_do_not_disturb_each_other(self, rng):
        scenes = [blobs(rng, 200, 700, levels) for levels in (3, 12, 256)] * 4
        expected = [cpu.label(maps, 115, 140, 4, 2) for maps in scenes]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda maps: cpu.label(maps, 115, 140, 4, 2, threads=2), scenes))
        for (labels, count), (expected_labels, expected_count) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(labels, expected_labels)
            assert count == expected_count

    @pytest.mark.parametrize("min_core", [0, 1, 4, 9])
    @pytest.mark.parametrize("threads", [1, 2, 4])
    def test_it_holds_on_noisy_nuclei_across_many_strips(self, rng, level, threads, min_core):
        # 32 strips of two rows; only the middle columns hold nuclei.
        maps = np.zeros((64, 1 << 15, 2), np.uint8)
        maps[:, 1000:1060] = noisy_nuclei(rng, 64, 60)
        labels, count = cpu.label(maps, 100, 140, min_core, 0, threads=threads)
        expected, expected_count = reference_label(maps[:, 990:1070], 100, 140, min_core, 0)
        np.testing.assert_array_equal(labels[:, 990:1070], expected)
        assert count == expected_count

    def test_min_core_1_lets_every_core_keep_the_pixels_that_reach_it(self, rng):
        maps = noisy_nuclei(rng, 120, 130)
        labels, _ = cpu.label(maps, 100, 140, 1, 0)
        np.testing.assert_array_equal(cpu.label(maps, 100, 140, 0, 0)[0], labels)
        reached = Reference(maps, 100, 140, 1).reach()
        cored = reached > 0
        pairs = np.unique(np.stack([reached[cored], labels[cored]]), axis=1)
        assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]

    @pytest.mark.parametrize("threads", [2, 4])
    def test_strips_of_one_row_give_the_definition(self, rng, threads):
        maps = np.zeros((8, 1 << 16, 2), np.uint8)
        maps[:, 100:180] = blobs(rng, 8, 80, 5)
        maps[:, -90:] = noise(rng, 8, 90, 3)
        labels, count = cpu.label(maps, 100, 200, 4, 0, threads=threads)
        corner = np.concatenate([maps[:, 99:181], maps[:, -91:]], axis=1)
        expected, expected_count = reference_label(corner, 100, 200, 4, 0)
        np.testing.assert_array_equal(labels[:, 99:181], expected[:, :82])
        np.testing.assert_array_equal(labels[:, -91:], expected[:, 82:])
        assert count == expected_count


class TestScenes:
    @pytest.mark.parametrize("threads", [1, 4])
    @pytest.mark.parametrize("core", [100, 200])
    def test_a_plateau_is_one_nucleus(self, core, threads):
        maps = np.full((300, 1000, 2), 150, np.uint8)
        labels, count = cpu.label(maps, 100, core, 4, 0, threads=threads)
        assert count == 1
        assert (labels == 1).all()

    def test_nothing_is_no_nucleus(self):
        labels, count = cpu.label(np.zeros((100, 100, 2), np.uint8), 1, 1, 1, 0)
        assert count == 0
        assert not labels.any()

    @pytest.mark.parametrize("threads", [1, 4])
    def test_a_checkerboard_of_cores_falls_apart_and_of_weak_pixels_does_not(self, threads):
        maps = np.zeros((300, 1001, 2), np.uint8)
        maps[np.indices((300, 1001)).sum(axis=0) % 2 == 0] = 200
        _, cores = cpu.label(maps, 100, 100, 1, 0, threads=threads)
        _, weak = cpu.label(maps, 100, 255, 1, 0, threads=threads)
        assert cores == 300 * 1001 // 2
        assert weak == 1

    @pytest.mark.parametrize("threads", [1, 4])
    @pytest.mark.parametrize("core", [0, 255])
    def test_a_spiral_is_one_nucleus_however_it_slopes(self, core, threads):
        path = spiral(401)
        slope = np.arange(401 * 401).reshape(401, 401) // 700
        for distance in (np.full(path.shape, 50), slope, slope[::-1]):
            maps = np.stack([path * 255, np.where(path, distance, 0)], axis=-1).astype(np.uint8)
            labels, count = cpu.label(maps, 128, core, 4, 0, threads=threads)
            assert count == 1
            np.testing.assert_array_equal(labels > 0, path)

    def test_a_slope_of_every_level_is_climbed_to_its_end(self):
        row = np.arange(255, dtype=np.uint8)
        maps = np.stack([np.full(255, 255, np.uint8), row], axis=-1)[None]
        for core in (254, 255):
            labels, count = cpu.label(maps, 128, core, 1, 0)
            assert count == 1
            assert (labels == 1).all()

    def test_touching_discs_are_told_apart(self):
        discs = [(40, 40, 20), (40, 78, 20), (75, 58, 19), (110, 100, 12), (20, 120, 9)]
        maps, truth = maps_of_discs((140, 150), discs)
        labels, count = cpu.label(maps, 128, 140, 4, 20)
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
        padded = np.zeros((120, 150, 2), np.uint8)
        padded[10:100, 20:110] = maps
        expected, _ = cpu.label(maps, 110, 140, 4, 3)
        labels, _ = cpu.label(padded, 110, 140, 4, 3)
        np.testing.assert_array_equal(labels[10:100, 20:110], expected)


def nuclei_at(distances: list[list[int]]) -> np.ndarray:
    """Maps whose nucleus pixels have these distances, -1 being the background."""
    distance = np.array(distances)
    inside = distance >= 0
    return np.stack([inside * 255, np.where(inside, distance, 0)], axis=-1).astype(np.uint8)


class TestCoreless:
    """Scenes whose core pixels are those of 200 and more."""

    def label(self, distances: list[list[int]], min_core: int) -> list[list[int]]:
        labels, _ = cpu.label(nuclei_at(distances), 128, 200, min_core, 0)
        return labels.tolist()

    def test_a_speck_of_a_core_makes_no_nucleus_beside_a_nucleus(self):
        row = [210, 220, 210, 90, 60, 80, 230, 70, -1, 240, 240, 240]
        assert self.label([row], 1) == [[1, 1, 1, 1, 1, 2, 2, 2, 0, 3, 3, 3]]
        assert self.label([row], 2) == [[1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 2, 2]]

    def test_a_speck_of_a_core_alone_is_one_nucleus(self):
        row = [70, 230, 70, 60, 90, 60, -1, 240, 240, 240]
        assert self.label([row], 3) == [[1, 1, 1, 1, 1, 1, 0, 2, 2, 2]]

    @pytest.mark.parametrize("min_core", [3, 4])
    def test_cores_of_exactly_min_core_pixels_count(self, min_core):
        distances = [
            [210, 210, 90, 90, 210],
            [210, 90, 80, 90, 210],
            [90, 80, 80, 90, 210],
            [80, 80, 80, 90, 210],
        ]
        right = np.array(self.label(distances, min_core))[:, -1]
        assert set(right) == ({2} if min_core == 3 else {1})

    def test_pixels_of_a_core_touch_at_their_edges_alone(self):
        distances = [[210, 90, -1, 240], [90, 210, -1, 240]]
        assert self.label(distances, 2) == [[1, 1, 0, 2], [1, 1, 0, 2]]
        assert self.label(distances, 1) == [[1, 1, 0, 2], [1, 3, 0, 2]]

    @pytest.mark.parametrize(("left", "right", "nucleus"), [(110, 120, 2), (120, 110, 1)])
    def test_a_rim_without_a_core_joins_the_nucleus_at_its_highest_gate(self, left, right, nucleus):
        row = [240, 240, left, 100, 130, 100, right, 240, 240]
        assert self.label([row], 2) == [[1] * 3 + [nucleus] * 3 + [2] * 3]

    def test_of_equal_gates_the_first_in_raster_order_decides(self):
        assert self.label([[240, 110, 130, 110, 240]], 1) == [[1, 1, 1, 2, 2]]
        distances = [
            [-1, -1, -1, -1, 110, 240, 240],
            [240, 240, 110, 130, -1, -1, -1],
        ]
        assert self.label(distances, 2) == [[0, 0, 0, 0, 1, 1, 1], [2, 2, 2, 1, 0, 0, 0]]

    def test_all_of_a_rim_joins_one_nucleus(self):
        distances = [
            [-1, 130, 130, 130, 130, 130, -1],
            [100, -1, -1, 130, -1, -1, 110],
            [240, 240, -1, 130, -1, 240, 240],
        ]
        assert self.label(distances, 2) == [
            [0, 1, 1, 1, 1, 1, 0],
            [2, 0, 0, 1, 0, 0, 1],
            [2, 2, 0, 1, 0, 1, 1],
        ]

    def test_a_nucleus_without_a_core_has_to_be_high_enough(self):
        low_and_high = [[120, 150, -1, 120, 190, -1, 210, 250]]
        maps = nuclei_at(low_and_high)
        for min_peak, expected in ((0, 3), (150, 3), (151, 2), (190, 2), (191, 1), (255, 1)):
            assert cpu.label(maps, 128, 200, 1, 0, min_peak)[1] == expected

    def test_pixels_that_join_count_towards_min_area(self):
        maps = nuclei_at([[90, 130, 110, 240, 240]])
        assert cpu.label(maps, 128, 200, 2, 5)[1] == 1
        assert cpu.label(maps, 128, 200, 2, 6)[1] == 0


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
            rule = (*rng.integers(0, (200, 256, 60)), seed % 7, rng.integers(0, 256))
            self.assert_same(machine, maps, *map(int, rule))

    @pytest.mark.parametrize("marker_threshold", [0, 40, 255])
    @pytest.mark.parametrize("prominence", [0, 1, 20, 255])
    def test_every_strictness(self, rng, machine: Machine, marker_threshold, prominence):
        for maps in (noise(rng, 90, 120, 256), noisy_nuclei(rng, 90, 120)):
            self.assert_same(machine, maps, 100, marker_threshold, prominence, 0, 0)

    def test_large_maps_of_noisy_nuclei(self, rng, machine: Machine):
        for shape in [(701, 499), (1, 70000), (70000, 1)]:
            self.assert_same(machine, noisy_nuclei(rng, *shape), 100, 40, 20, 20, 30)

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
        expected, _ = cpu.label(maps, 100, 40, 20, 3)
        for value in (0, 1, 255):
            labels, _ = machine.kernels.label(
                machine.put(maps),
                *(100, 40, 20, 3),
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
