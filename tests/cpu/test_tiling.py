import itertools

import numpy as np
import pytest

from nucleiseg._native import cpu

SIZES = [1, 31, 32, 33, 500, 512, 513, 1000, 2048, 2049, 2220, 2967, 5001, 20_000]
TILES = [416, 512, 1024, 2048]
HALO, STRIDE = 192, 32


@pytest.mark.parametrize(("length", "tile"), list(itertools.product(SIZES, TILES)))
def test_every_pixel_is_kept_by_one_tile_that_sees_a_halo_around_it(length, tile):
    end = 0
    bands = cpu.plan(length, 1, tile, HALO, STRIDE)
    for band in bands:
        (start, _), (first, after), size = band.rows, band.kept, band.size[0]
        assert size <= tile
        assert size % STRIDE == start % STRIDE == first % STRIDE == 0
        assert first == end < after
        assert first == 0 or first - start >= HALO
        assert after == length or start + size - after >= HALO
        end = after
    assert end == length
    assert bands[-1].rows == (start, length)
    assert start + size - length < STRIDE * (len(bands) + 1)


@pytest.mark.parametrize("length", SIZES)
def test_columns_are_cut_as_rows_are(length):
    rows = [(*band.rows, *band.kept) for band in cpu.plan(length, 1, 512, HALO, STRIDE)]
    (band,) = cpu.plan(1, length, 512, HALO, STRIDE)
    width = band.size[1]
    columns = [
        (source[1], min(source[1] + width, length), core[2], core[3])
        for source, core in zip(band.sources.tolist(), band.cores.tolist(), strict=True)
    ]
    assert columns == rows


def test_an_image_that_fits_is_one_tile_without_a_halo():
    (band,) = cpu.plan(1000, 2048, 2048, HALO, STRIDE)
    assert band.size == (1024, 2048)
    assert band.sources.tolist() == [[0, 0]]


def test_tiles_may_be_lower_than_wide():
    bands = cpu.plan(2000, 3000, 2048, HALO, STRIDE, tall=512)
    assert {band.size[0] for band in bands} <= {512 - STRIDE * i for i in range(4)}
    assert all(band.size[1] > 1024 for band in bands)


@pytest.mark.parametrize(
    "sizes", [(0, 5, 512, 192, 32), (5, 5, 384, 192, 32), (5, 5, 500, 192, 32), (5, 5, 512, 9, 32)]
)
def test_sizes_that_do_not_fit_each_other_are_refused(sizes):
    with pytest.raises(ValueError, match="height, width, tile, halo, stride, tall: got sizes that"):
        cpu.plan(*sizes)


def test_bands_cut_and_keep_what_the_spans_say():
    image = np.arange(700 * 900).reshape(700, 900)
    whole = np.zeros_like(image)
    for band in cpu.plan(700, 900, 448, HALO, STRIDE):
        seen, kept = image[slice(*band.rows)], whole[slice(*band.kept)]
        for source, target, core in zip(band.sources, band.targets, band.cores, strict=True):
            tile = seen[source[0] : source[0] + band.size[0], source[1] :]
            row0, row1, column0, column1 = core
            kept[row0:row1, column0:column1] = tile[
                row0 - target[0] : row1 - target[0], column0 - target[1] : column1 - target[1]
            ]
    np.testing.assert_array_equal(whole, image)
