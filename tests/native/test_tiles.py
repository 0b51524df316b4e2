"""Cutting tiles and putting maps back, against NumPy."""

import numpy as np
import pytest
from machines import Machine, padded_rows, sizes

from nucleiseg._native import cpu

FAR = 2**63 - 1


def expected_tile(image: np.ndarray, row: int, column: int, height: int, width: int) -> np.ndarray:
    def reflected(first: int, count: int, size: int) -> list[int]:
        period = max(1, 2 * (size - 1))
        phases = ((first + i) % period for i in range(count))
        return [phase if phase < size else period - phase for phase in phases]

    rows = reflected(row, height, image.shape[0])
    columns = reflected(column, width, image.shape[1])
    return image[np.ix_(rows, columns)]


def random_bytes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, np.uint8)


class TestGather:
    def test_an_empty_image_is_refused(self):
        with pytest.raises(ValueError, match=r"image: got shape \(0, 4, 3\), which is empty"):
            cpu.gather(np.zeros((0, 4, 3), np.uint8), np.zeros((1, 2), int), 4, 4)

    def test_no_origins_give_no_tiles(self):
        tiles = cpu.gather(np.zeros((4, 4, 3), np.uint8), np.zeros((0, 2), int), 5, 6)
        assert tiles.shape == (0, 5, 6, 3)

    def test_a_tile_inside_is_a_copy(self, rng):
        image = random_bytes(rng, 50, 60, 3)
        tiles = cpu.gather(image, np.array([[3, 7], [10, 20]]), 16, 32)
        np.testing.assert_array_equal(tiles[0], image[3:19, 7:39])
        np.testing.assert_array_equal(tiles[1], image[10:26, 20:52])

    def test_the_border_is_numpys_reflect(self, rng):
        image = random_bytes(rng, 13, 9, 3)
        padded = np.pad(image, ((40, 40), (30, 30), (0, 0)), mode="reflect")
        tile = cpu.gather(image, np.array([[-40, -30]]), 93, 69)[0]
        np.testing.assert_array_equal(tile, padded)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (2, 3), (31, 17)])
    @pytest.mark.parametrize("dtype", ["int32", "int64"])
    def test_any_origin_on_any_image(self, rng, shape, dtype):
        image = random_bytes(rng, *shape, 3)
        origins = rng.integers(-100, 100, (20, 2)).astype(dtype)
        tiles = cpu.gather(image, origins, 11, 13)
        for (row, column), tile in zip(origins.tolist(), tiles, strict=True):
            np.testing.assert_array_equal(tile, expected_tile(image, row, column, 11, 13))

    @pytest.mark.parametrize("origin", [FAR, -FAR - 1])
    def test_the_farthest_origins_do_not_overflow(self, rng, origin):
        image = random_bytes(rng, 5, 4, 3)
        tile = cpu.gather(image, np.array([[origin, origin]]), 6, 7)[0]
        np.testing.assert_array_equal(tile, expected_tile(image, origin, origin, 6, 7))

    @pytest.mark.parametrize("threads", [1, 2, 4])
    def test_the_thread_count_does_not_matter(self, rng, threads):
        image = random_bytes(rng, 300, 280, 3)
        origins = rng.integers(-50, 250, (17, 2))
        tiles = cpu.gather(image, origins, 96, 80, threads=threads)
        for (row, column), tile in zip(origins.tolist(), tiles, strict=True):
            np.testing.assert_array_equal(tile, expected_tile(image, row, column, 96, 80))

    def test_rows_may_lie_apart_or_run_backwards(self, rng):
        image = random_bytes(rng, 40, 60, 3)
        origins = np.array([[-3, -4]])
        for view in (image[::-1], image[5:30:2, 10:40]):
            tile = cpu.gather(view, origins, 20, 20)[0]
            np.testing.assert_array_equal(tile, expected_tile(view, -3, -4, 20, 20))

    def test_it_writes_into_the_array_it_is_given(self, rng):
        image = random_bytes(rng, 10, 10, 3)
        out = np.empty((2, 4, 4, 3), np.uint8)
        assert cpu.gather(image, np.array([[0, 0], [6, 6]]), 4, 4, out=out) is out
        np.testing.assert_array_equal(out[1], image[6:, 6:])

    def test_wrong_arguments_are_named(self):
        image = np.zeros((4, 4, 3), np.uint8)
        origins = np.zeros((1, 2), int)
        with pytest.raises(TypeError, match="image: got dtype float64; accepted is uint8"):
            cpu.gather(image.astype(float), origins, 2, 2)
        with pytest.raises(ValueError, match=r"image: got shape \(4, 4\); accepted is \(H, W, 3\)"):
            cpu.gather(image[..., 0], origins, 2, 2)
        with pytest.raises(ValueError, match="image: got an array with gaps in its rows"):
            cpu.gather(image[:, ::2], origins, 2, 2)
        with pytest.raises(TypeError, match="origins: got dtype float64"):
            cpu.gather(image, origins.astype(float), 2, 2)
        with pytest.raises(ValueError, match=r"origins: got shape \(2,\); accepted is \(N, 2\)"):
            cpu.gather(image, origins[0], 2, 2)
        with pytest.raises(ValueError, match="width: got 0; accepted is 1 to 131072"):
            cpu.gather(image, origins, 2, 0)
        with pytest.raises(ValueError, match="threads: got 0"):
            cpu.gather(image, origins, 2, 2, threads=0)
        with pytest.raises(ValueError, match=r"out: got shape \(1, 2, 2, 2\)"):
            cpu.gather(image, origins, 2, 2, out=np.zeros((1, 2, 2, 2), np.uint8))


def tiling(height: int, width: int, core: int, halo: int) -> tuple[np.ndarray, np.ndarray]:
    origins, cores = [], []
    for row in range(0, height, core):
        for column in range(0, width, core):
            origins.append((row - halo, column - halo))
            cores.append((row, min(row + core, height), column, min(column + core, width)))
    return np.array(origins), np.array(cores)


def as_cells(maps: np.ndarray) -> np.ndarray:
    """(N, h, w, 2) -> (N, h / 2, w / 2, 8), as the network gives its answers."""
    count, height, width, _ = maps.shape
    blocks = maps.reshape(count, height // 2, 2, width // 2, 2, 2)
    return np.ascontiguousarray(blocks.transpose(0, 1, 3, 2, 4, 5)).reshape(
        count, height // 2, width // 2, 8
    )


class TestAssemble:
    def test_no_tiles_leave_the_output_as_it_is(self):
        out = np.full((3, 4, 2), 9, np.uint8)
        none = np.zeros((0, 4, 4, 8), np.uint8)
        cpu.assemble(none, np.zeros((0, 2), int), np.zeros((0, 4), int), out)
        assert (out == 9).all()

    @pytest.mark.parametrize("threads", [1, 2, 4])
    @pytest.mark.parametrize("shape", [(1, 1), (61, 47), (350, 410)])
    def test_it_undoes_gather(self, rng, shape, threads):
        image = random_bytes(rng, *shape, 3)
        origins, cores = tiling(*shape, core=24, halo=5)
        tiles = cpu.gather(image, origins, 34, 34)
        out = np.zeros((*shape, 2), np.uint8)
        cells = as_cells(tiles[..., :2])
        assert cpu.assemble(cells, origins, cores, out, threads=threads) is out
        np.testing.assert_array_equal(out, image[..., :2])

    @pytest.mark.parametrize("row", [0, 1])
    @pytest.mark.parametrize("column", [0, 1])
    @pytest.mark.parametrize("size", [(0, 3), (1, 1), (2, 3), (5, 4), (15, 15)])
    def test_a_core_may_begin_and_end_at_any_pixel(self, rng, row, column, size):
        maps = random_bytes(rng, 1, 16, 16, 2)
        height, width = size
        out = np.zeros((20, 20, 2), np.uint8)
        core = np.array([[3 + row, 3 + row + height, 2 + column, 2 + column + width]])
        cpu.assemble(as_cells(maps), np.array([[3, 2]]), core, out)
        expected = np.zeros_like(out)
        expected[core[0, 0] : core[0, 1], core[0, 2] : core[0, 3]] = maps[
            0, row : row + height, column : column + width
        ]
        np.testing.assert_array_equal(out, expected)

    def test_cells_may_have_any_strides(self, rng):
        image = random_bytes(rng, 40, 40, 3)
        origins, cores = tiling(40, 40, core=16, halo=3)
        tiles = cpu.gather(image, origins, 22, 22)
        out = np.zeros((40, 40, 2), np.uint8)
        cells = as_cells(tiles[..., 1:])
        spread = np.zeros((*cells.shape[:3], 11), np.uint8)[..., 2:10]
        spread[:] = cells
        cpu.assemble(spread, origins, cores, out)
        np.testing.assert_array_equal(out, image[..., 1:])

    def test_the_output_may_be_part_of_a_larger_one(self, rng):
        whole = np.zeros((30, 50, 2), np.uint8)
        maps = random_bytes(rng, 1, 10, 10, 2)
        cells = as_cells(maps)
        cpu.assemble(cells, np.array([[0, 0]]), np.array([[0, 10, 0, 10]]), whole[5:15, 20:30])
        np.testing.assert_array_equal(whole[5:15, 20:30], maps[0])
        assert whole.sum() == maps.sum()

    @pytest.mark.parametrize("threads", [1, 4])
    def test_the_later_tile_counts_where_cores_overlap(self, threads):
        cells = np.stack([np.full((150, 150, 8), value, np.uint8) for value in (1, 2, 3)])
        out = np.zeros((300, 300, 2), np.uint8)
        cores = np.array([[0, 300, 0, 300], [100, 300, 0, 300], [0, 300, 200, 300]])
        cpu.assemble(cells, np.zeros((3, 2), int), cores, out, threads=threads)
        assert [int(out[at][0]) for at in [(0, 0), (299, 0), (299, 299)]] == [1, 2, 3]

    @pytest.mark.parametrize(
        ("origin", "core"),
        [
            ((0, 0), (-1, 4, 0, 4)),
            ((0, 0), (0, 5, 0, 4)),
            ((1, 0), (0, 4, 0, 4)),
            ((0, 0), (0, 4, 3, 2)),
            ((0, 4), (0, 4, 4, 7)),
            ((FAR, -FAR), (0, 4, 0, 4)),
        ],
    )
    def test_a_core_outside_its_tile_or_the_output_is_refused(self, origin, core):
        cells = np.zeros((1, 2, 2, 8), np.uint8)
        out = np.zeros((6, 6, 2), np.uint8)
        with pytest.raises(ValueError, match="inside its tile and inside out"):
            cpu.assemble(cells, np.array([origin]), np.array([core]), out)

    def test_wrong_arguments_are_named(self):
        cells = np.zeros((1, 2, 2, 8), np.uint8)
        origins, cores = np.zeros((1, 2), int), np.zeros((1, 4), int)
        out = np.zeros((6, 6, 2), np.uint8)
        with pytest.raises(TypeError, match="cells: got dtype float32; accepted is uint8"):
            cpu.assemble(cells.astype(np.float32), origins, cores, out)
        with pytest.raises(ValueError, match=r"cells: got shape \(2, 2, 8\)"):
            cpu.assemble(cells[0], origins, cores, out)
        with pytest.raises(ValueError, match=r"origins: got 2 rows; .* each of the 1 tiles"):
            cpu.assemble(cells, np.zeros((2, 2), int), cores, out)
        with pytest.raises(ValueError, match="cores: got 0 rows"):
            cpu.assemble(cells, origins, cores[:0], out)
        with pytest.raises(ValueError, match=r"out: got shape \(6, 6, 3\)"):
            cpu.assemble(cells, origins, cores, np.zeros((6, 6, 3), np.uint8))
        with pytest.raises(ValueError, match="out: got memory that cells uses"):
            cpu.assemble(cells, origins, cores, cells.reshape(4, 4, 2))


class TestOnDevices:
    def test_tiles_are_the_cpus_bit_for_bit(self, rng, machine: Machine):
        for seed, (height, width) in enumerate(sizes(rng, 15, 300)):
            machine.shuffle(seed)
            image = random_bytes(rng, height, width, 3)
            origins = rng.integers(-400, 400, (int(rng.integers(0, 8)), 2))
            tile = (int(rng.integers(1, 40)), [32, int(rng.integers(1, 70))][seed % 2])
            found = machine.kernels.gather(
                machine.put(image), origins, *tile, stream=machine.stream
            )
            expected = cpu.gather(image, origins, *tile)
            np.testing.assert_array_equal(machine.get(found), expected, strict=True)

    def test_more_tiles_than_one_launch_takes(self, rng, machine: Machine):
        image = random_bytes(rng, 20, 30, 3)
        origins = rng.integers(-9, 30, (300, 2))
        found = machine.kernels.gather(machine.put(image), origins, 4, 5, stream=machine.stream)
        np.testing.assert_array_equal(machine.get(found), cpu.gather(image, origins, 4, 5))

    def test_the_farthest_origins_do_not_overflow(self, rng, machine: Machine):
        image = random_bytes(rng, 5, 4, 3)
        origins = np.array([[FAR, FAR], [-FAR - 1, -FAR - 1]])
        found = machine.kernels.gather(machine.put(image), origins, 6, 7, stream=machine.stream)
        np.testing.assert_array_equal(machine.get(found), cpu.gather(image, origins, 6, 7))

    def test_rows_may_lie_apart_or_run_backwards(self, rng, machine: Machine):
        image = random_bytes(rng, 40, 60, 3)
        origins = np.array([[-3, -4]])
        expected = cpu.gather(image, origins, 50, 64)
        for there in (padded_rows(machine, image), machine.put(image[::-1].copy())[::-1]):
            found = machine.kernels.gather(there, origins, 50, 64, stream=machine.stream)
            np.testing.assert_array_equal(machine.get(found), expected)

    @pytest.mark.parametrize("core", [23, 24, 64])
    def test_assemble_is_the_cpus_bit_for_bit(self, rng, machine: Machine, core):
        for seed, (height, width) in enumerate(sizes(rng, 10, 400)):
            machine.shuffle(seed)
            origins, cores = tiling(height, width, core, halo=int(rng.integers(0, 9)))
            side = 2 * int((core + 20 + rng.integers(0, 4)) // 2)
            cells = random_bytes(rng, len(origins), side // 2, side // 2, 8)
            start = random_bytes(rng, height, width, 2)
            expected = cpu.assemble(cells, origins, cores, start.copy())
            out = machine.put(start)
            machine.kernels.assemble(machine.put(cells), origins, cores, out, stream=machine.stream)
            np.testing.assert_array_equal(machine.get(out), expected)

    def test_assemble_writes_into_part_of_larger_maps(self, rng, machine: Machine):
        origins, cores = tiling(50, 50, 4, halo=8)
        cells = random_bytes(rng, len(origins), 10, 10, 8)
        expected = cpu.assemble(cells, origins, cores, np.zeros((50, 50, 2), np.uint8))
        whole = machine.put(np.zeros((52, 53, 2), np.uint8))
        out = whole[1:51, 2:52]
        there = machine.put(cells)
        assert machine.kernels.assemble(there, origins, cores, out, stream=machine.stream) is out
        np.testing.assert_array_equal(machine.get(whole)[1:51, 2:52], expected)
        assert machine.get(whole).sum() == expected.sum()

    def test_wrong_arguments_are_named(self, machine: Machine):
        kernels, stream = machine.kernels, machine.stream
        image = machine.put(np.zeros((4, 4, 3), np.uint8))
        origins = np.zeros((1, 2), int)
        with pytest.raises(ValueError, match="image: got an array with gaps in its rows"):
            kernels.gather(image[:, ::2], origins, 2, 2, stream=stream)
        with pytest.raises(ValueError, match="width: got 0; accepted is 1 to 131072"):
            kernels.gather(image, origins, 2, 0, stream=stream)
        cells = machine.put(np.zeros((1, 2, 2, 8), np.uint8))
        out = kernels.Buffer([6, 6, 2])
        with pytest.raises(ValueError, match="inside its tile and inside out"):
            kernels.assemble(cells, origins, np.array([[0, 5, 0, 4]]), out, stream=stream)
        wider = kernels.Buffer([1, 2, 4, 8])[:, :, :2]
        with pytest.raises(ValueError, match="cells: got an array with gaps"):
            kernels.assemble(wider, origins, np.zeros((1, 4), int), out, stream=stream)
        with pytest.raises(ValueError, match=r"out: got shape \(6, 6, 3\)"):
            kernels.assemble(
                cells, origins, np.zeros((1, 4), int), kernels.Buffer([6, 6, 3]), stream=stream
            )
